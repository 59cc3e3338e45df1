"""Holds programs as trees of instructions and loops, and assembles, parses and prints them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bitwright.hw.isa.instruction_table import (
    BY_CODE,
    INSTRUCTION_BYTES,
    LOOP_DEPTH,
    NAMES,
    OPCODE_BITS,
    OPS,
    ProgramError,
)

__all__ = ["INSTRUCTION_BYTES", "OPS", "Instr", "Loop", "Node", "ProgramError", "assemble",
           "disassemble", "flatten", "nesting", "parse"]

@dataclass(frozen=True)
class Instr:
    """One instruction: operation name and its field values (fields left out are zero)."""
    op: str
    values: tuple[tuple[str, int], ...] = ()

    @classmethod
    def make(cls, op: str, **values: int) -> "Instr":
        layout = OPS[op].layout
        for name, value in values.items():
            if name not in layout:
                raise ProgramError(f"{op} has no field {name!r}")
            bits = layout[name][1]
            low = -(1 << bits - 1) if (op, name) == ("add", "value") else 0
            if not low <= value < 1 << bits:
                raise ProgramError(f"{op} field {name}={value} does not fit its {bits} bits; "
                                   "use smaller tiles or a machine with smaller buffers")
        return cls(op, tuple(sorted(values.items())))

    def __getitem__(self, name: str) -> int:
        return dict(self.values).get(name, 0)

    def encode(self) -> bytes:
        op = OPS[self.op]
        word = op.code
        for name, value in self.values:
            at, bits = op.layout[name]
            word |= (value & ((1 << bits) - 1)) << at
        return word.to_bytes(INSTRUCTION_BYTES, "little")

    @classmethod
    def decode(cls, data: bytes) -> "Instr":
        word = int.from_bytes(data, "little")
        op = BY_CODE.get(word & ((1 << OPCODE_BITS) - 1))
        if op is None:
            raise ProgramError(f"unknown opcode {word & 15}")
        values = {}
        for name, (at, bits) in op.layout.items():
            value = word >> at & ((1 << bits) - 1)
            if name in NAMES and value >= len(NAMES[name]):
                raise ProgramError(f"unknown {name} {value} of {op.name}")
            if (op.name, name) == ("add", "value") and value >> 31:
                value -= 1 << 32
            if value:
                values[name] = value
        return cls(op.name, tuple(sorted(values.items())))

    def __str__(self) -> str:
        shown, values = [], dict(self.values)
        for name in OPS[self.op].layout:
            if name.endswith("_reg"):
                continue
            if name not in NAMES and name not in values and name + "_reg" not in values:
                continue
            text = str(values.get(name, 0))
            if name in NAMES:
                text = NAMES[name][self[name]]
            if values.get(name + "_reg"):
                text += f"+r{values[name + '_reg']}"
            shown.append(f"{name}={text}")
        return " ".join([self.op, *shown])


@dataclass(frozen=True)
class Loop:
    """``count`` times ``body``."""
    count: int
    body: tuple["Node", ...]


Node = Instr | Loop


def nesting(nodes: Iterable[Node]) -> int:
    """Return how deep loops nest."""
    return max((1 + nesting(node.body) for node in nodes if isinstance(node, Loop)), default=0)


def flatten(nodes: Iterable[Node]) -> Iterator[Instr]:
    """The instructions as stored: loops as ``loop`` … ``end``."""
    for node in nodes:
        if isinstance(node, Loop):
            yield Instr.make("loop", count=node.count)
            yield from flatten(node.body)
            yield Instr.make("end")
        else:
            yield node


def assemble(nodes: Sequence[Node]) -> bytes:
    """Program bytes; ``nodes`` ends with ``halt``."""
    return b"".join(instr.encode() for instr in flatten(nodes))


def parse(data: bytes) -> tuple[Node, ...]:
    """The loop tree of a program's bytes. Raises :class:`ProgramError`."""
    if not data or len(data) % INSTRUCTION_BYTES:
        raise ProgramError(f"program of {len(data)} bytes is not a whole number of "
                           f"{INSTRUCTION_BYTES}-byte instructions")
    stack: list[list[Node]] = [[]]
    counts: list[int] = []
    for at in range(0, len(data), INSTRUCTION_BYTES):
        index = at // INSTRUCTION_BYTES
        try:
            instr = Instr.decode(data[at:at + INSTRUCTION_BYTES])
        except ProgramError as error:
            raise ProgramError(f"instruction {index}: {error}") from None
        if instr.op == "loop":
            if len(counts) == LOOP_DEPTH:
                raise ProgramError(f"instruction {index}: more than {LOOP_DEPTH} nested loops")
            if not instr["count"]:
                raise ProgramError(f"instruction {index}: a loop runs at least once")
            counts.append(instr["count"])
            stack.append([])
        elif instr.op == "end":
            if not counts:
                raise ProgramError(f"instruction {index}: end without loop")
            body = tuple(stack.pop())
            stack[-1].append(Loop(counts.pop(), body))
        else:
            stack[-1].append(instr)
    if counts:
        raise ProgramError("loop without end")
    nodes = tuple(stack[0])
    if not nodes or nodes[-1] != Instr("halt"):
        raise ProgramError("program does not end with halt")
    return nodes


def disassemble(data: bytes) -> str:
    """Return one line per instruction: index, then text. Loop bodies are indented."""
    lines, depth = [], 0
    parse(data)
    for at in range(0, len(data), INSTRUCTION_BYTES):
        instr = Instr.decode(data[at:at + INSTRUCTION_BYTES])
        depth -= instr.op == "end"
        lines.append(f"{at // INSTRUCTION_BYTES:5d}  {'  ' * depth}{instr}")
        depth += instr.op == "loop"
    return "\n".join(lines) + "\n"
