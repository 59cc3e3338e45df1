"""Cycle model: the RTL's cycle counts, computed from the program without any RTL.

Four agents act in turn, always the one whose next action comes first: the dispatcher, the load and
store engines' address issue, and the table filler. What an action causes lies in the future, so
every time that is needed is known. Nothing is stepped cycle by cycle: a burst and an ``exec`` are
one action each. When a loop's iterations repeat exactly (equal state, shifted in time), the rest is
skipped, so that time and memory depend on the program's length, not on its cycles.
"""

from bisect import insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hw.config import Machine
from hw.control import COUNTER_NAMES, COUNTERS
from hw.dispatch import DISPATCH_CYCLES
from hw.execute import retire_latency
from hw.isa import INSTRUCTION_BYTES, OPS, Instr, Loop, Node, Queue, Target, flatten
from hw.load import QUEUE_DEPTH
from sim.exec_cycles import ExecCycles
from sim.memory import Memory

__all__ = ["CycleResult", "CycleModelError", "run_cycles"]

NEVER = float("inf")
SHORT_LOOP = 32  # iterations below which an innermost loop is not searched for repetition


class CycleModelError(RuntimeError):
    """A program that never ends, or one the model cannot follow. One line, for people."""


@dataclass(frozen=True)
class CycleResult:
    """Predicted counters, by the names of the RTL's."""
    counters: dict[str, int]

    @property
    def engines(self) -> dict[str, dict[str, int]]:
        return {engine: {name: self.counters[f"{engine}_{name}"] for name in names}
                for engine, names in COUNTERS.items()}


class Bus:
    """The memory's data bus: bursts in the order of their addresses."""

    def __init__(self, memory: Memory):
        self.latency, self.interval = memory.latency, memory.interval
        self.free = 0


class Issuer:
    """Address side of one DMA engine: a queue of transfers, cut into bursts."""

    def __init__(self, machine: Machine):
        self.beat_bytes, self.burst_beats = machine.beat_bytes, machine.burst_beats
        self.outstanding = machine.outstanding
        self.queue: deque = deque()         # (cycle it can be read, instruction, address)
        self.pops: deque[int] = deque()     # cycles the last instructions left the queue
        self.pushed = 0
        self.idle = 0                       # cycle the engine looks at its queue again
        self.ends: deque[int] = deque()     # when bursts in flight free their place
        self.rows: deque = deque()          # (address, beats) still to issue
        self.at = 0                         # cycle of the next address, if rows
        self.current: Instr | None = None
        self.last_end = -2
        self.beats = 0

    def issue_time(self) -> int:
        if len(self.ends) < self.outstanding:
            return self.at
        return max(self.at, self.ends[0] + 1)

    def issue(self, now: int, limit: float, bus: Bus, answer: int) -> bool:
        """Take a burst's address in cycle ``now``, and all that follow before cycle ``limit``. A
        burst frees its place ``answer`` cycles after its last beat. True after the instruction's
        last."""
        ends, rows, outstanding = self.ends, self.rows, self.outstanding
        latency, interval, free = bus.latency, bus.interval, bus.free
        address, remaining = rows[0]
        address //= self.beat_bytes
        while True:
            if len(ends) == outstanding:
                ends.popleft()
            beats = self.burst_beats - address % self.burst_beats
            if beats > remaining:
                beats = remaining
            start = now + latency
            if start < free:
                start = free
            free = start + beats * interval
            ends.append(free - interval + answer)
            self.beats += beats
            remaining -= beats
            address += beats
            self.at = now + 2
            if not remaining:
                rows.popleft()
                if not rows:
                    self.idle = now + 1
                    break
                address, remaining = rows[0]
                address //= self.beat_bytes
            now = self.at
            if len(ends) == outstanding and ends[0] + 1 > now:
                now = ends[0] + 1
            if now >= limit:
                break
        if rows:
            rows[0] = (address * self.beat_bytes, remaining)
        bus.free = free
        self.last_end = ends[-1]
        return not rows

    def pop(self, now: int) -> Instr:
        _, instr, address = self.queue.popleft()
        self.pops.append(now)
        if len(self.pops) > QUEUE_DEPTH:
            self.pops.popleft()
        self.current, self.at = instr, now + 2
        return instr

    def state(self, now: int) -> tuple:
        grain = self.beat_bytes * self.burst_beats
        while self.ends and self.ends[0] < now - 1:  # frees a place by now
            self.ends.popleft()
        busy = bool(self.queue or self.rows)
        return (tuple((at - now, id(instr), address % grain) for at, instr, address in self.queue),
                min(self.pushed, QUEUE_DEPTH),
                tuple(pop - now for pop in self.pops if pop >= now),
                self.idle - now if busy else max(self.idle - now, 0),
                tuple(end - now for end in self.ends),
                tuple((address % grain, beats) for address, beats in self.rows),
                self.at - now if self.rows else 0, id(self.current) if self.rows else 0,
                max(self.last_end - now, -8))

    def shift(self, cycles: int) -> None:
        self.queue = deque((at + cycles, instr, address) for at, instr, address in self.queue)
        for name in ("pops", "ends"):
            setattr(self, name, deque(value + cycles for value in getattr(self, name)))
        self.idle += cycles
        self.at += cycles
        self.last_end += cycles


class CycleModel:
    def __init__(self, machine: Machine, memory: Memory):
        self.machine = machine
        self.bus = Bus(memory)
        self.load, self.store = Issuer(machine), Issuer(machine)
        self.exec = ExecCycles(machine)
        self.exec_queue: deque = deque()
        self.exec_pops: deque[int] = deque()
        self.exec_pushed = 0
        self.retire = retire_latency(machine)
        self.tokens: list[list[int]] = [[] for _ in Queue.names]  # cycles tokens are visible
        self.registers = [0] * 16
        self.now = 0            # cycle in which the dispatcher reads its next instruction
        self.counts = dict.fromkeys(COUNTER_NAMES, 0)
        self.decoded: dict[int, dict[str, int]] = {}
        self.needed: dict[int, tuple[list[int], ...]] = {}  # tokens an exec waits for
        self.bodies: dict[int, list[Any]] = {}
        self.keep: list[Any] = []           # what ids refer to

    # ---- agents: cycle of the next action, and the action ---------------------------------
    def load_time(self) -> float:
        engine = self.load
        if engine.rows:
            return engine.issue_time()
        if not engine.queue:
            return NEVER
        at, instr, _ = engine.queue[0]
        values = self.decoded[id(instr)]
        when = at if at > engine.idle else engine.idle
        if values["wait"]:
            tokens = self.tokens[Queue.A_FREE if values["target"] == Target.ACTS
                                 else Queue.W_FREE]
            if not tokens:
                return NEVER
            when = max(when, tokens[0])
        return when

    def load_act(self, now: int, limit: float) -> None:
        engine = self.load
        if not engine.rows:
            at, instr, address = engine.queue[0]
            values = self.decoded[id(instr)]
            acts = values["target"] == Target.ACTS
            if values["wait"]:
                self.tokens[Queue.A_FREE if acts else Queue.W_FREE].pop(0)
                self.counts["load_wait_a_free" if acts else "load_wait_w_free"] += (
                    now - max(at, engine.idle))
            engine.rows.append((address, values["beats"]))
            engine.pop(now)
            return
        values = self.decoded[id(engine.current)]
        if engine.issue(now, limit, self.bus, 0) and values["signal"]:
            insort(self.tokens[Queue.A_READY if values["target"] == Target.ACTS
                               else Queue.W_READY], engine.last_end + 2)

    def store_time(self) -> float:
        engine = self.store
        if engine.rows:
            return engine.issue_time()
        if not engine.queue:
            return NEVER
        at, instr, _ = engine.queue[0]
        when = at if at > engine.idle else engine.idle
        if self.decoded[id(instr)]["wait"]:
            if not self.tokens[Queue.OUT_READY]:
                return NEVER
            when = max(when, self.tokens[Queue.OUT_READY][0])
        return when

    def store_act(self, now: int, limit: float) -> None:
        engine = self.store
        if not engine.rows:
            at, instr, address = engine.queue[0]
            values = self.decoded[id(instr)]
            if values["wait"]:
                self.tokens[Queue.OUT_READY].pop(0)
                self.counts["store_wait_out_ready"] += now - max(at, engine.idle)
            engine.rows.extend((address + row * values["stride"], values["beats"])
                               for row in range(values["rows"]))
            engine.pop(now)
            return
        values = self.decoded[id(engine.current)]
        if engine.issue(now, limit, self.bus, 1) and values["signal"]:
            insort(self.tokens[Queue.OUT_FREE], engine.last_end + 1)

    EXEC_WAITS = (("wait_w", Queue.W_READY, "execute_wait_w_ready"),
                  ("wait_a", Queue.A_READY, "execute_wait_a_ready"),
                  ("wait_out", Queue.OUT_FREE, "execute_wait_out_free"))

    def exec_time(self) -> float:
        if not self.exec_queue:
            return NEVER
        when, instr = self.exec_queue[0]
        ready = self.exec.ready()
        if ready > when:
            when = ready
        for tokens in self.needed[id(instr)]:
            if not tokens:
                return NEVER
            if tokens[0] > when:
                when = tokens[0]
        return when

    def exec_act(self, now: int, limit: float) -> None:
        at, instr = self.exec_queue.popleft()
        self.exec_pops.append(now)
        if len(self.exec_pops) > QUEUE_DEPTH:
            self.exec_pops.popleft()
        values = self.decoded[id(instr)]
        when = max(at, self.exec.ready())
        for flag, queue, counter in self.EXEC_WAITS:
            if values[flag]:
                token = self.tokens[queue].pop(0)
                if token > when:
                    self.counts[counter] += token - when
                    when = token
        last, waited, slots = self.exec.run(now, values)
        self.counts["execute_wait_tables"] += waited
        self.counts["execute_busy"] += slots
        given = last + self.retire + 1
        for flag, queue in (("free_w", Queue.W_FREE), ("free_a", Queue.A_FREE),
                            ("signal_out", Queue.OUT_READY)):
            if values[flag]:
                insort(self.tokens[queue], given)

    def advance(self, until: float) -> bool:
        """Let the engines act before cycle ``until``; with NEVER, one action only. False if
        none can."""
        acted = False
        while True:
            load, store, execute = self.load_time(), self.store_time(), self.exec_time()
            if load <= store and load <= execute:
                if load >= until or load == NEVER:
                    return acted
                self.load_act(int(load), min(store, execute, until))
            elif store <= execute:
                if store >= until:
                    return acted
                self.store_act(int(store), min(load, execute, until))
            else:
                if execute >= until:
                    return acted
                self.exec_act(int(execute), NEVER)
            acted = True
            if until == NEVER:
                return True

    # ---- dispatcher -----------------------------------------------------------------------
    def fields(self, instr: Instr) -> dict[str, int]:
        values = self.decoded.get(id(instr))
        if values is None:
            values = {**dict.fromkeys(OPS[instr.op].layout, 0), **dict(instr.values)}
            self.decoded[id(instr)] = values
            self.keep.append(instr)
            if instr.op == "exec":
                self.needed[id(instr)] = tuple(self.tokens[queue] for flag, queue, _
                                               in self.EXEC_WAITS if values[flag])
        return values

    def room(self, op: str) -> float:
        """First cycle in which the queue of ``op`` takes an instruction, as far as is known."""
        if op == "exec":
            queue, pops, pushed = self.exec_queue, self.exec_pops, self.exec_pushed
        else:
            engine = self.load if op == "load" else self.store
            queue, pops, pushed = engine.queue, engine.pops, engine.pushed
        if pushed < QUEUE_DEPTH:
            return 0
        if len(queue) == QUEUE_DEPTH:
            return NEVER
        return pops[-(QUEUE_DEPTH - len(queue))] + 1

    def dispatch(self, instr: Instr) -> None:
        """Instruction that is read in cycle ``now``."""
        op, values = instr.op, self.fields(instr)
        issue = self.now + DISPATCH_CYCLES - 1
        if op == "credit":
            for _ in range(values["count"]):
                insort(self.tokens[values["queue"]], issue + 1)
        elif op in ("load", "exec", "store"):
            self.advance(issue)
            while (room := self.room(op)) > issue:
                if room == NEVER:
                    if not self.advance(NEVER):
                        raise CycleModelError(f"the program never ends: {instr} waits for a queue")
                else:
                    issue = int(room)
                    self.advance(issue)
            if op == "exec":
                self.exec_queue.append((issue + 1, instr))
                self.exec_pushed += 1
            else:
                engine = self.load if op == "load" else self.store
                address = values["dram"] + self.registers[values["dram_reg"]]
                engine.queue.append((issue + 1, instr, address))
                engine.pushed += 1
        self.now = issue + 1

    def control(self) -> None:
        """A ``loop``, ``end`` or ``halt``."""
        self.now += DISPATCH_CYCLES

    def interpret(self, nodes: Sequence[Node]) -> None:
        for step in self.prepared(nodes):
            if isinstance(step, list):       # a run of adds
                for register, value in step:
                    self.registers[register] += value
                self.now += DISPATCH_CYCLES * len(step)
            elif isinstance(step, Loop):
                self.control()
                seen: dict[tuple, tuple[int, int, dict[str, int]]] = {}
                worth = step.count >= SHORT_LOOP or any(
                    isinstance(node, Loop) for node in step.body)
                iteration = 0
                while iteration < step.count:
                    self.interpret(step.body)
                    self.control()
                    iteration += 1
                    if worth and step.count - iteration > 1:
                        iteration = self.skip(seen, iteration, step.count)
            elif step.op != "halt":
                self.dispatch(step)

    def prepared(self, nodes: Sequence[Node]) -> list[Any]:
        """``nodes`` with every run of ``add`` as one list of (register, value)."""
        found = self.bodies.get(id(nodes))
        if found is None:
            found = []
            for node in nodes:
                if isinstance(node, Instr) and node.op == "add":
                    if not found or not isinstance(found[-1], list):
                        found.append([])
                    found[-1].append((node["reg"], node["value"]))
                else:
                    found.append(node)
            self.bodies[id(nodes)] = found
            self.keep.append(nodes)
        return found

    # ---- repetition -----------------------------------------------------------------------
    def state(self) -> tuple:
        now = self.now
        grain = self.machine.beat_bytes * self.machine.burst_beats
        return (self.load.state(now), self.store.state(now), self.exec.state(now),
                tuple((at - now, id(instr)) for at, instr in self.exec_queue),
                tuple(pop - now for pop in self.exec_pops if pop >= now),
                min(self.exec_pushed, QUEUE_DEPTH),
                tuple(tuple(max(at - now, 0) for at in tokens) for tokens in self.tokens),
                max(self.bus.free - now, 0),
                tuple(register % grain for register in self.registers))

    def totals(self) -> dict[str, int]:
        return {**self.counts, "now": self.now, "load": self.load.beats,
                "store": self.store.beats}

    def skip(self, seen: dict, iteration: int, count: int) -> int:
        """If this state was seen before in this loop, leave out whole repetitions."""
        self.advance(self.now)
        key = self.state()
        before = seen.get(key)
        if before is None:
            seen[key] = (iteration, self.now, self.totals())
            return iteration
        past, _, totals = before
        repeats = (count - iteration) // (iteration - past)
        if repeats:
            now = self.totals()
            change = {name: (now[name] - totals[name]) * repeats for name in now}
            for name in self.counts:
                self.counts[name] += change[name]
            self.load.beats += change["load"]
            self.store.beats += change["store"]
            self.shift(change["now"])
        return iteration + repeats * (iteration - past)

    def shift(self, cycles: int) -> None:
        self.now += cycles
        self.bus.free += cycles
        self.load.shift(cycles)
        self.store.shift(cycles)
        self.exec.shift(cycles)
        self.exec_queue = deque((at + cycles, instr) for at, instr in self.exec_queue)
        self.exec_pops = deque(pop + cycles for pop in self.exec_pops)
        for tokens in self.tokens:
            tokens[:] = [at + cycles for at in tokens]

    # ---- the whole ------------------------------------------------------------------------
    def run(self, nodes: Sequence[Node], address: int) -> CycleResult:
        """``total`` counts from the cycle after the start pulse, which is cycle 0 here."""
        beats = sum(1 for _ in flatten(nodes)) * INSTRUCTION_BYTES // self.machine.beat_bytes
        fetch = Instr.make("load", beats=beats, dram=address)
        self.fields(fetch)
        self.load.queue.append((2, fetch, address))
        self.load.pushed = 1
        while self.load.queue or self.load.rows:
            self.advance(NEVER)
        first = self.load.last_end + 2
        self.now = first
        self.interpret(nodes)
        halted = self.now + DISPATCH_CYCLES
        while self.advance(NEVER):
            pass
        if self.load.queue or self.store.queue or self.exec_queue:
            raise CycleModelError("the program never ends: an engine waits for a token")
        done = max(halted, self.load.last_end + 2, self.load.idle, self.store.last_end + 1,
                   self.store.idle, self.exec.last + self.retire + 1)
        self.counts |= {"total": done, "run": done - first + 1, "load_busy": self.load.beats,
                        "store_busy": self.store.beats}
        return CycleResult(dict(self.counts))


def run_cycles(machine: Machine, program: Sequence[Node], memory: Memory = Memory(),
               address: int = 0) -> CycleResult:
    """Counters of ``program`` (a loop tree, stored at byte ``address``) on ``machine``, exactly as
    the RTL counts them with the memory that ``memory`` describes.

    Raises :class:`CycleModelError` for a program that never ends."""
    return CycleModel(machine, memory).run(program, address)

