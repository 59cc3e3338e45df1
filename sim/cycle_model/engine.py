"""Models an engine: a queue of instructions, each waiting for its tokens.

Cycle conventions follow the RTL: what an event in cycle t sets is seen in cycle t + 1.
"""

from abc import ABC, abstractmethod
from bisect import insort
from collections import deque
from dataclasses import dataclass

from bitwright.hw.machine.description import Machine
from bitwright.sim.cycle_model.recorder import Recorder

__all__ = ["Engine", "NEVER", "Order", "Tokens"]

NEVER = float("inf")


class Tokens:
    """One token queue: the cycles from which its tokens are seen, ascending."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.consumer: Engine | None = None

    def give(self, at: int) -> None:
        times = self.times
        if times and times[-1] <= at:
            times.append(at)
            return
        insort(times, at)
        if times[0] == at and self.consumer is not None:
            self.consumer.look()


@dataclass(frozen=True, eq=False, kw_only=True)
class Order:
    """An instruction, decoded for its engine. Equal to itself alone."""
    engine: "Engine"
    values: dict[str, int]
    takes: tuple[tuple[Tokens, str], ...] = ()  # and the counter of cycles waited
    gives: tuple[Tokens, ...] = ()


class Engine(ABC):
    """``due`` is the cycle of the next action, as far as is known now; ``act`` performs it.

    ``idle`` is the cycle from which the engine looks at its queue.
    """

    def __init__(self, machine: Machine, counts: dict[str, int]):
        self.counts = counts
        self.depth = machine.queue_depth
        self.queue: deque[tuple[int, Order, int]] = deque()  # cycle it is seen, order, address
        self.pops: deque[int] = deque(maxlen=self.depth)    # cycles of the last departures
        self.pushed = 0
        self.idle = 0
        self.due: float = NEVER
        self.record: Recorder | None = None

    @abstractmethod
    def act(self, limit: float) -> None:
        """Perform the action that is due, and may be those that follow before cycle ``limit``."""

    # ---- queue --------------------------------------------------------------------------
    @property
    def full(self) -> bool:
        return len(self.queue) == self.depth

    def room(self) -> int:
        """First cycle in which the queue, not full, takes an order."""
        if self.pushed < self.depth:
            return 0
        return self.pops[len(self.queue) - self.depth] + 1

    def push(self, at: int, order: Order, address: int) -> None:
        """An order that is seen from cycle ``at``."""
        self.queue.append((at, order, address))
        self.pushed += 1
        if len(self.queue) == 1:
            self.look()

    def look(self) -> None:
        """Find ``due`` of an engine that is waiting."""
        if not self.queue:
            self.due = NEVER
            return
        at, order, _ = self.queue[0]
        when: float = at if at > self.idle else self.idle
        for tokens, _ in order.takes:
            if not tokens.times:
                when = NEVER
                break
            if tokens.times[0] > when:
                when = tokens.times[0]
        self.due = when

    def take(self) -> tuple[Order, int, int]:
        """Take the order that is due, and its tokens; returns it, its address, and the cycle."""
        at, order, address = self.queue.popleft()
        when = at if at > self.idle else self.idle
        for tokens, counter in order.takes:
            token = tokens.times.pop(0)
            if token > when:
                self.counts[counter] += token - when
                when = token
        self.pops.append(when)
        return order, address, when

    # ---- repetition ---------------------------------------------------------------------
    def state(self, now: int) -> tuple:
        """Return everything that decides the future, relative to cycle ``now``."""
        return (tuple((at - now, order, address) for at, order, address in self.queue),
                min(self.pushed, self.depth), tuple(pop - now for pop in self.pops if pop >= now),
                self.idle - now if self.queue else max(self.idle - now, 0))

    def shift(self, cycles: int) -> None:
        """Move in time."""
        self.queue = deque((at + cycles, order, address) for at, order, address in self.queue)
        self.pops = deque((pop + cycles for pop in self.pops), maxlen=self.depth)
        self.idle += cycles
        self.due += cycles
