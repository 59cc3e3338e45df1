"""Models the load and store engines, and the bus that they share."""

from collections import deque

from bitwright.hw.isa.instruction_table import Target
from bitwright.hw.machine.description import Machine
from bitwright.sim.cycle_model.engine import Engine, Order
from bitwright.sim.cycle_model.memory_timing import Memory

__all__ = ["Bus", "Transfers"]


class Bus:
    """The memory's data bus: bursts in the order of their addresses."""

    def __init__(self, memory: Memory):
        self.latency, self.interval = memory.latency, memory.interval
        self.free = 0   # cycle from which no burst has a beat


class Transfers(Engine):
    """Address side of one DMA engine: cuts transfers into bursts, one every two cycles.

    An order's values give ``beats``, and for several rows ``rows`` and ``stride``; addresses are
    in beats. A burst frees its place ``answer`` cycles after its last beat, and the tokens of an
    order are seen ``signal`` cycles after that.
    """

    def __init__(self, machine: Machine, counts: dict[str, int], bus: Bus, *, answer: int,
                 signal: int):
        super().__init__(machine, counts)
        self.bus, self.answer, self.signal = bus, answer, signal
        self.track = "store" if answer else "load"
        self.burst_beats, self.outstanding = machine.burst_beats, machine.outstanding
        self.stride_bytes = machine.beat_bytes
        self.ends: deque[int] = deque()                # when bursts in flight free their place
        self.rows: deque[tuple[int, int]] = deque()    # (address, beats) still to issue
        self.order: Order | None = None                # that the rows belong to
        self.kind = ""                                 # of the order; these three if recorded
        self.first_beat = 0
        self.moved = 0                                 # bytes so far
        self.last_end = -2
        self.beats = 0

    def look(self) -> None:
        if not self.rows:
            super().look()

    def act(self, limit: float) -> None:
        if not self.rows:
            self.order, address, now = self.take()
            values = self.order.values
            stride = values.get("stride", 0) // self.stride_bytes
            self.rows.extend((address + row * stride, values["beats"])
                             for row in range(values.get("rows", 1)))
            self.due = now + 2
            if len(self.ends) == self.outstanding:
                self.due = max(self.due, self.ends[0] + 1)
            if self.record is not None:
                self.kind = ("results" if self.answer else
                             Target.names[values["target"]] if "target" in values else "program")
                self.moved = 0
        else:
            self._issue(int(self.due), limit)

    def _issue(self, now: int, limit: float) -> None:
        """Take a burst's address in cycle ``now``, and those that follow before ``limit``."""
        ends, rows, bus, outstanding = self.ends, self.rows, self.bus, self.outstanding
        burst_beats, answer, record = self.burst_beats, self.answer, self.record
        latency, interval, free = bus.latency, bus.interval, bus.free
        address, remaining = rows[0]
        while True:
            if len(ends) == outstanding:
                ends.popleft()
            beats = burst_beats - address % burst_beats
            if beats > remaining:
                beats = remaining
            start = now + latency
            if start < free:
                start = free
            free = start + beats * interval
            ends.append(free - interval + answer)
            if record is not None:
                if not self.moved:
                    self.first_beat = start
                self.moved += beats * self.stride_bytes
                record.event("bus", self.kind, start, free, {"bytes": beats * self.stride_bytes})
            self.beats += beats
            remaining -= beats
            address += beats
            if not remaining:
                rows.popleft()
                if not rows:
                    break
                address, remaining = rows[0]
            now += 2
            if len(ends) == outstanding and ends[0] >= now:
                now = ends[0] + 1
            if now >= limit:
                rows[0] = (address, remaining)
                break
        bus.free = free
        if rows:
            self.due = now
            return
        self.idle = now + 1
        self.last_end = ends[-1]
        assert self.order is not None
        if self.record is not None:
            self.record.event(self.track, self.kind, self.first_beat, free, {"bytes": self.moved})
        for tokens in self.order.gives:
            tokens.give(self.last_end + self.signal)
        super().look()

    def state(self, now: int) -> tuple:
        while self.ends and self.ends[0] < now - 1:  # frees its place by now
            self.ends.popleft()
        return (*super().state(now), tuple(end - now for end in self.ends),
                tuple((address % self.burst_beats, beats) for address, beats in self.rows),
                self.due - now if self.rows else 0, self.order if self.rows else None,
                max(self.last_end - now, -8))

    def shift(self, cycles: int) -> None:
        super().shift(cycles)
        self.ends = deque(end + cycles for end in self.ends)
        self.last_end += cycles
        self.first_beat += cycles
