"""Computes the RTL's cycle counts from the program, without any RTL.

Four agents act in turn, always the one whose next action comes first: the dispatcher, the load and
store engines' address issue, and the table filler. What an action causes lies in the future, so
every time that is needed is known. Nothing is stepped cycle by cycle: a burst and an ``exec`` are
one action each. When a loop's iterations repeat exactly (equal state, shifted in time), the rest is
skipped, so that time and memory depend on the program's length, not on its cycles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bitwright.hw.isa.dispatch_timing import DISPATCH_CYCLES
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES, REGISTERS, Queue
from bitwright.hw.isa.program_tree import Node
from bitwright.hw.machine.control_interface import COUNTER_NAMES, by_engine
from bitwright.hw.machine.description import Machine
from bitwright.sim.cycle_model.dma_engines import Bus, Transfers
from bitwright.sim.cycle_model.engine import NEVER, Engine, Order, Tokens
from bitwright.sim.cycle_model.execute_engine import Executor
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.program_decoder import (
    Adds,
    CycleModelError,
    Decoder,
    Dispatch,
    Repeat,
    Step,
)
from bitwright.sim.cycle_model.recorder import CAUSES, Recorder

__all__ = ["CycleModelError", "CycleResult", "run_cycles"]


@dataclass(frozen=True)
class CycleResult:
    """Predicted counters, by the names of the RTL's, and the cycles of ``run`` by their cause
    (:data:`bitwright.sim.cycle_model.recorder.CAUSES`)."""
    counters: dict[str, int]
    causes: dict[str, int]

    @property
    def engines(self) -> dict[str, dict[str, int]]:
        return by_engine(self.counters)


class CycleModel:
    """Runs one program once, in cycles."""

    def __init__(self, machine: Machine, memory: Memory, record: Recorder | None = None):
        self.machine, self.record = machine, record
        self.grain = machine.beat_bytes * machine.burst_beats  # bursts see addresses modulo this
        self.counts = dict.fromkeys((*COUNTER_NAMES, *CAUSES), 0)
        self.bus = Bus(memory)
        self.load = Transfers(machine, self.counts, self.bus, answer=0, signal=2)
        self.store = Transfers(machine, self.counts, self.bus, answer=1, signal=1)
        self.execute = Executor(machine, self.counts)
        self.engines: dict[str, Engine] = {"load": self.load, "store": self.store,
                                           "exec": self.execute}
        for engine in self.engines.values():
            engine.record = record
        self.tokens = [Tokens() for _ in Queue.names]
        for engine, queues in ((self.load, (Queue.W_FREE, Queue.A_FREE)),
                               (self.store, (Queue.OUT_READY,)),
                               (self.execute, (Queue.W_READY, Queue.A_READY, Queue.OUT_FREE))):
            for queue in queues:
                self.tokens[queue].consumer = engine
        self.registers = [0] * REGISTERS
        self.now = 0            # cycle in which the dispatcher reads its next instruction

    # ---- agents ---------------------------------------------------------------------------
    def advance(self, until: float) -> None:
        """Let the engines act before cycle ``until``."""
        while self._act(until):
            pass

    def _act(self, until: float = NEVER) -> bool:
        """The first action of all, if it comes before ``until``. Bus order is load before store
        within a cycle."""
        load, store, execute = self.load.due, self.store.due, self.execute.due
        if load <= store and load <= execute:
            if load >= until:
                return False
            self.load.act(min(store, execute, until))
        elif store <= execute:
            if store >= until:
                return False
            self.store.act(min(load, execute, until))
        else:
            if execute >= until:
                return False
            self.execute.act(min(load, store, until))
        return True

    def dispatch(self, step: Dispatch) -> None:
        engine = step.order.engine
        issue = self.now + step.cycles - 1
        self.advance(issue)
        while engine.full:
            if not self._act():
                raise CycleModelError("the program never ends: "
                                      f"{self._name(engine)} waits for a token, its queue is full")
        room = engine.room()
        if room > issue:
            self.advance(room)
            self.execute.explain_blocked("stores" if engine is self.store else "loads", issue, room)
            issue = room
        address = (step.address + self.registers[step.register]) % self.grain
        engine.push(issue + 1, step.order, address // self.machine.beat_bytes)
        if self.record is not None:
            self.record.event("dispatcher", self._name(engine), self.now, issue + 1, {})
        self.now = issue + 1

    def _name(self, engine: Engine) -> str:
        return next(name for name, other in self.engines.items() if other is engine)

    def interpret(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, Dispatch):
                self.dispatch(step)
            elif isinstance(step, Adds):
                for register, value in step.changes:
                    self.registers[register] += value
                self.now += step.cycles
            elif isinstance(step, Repeat):
                self.repeat(step)
            else:
                self.now += DISPATCH_CYCLES
                for _ in range(step.count):
                    step.tokens.give(self.now)

    # ---- repetition -----------------------------------------------------------------------
    def repeat(self, step: Repeat) -> None:
        self.now += DISPATCH_CYCLES
        seen: dict[tuple, tuple[int, dict[str, int]]] = {}
        done = 0
        while done < step.count:
            self.interpret(step.steps)
            self.now += DISPATCH_CYCLES
            done += 1
            if step.searched and step.count - done > 1 and (
                    self.record is None or self.record.full):
                done = self.skip(seen, done, step.count)

    def state(self) -> tuple:
        now = self.now
        return (self.load.state(now), self.store.state(now), self.execute.state(now),
                tuple(tuple(max(at - now, 0) for at in tokens.times) for tokens in self.tokens),
                max(self.bus.free - now, 0),
                tuple(register % self.grain for register in self.registers))

    def totals(self) -> dict[str, int]:
        return {**self.counts, "now": self.now, "load": self.load.beats,
                "store": self.store.beats}

    def skip(self, seen: dict, done: int, count: int) -> int:
        """Iterations done: if this state was seen before in this loop, whole repetitions are left
        out."""
        self.advance(self.now)
        self.execute.explain(self.now)
        key = self.state()
        before = seen.get(key)
        if before is None:
            seen[key] = (done, self.totals())
            return done
        past, totals = before
        repeats = (count - done) // (done - past)
        if repeats:
            now = self.totals()
            change = {name: (now[name] - totals[name]) * repeats for name in now}
            for name in self.counts:
                self.counts[name] += change[name]
            self.load.beats += change["load"]
            self.store.beats += change["store"]
            self.shift(change["now"])
            if self.record is not None:
                self.record.skip()
        return done + repeats * (done - past)

    def shift(self, cycles: int) -> None:
        self.now += cycles
        self.bus.free += cycles
        for engine in self.engines.values():
            engine.shift(cycles)
        for tokens in self.tokens:
            tokens.times[:] = [at + cycles for at in tokens.times]

    # ---- the whole ------------------------------------------------------------------------
    def run(self, nodes: Sequence[Node], address: int) -> CycleResult:
        """``total`` counts from the cycle after the start pulse, which is cycle 0 here."""
        decoded = Decoder(nodes, self.engines, self.tokens)
        beats = decoded.instructions * INSTRUCTION_BYTES // self.machine.beat_bytes
        fetch = Order(engine=self.load, values={"beats": beats})
        self.load.push(2, fetch, address // self.machine.beat_bytes)
        self.advance(NEVER)
        first = self.now = self.execute.explained = self.load.last_end + 2
        self.interpret(decoded.steps)
        halted = self.now + DISPATCH_CYCLES
        self.advance(NEVER)
        for name, engine in self.engines.items():
            if engine.queue:
                raise CycleModelError(f"the program never ends: {name} waits for a token")
        done = max(halted, self.load.last_end + 2, self.load.idle, self.store.last_end + 1,
                   self.store.idle, self.execute.last + self.execute.retire + 1)
        self.execute.finish(halted, done + 1)
        self.counts |= {"total": done, "run": done - first + 1, "load_busy": self.load.beats,
                        "store_busy": self.store.beats}
        return CycleResult({name: self.counts[name] for name in COUNTER_NAMES},
                           {name: self.counts[name] for name in CAUSES})


def run_cycles(machine: Machine, program: Sequence[Node], memory: Memory = Memory(),
               address: int = 0, record: Recorder | None = None) -> CycleResult:
    """Counters of ``program`` (a loop tree, stored at byte ``address``) on ``machine``, exactly as
    the RTL counts them with the memory that ``memory`` describes. ``record`` is told what happens;
    until it is full, repetition is followed to its end.

    Raises :class:`CycleModelError` for a program that never ends."""
    return CycleModel(machine, memory, record).run(program, address)
