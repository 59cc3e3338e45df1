"""Timing of the execute engine: table filler and sequencer, from instruction to last slot."""

from collections import deque

from hw.config import Machine
from hw.execute import JOB_DEPTH

__all__ = ["ExecCycles"]


class ExecCycles:
    """Filler and sequencer of one machine.

    Cycle conventions follow the RTL: a flag set by an event in cycle t is seen in cycle t + 1. A
    bank is seen free ``rows + 1`` cycles after its last slot.
    """

    def __init__(self, machine: Machine):
        self.machine = machine
        self.fill = 8 * machine.table_steps
        self.bank = 0
        self.free = [0, 0]                  # cycle from which a bank is seen free
        self.filler_idle = 0
        self.sequencer_idle = 0
        self.takes: deque[int] = deque()    # cycles in which the sequencer took its last jobs
        self.last = -1000                   # last slot of all
        self.memo: dict[tuple, tuple] = {}

    def ready(self) -> int:
        """First cycle in which the filler can take an instruction."""
        if len(self.takes) < JOB_DEPTH:
            return self.filler_idle
        return max(self.filler_idle, self.takes[0] + 1)

    def slots(self, values: dict[str, int]) -> tuple[int, int, int]:
        """Slots of a K-tile, of the last K-tile, and planes sent in all."""
        subs = self.machine.rows if values["row_mode"] else 1
        per_channel = values["offset"] + values["planes0"] + values["planes1"]
        channels = subs * values["channels"]
        tile = channels * per_channel
        final = values["planes1"] or values["planes0"]
        stretch = max(0, self.machine.drain_slots - final) if values["final"] else 0
        return tile, tile + channels * stretch, tile * values["tiles"]

    def run(self, now: int, values: dict[str, int]) -> tuple[int, int, int]:
        """An instruction taken in cycle ``now``: cycle of its last slot, cycles the sequencer
        waited for tables, planes sent."""
        tile, last_tile, planes = self.slots(values)
        bank = self.bank
        key = (tile, last_tile, values["tiles"], max(self.free[bank] - now, 0),
               max(self.free[1 - bank] - now, 0), max(self.sequencer_idle - now, 0))
        result = self.memo.get(key)
        if result is None:
            result = self.memo[key] = self._schedule(*key)
        filled, take, last, before, waited = result
        self.bank = (bank + values["tiles"]) & 1
        self.free[1 - self.bank] = now + last + self.machine.rows + 1
        if values["tiles"] > 1:
            self.free[self.bank] = now + before + self.machine.rows + 1
        self.filler_idle = now + filled + 1
        self.sequencer_idle = now + last + 1
        self.takes.append(now + take)
        if len(self.takes) > JOB_DEPTH:
            self.takes.popleft()
        self.last = now + last
        return self.last, waited, planes

    def _schedule(self, tile: int, last_tile: int, tiles: int, free: int, free_other: int,
                  idle: int) -> tuple[int, int, int, int, int]:
        """Relative to the taking of the instruction: last fill cycle, cycle the sequencer takes
        the job, last slot, last slot of the tile before, cycles waited for tables."""
        fill, rows = self.fill, self.machine.rows
        frees = [free, free_other]
        take = max(1, idle)
        filled, last, before, waited = 0, 0, 0, 0
        wait_from = take + 1
        step: tuple | None = None
        index = 0
        while index < tiles:
            # The filler looks at its bank in its last fill cycle, later in a waiting state.
            seen_free = frees[index & 1]
            if index and seen_free <= filled:
                start = filled + 1
            else:
                start = max(filled + 1, seen_free) + 1
            filled = start + fill - 1
            before = last
            if index and filled + 1 <= last:
                begin = last + 1
            else:
                seen = max(wait_from, filled + 1)
                waited += seen - wait_from
                begin = seen + 1
            length = last_tile if index == tiles - 1 else tile
            previous, last = last, begin + length - 1
            wait_from = last + 1
            frees[index & 1] = last + rows + 1
            index += 1
            # A steady state: both stages moved by the same amount twice.
            now_step = (last - previous, filled - last, waited)
            if step and now_step[:2] == step[:2] and index < tiles - 2 and index > 3:
                count = tiles - 2 - index
                moved, more = now_step[0] * count, (waited - step[2]) * count
                filled, last, before = filled + moved, last + moved, before + moved
                frees = [at + moved for at in frees]
                wait_from += moved
                waited += more
                index += count
                if count & 1:
                    frees.reverse()
                step = None
                continue
            step = now_step
        return filled, take, last, before, waited

    def state(self, now: int) -> tuple:
        return (self.bank, max(self.free[0] - now, 0), max(self.free[1] - now, 0),
                self.filler_idle - now, max(self.sequencer_idle - now, 0),
                tuple(max(take - now, -1) for take in self.takes))

    def shift(self, cycles: int) -> None:
        self.free = [at + cycles for at in self.free]
        self.filler_idle += cycles
        self.sequencer_idle += cycles
        self.takes = deque(take + cycles for take in self.takes)
        self.last += cycles
