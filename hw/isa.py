"""The instruction table: hardware, assembler, disassembler, cycle model and docs read this file.

An instruction is 256 bits, little-endian in memory; the opcode is bits 0…3. A field with ``base``
set is an address, to which an address register is added when the instruction is dispatched: bits
4…7 name the register of the first address, the next 4 bits that of the second, and so on. From bit
24 on follow the addresses, each in a slot of 16 bits, or of 32 if one of them needs more; then the
other fields in the order listed, least significant first. Register 0 is always zero. Registers
start at zero and change by ``add`` only; addresses of on-chip buffers wrap at the buffer's depth.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["DIGITS", "INSTRUCTION_BITS", "INSTRUCTION_BYTES", "OPS", "Field", "Instr", "Loop",
           "Node", "Op", "ProgramError", "Queue", "Target", "assemble", "disassemble", "flatten",
           "nesting", "parse"]

INSTRUCTION_BITS = 256
INSTRUCTION_BYTES = INSTRUCTION_BITS // 8
OPCODE_BITS = 4
REGISTERS = 16
REGISTER_BITS = 4
FIELDS_AT = 24          # first bit after the opcode and the register numbers
LOOP_DEPTH = 4
DIGITS = 4              # of a weight, at most


class ProgramError(ValueError):
    """A program that does not decode or does not fit. One line, for people."""


class Target:
    """Buffers a ``load`` fills."""
    WEIGHTS, ACTS, SCALES, TABLE = range(4)
    names = ("weights", "acts", "scales", "table")


class Queue:
    """Token queues; each is a counter that a producer raises and a consumer waits on."""
    W_READY, A_READY, W_FREE, A_FREE, OUT_READY, OUT_FREE = range(6)
    names = ("w_ready", "a_ready", "w_free", "a_free", "out_ready", "out_free")


NAMES = {"target": Target.names, "queue": Queue.names}  # fields shown by name


@dataclass(frozen=True)
class Field:
    name: str
    bits: int
    doc: str
    base: bool = False       # an address, to which a register is added
    register: bool = False   # the number of a register


@dataclass(frozen=True)
class Op:
    name: str
    code: int
    doc: str
    fields: tuple[Field, ...] = ()
    layout: dict[str, tuple[int, int]] = field(init=False)  # name -> (first bit, width)

    def __post_init__(self) -> None:
        numbers = [item.name + "_reg" if item.base else item.name for item in self.fields
                   if item.base or item.register]
        layout = {name: (OPCODE_BITS + REGISTER_BITS * index, REGISTER_BITS)
                  for index, name in enumerate(numbers)}
        at = FIELDS_AT
        for item in (*self.addresses, *(item for item in self.fields
                                        if not (item.base or item.register))):
            layout[item.name] = (at, item.bits)
            at += self.slot_bits if item.base else item.bits
        assert at <= INSTRUCTION_BITS
        object.__setattr__(self, "layout", layout)

    @property
    def addresses(self) -> tuple[Field, ...]:
        """Fields that an address register is added to, in order."""
        return tuple(item for item in self.fields if item.base)

    @property
    def slot_bits(self) -> int:
        """Bits from one address to the next."""
        return 16 if all(item.bits <= 16 for item in self.addresses) else 32


def _address(name: str, bits: int, doc: str) -> Field:
    return Field(name, bits, doc, base=True)


OPS: dict[str, Op] = {op.name: op for op in (
    Op("halt", 0, "end of the program"),
    Op("loop", 1, "repeat up to the matching end", (
        Field("count", 16, "iterations, at least 1"),)),
    Op("end", 2, "end of a loop body"),
    Op("add", 3, "reg += value, modulo 2^32", (
        Field("reg", REGISTER_BITS, "register 1…15", register=True),
        Field("value", 32, "two's complement"))),
    Op("credit", 4, "raise a token queue", (
        Field("queue", 3, "token queue"),
        Field("count", 8, "tokens"))),
    Op("load", 5, "memory to buffer, contiguous beats", (
        _address("dram", 32, "byte address, a multiple of the beat"),
        _address("sram", 24, "buffer address in beats"),
        Field("beats", 24, "length in beats, at least 1"),
        Field("target", 3, "0 weights, 1 acts, 2 scales, 3 decode table"),
        Field("broadcast", 1, "acts: write every row (row mode)"),
        Field("wait", 1, "take a token of w_free (a_free for acts)"),
        Field("signal", 1, "give a token to w_ready (a_ready for acts)"))),
    Op("exec", 6, "one output tile over a run of K-tiles", (
        _address("w_addr", 16, "weight buffer word"),
        _address("a_addr", 16, "activation buffer word"),
        _address("s_addr", 16, "scale buffer word"),
        _address("psum", 16, "psum base"),
        _address("out", 16, "output buffer word"),
        Field("tiles", 12, "K-tiles, at least 1"),
        Field("channels", 8, "channels per column, at least 4"),
        *(item for digit in range(DIGITS) for item in (
            Field(f"slots{digit}", 3, f"slots of digit {digit}, "
                  + ("1…4" if digit == 0 else "0 for none")),
            Field(f"shift{digit}", 4, f"shift of digit {digit}"))),
        Field("sigma0", 1, "digit 0 subtracts the sum of activations"),
        Field("packing0", 2, "log2 of the codes that share a word (decoded weights), digit 0"),
        Field("packing1", 2, "the same of digit 1"),
        Field("again", 1, "digit 1 reads the words of digit 0 once more"),
        Field("select", 1, "bits 9 and 10 of a scale select the codebook"),
        Field("plane_scales", 1, "every digit has a scale of its own"),
        Field("offset", 1, "each channel has an offset beside its scale"),
        Field("group_tiles", 12, "K-tiles that share a scale, at least 1"),
        Field("row_mode", 1, "rows serve different channels of one token"),
        Field("first", 1, "psums start from zero"),
        Field("final", 1, "results go to the output buffer"),
        Field("wait_w", 1, "take a token of w_ready"),
        Field("wait_a", 1, "take a token of a_ready"),
        Field("wait_out", 1, "take a token of out_free"),
        Field("free_w", 1, "give a token to w_free"),
        Field("free_a", 1, "give a token to a_free"),
        Field("signal_out", 1, "give a token to out_ready"))),
    Op("store", 7, "output buffer to memory, rows of contiguous beats", (
        _address("dram", 32, "byte address of row 0"),
        _address("out", 16, "output buffer word"),
        Field("stride", 32, "bytes from row to row"),
        Field("rows", 8, "rows, at least 1"),
        Field("beats", 16, "beats per row, at least 1"),
        Field("wait", 1, "take a token of out_ready"),
        Field("signal", 1, "give a token to out_free"))),
)}
BY_CODE = {op.code: op for op in OPS.values()}


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
    """How deep loops lie in one another."""
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
    """One line per instruction: index, then text; loop bodies indented."""
    lines, depth = [], 0
    parse(data)
    for at in range(0, len(data), INSTRUCTION_BYTES):
        instr = Instr.decode(data[at:at + INSTRUCTION_BYTES])
        depth -= instr.op == "end"
        lines.append(f"{at // INSTRUCTION_BYTES:5d}  {'  ' * depth}{instr}")
        depth += instr.op == "loop"
    return "\n".join(lines) + "\n"
