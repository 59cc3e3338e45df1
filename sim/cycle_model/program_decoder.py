"""Decodes a program once for the cycle model's dispatcher, with the tokens of each instruction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bitwright.hw.isa.dispatch_timing import DISPATCH_CYCLES, dispatch_cycles
from bitwright.hw.isa.instruction_table import OPS, Queue, Target
from bitwright.hw.isa.program_tree import Instr, Loop, Node, flatten
from bitwright.models.errors import Error
from bitwright.sim.cycle_model.engine import Engine, Order, Tokens

__all__ = ["Adds", "Credit", "CycleModelError", "Decoder", "Dispatch", "Repeat", "Step"]

SHORT_LOOP = 32  # iterations below which an innermost loop is not searched for repetition


class CycleModelError(Error, RuntimeError):
    """A program that never ends, or one the model cannot follow. One line, for people."""


@dataclass(frozen=True, eq=False)
class Adds:
    """A run of ``add``, with what it does to registers that address memory."""
    cycles: int
    changes: tuple[tuple[int, int], ...]   # (register, bytes)


@dataclass(frozen=True, eq=False)
class Credit:
    tokens: Tokens
    count: int


@dataclass(frozen=True, eq=False)
class Dispatch:
    """An instruction for an engine, and its address in memory."""
    order: Order
    cycles: int      # until it is issued, that cycle included
    address: int
    register: int


@dataclass(frozen=True, eq=False)
class Repeat:
    count: int
    steps: list["Step"]
    searched: bool   # for repetition


Step = Adds | Credit | Dispatch | Repeat


class Decoder:
    """Decodes one program. A loop body that is one object is decoded once: its orders are one."""

    def __init__(self, program: Sequence[Node], engines: dict[str, Engine], tokens: list[Tokens]):
        self.engines, self.tokens = engines, tokens
        self.instructions = 0
        self.addressing: set[int] = set()    # registers that address memory
        for instr in flatten(program):
            self.instructions += 1
            if instr.op in ("load", "store"):
                self.addressing.add(instr["dram_reg"])
        self.addressing.discard(0)
        self.bodies: dict[int, list[Step]] = {}  # by id of the nodes
        if not program or program[-1] != Instr("halt"):
            raise CycleModelError("the program does not end with halt")
        self.steps = self._steps(program[:-1])

    def _steps(self, nodes: Sequence[Node]) -> list[Step]:
        steps: list[Step] = []
        adds: list[Instr] = []
        for node in [*nodes, None]:
            if isinstance(node, Instr) and node.op == "add":
                adds.append(node)
                continue
            if adds:
                steps.append(self._adds(adds))
                adds = []
            if isinstance(node, Loop):
                steps.append(self._loop(node))
            elif node is not None:
                steps.append(self._instruction(node))
        return steps

    def _loop(self, loop: Loop) -> Repeat:
        steps = self.bodies.get(id(loop.body))
        if steps is None:
            steps = self.bodies[id(loop.body)] = self._steps(loop.body)
        nested = any(isinstance(step, Repeat) for step in steps)
        return Repeat(loop.count, steps, searched=nested or loop.count >= SHORT_LOOP)

    def _adds(self, adds: Iterable[Instr]) -> Adds:
        changes: dict[int, int] = {}
        cycles = 0
        for instr in adds:
            cycles += DISPATCH_CYCLES
            if (register := instr["reg"]) in self.addressing:
                changes[register] = changes.get(register, 0) + instr["value"]
        return Adds(cycles, tuple(changes.items()))

    def _instruction(self, instr: Instr) -> Step:
        values = {**dict.fromkeys(OPS[instr.op].layout, 0), **dict(instr.values)}
        takes: list[tuple[int, str]] = []    # and the counter of cycles waited
        gives: list[int] = []
        if instr.op == "credit":
            return Credit(self.tokens[values["queue"]], values["count"])
        if instr.op == "load":
            acts = values["target"] == Target.ACTS
            takes = [(Queue.A_FREE, "load_wait_a_free") if acts else
                     (Queue.W_FREE, "load_wait_w_free")] * values["wait"]
            gives = [Queue.A_READY if acts else Queue.W_READY] * values["signal"]
        elif instr.op == "store":
            takes = [(Queue.OUT_READY, "store_wait_out_ready")] * values["wait"]
            gives = [Queue.OUT_FREE] * values["signal"]
        elif instr.op == "exec":
            takes = [(queue, counter) for flag, queue, counter in (
                ("wait_w", Queue.W_READY, "execute_wait_w_ready"),
                ("wait_a", Queue.A_READY, "execute_wait_a_ready"),
                ("wait_out", Queue.OUT_FREE, "execute_wait_out_free")) if values[flag]]
            gives = [queue for flag, queue in (
                ("free_w", Queue.W_FREE), ("free_a", Queue.A_FREE),
                ("signal_out", Queue.OUT_READY)) if values[flag]]
        else:
            raise CycleModelError(f"{instr.op} within the program")
        order = Order(engine=self.engines[instr.op], values=values,
                      takes=tuple((self.tokens[queue], counter) for queue, counter in takes),
                      gives=tuple(self.tokens[queue] for queue in gives))
        return Dispatch(order, dispatch_cycles(instr.op), values.get("dram", 0),
                        values.get("dram_reg", 0))
