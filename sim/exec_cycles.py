"""Execute engine of the cycle model: table filler and sequencer, from instruction to last slot."""

from typing import NamedTuple

from hw.config import Machine
from hw.execute import retire_latency
from sim.engine import Engine

__all__ = ["Executor"]


class Timing(NamedTuple):
    """One ``exec``, relative to the cycle in which the filler took it."""
    filled: int    # last fill cycle
    last: int      # last slot
    before: int    # last slot of the K-tile before
    waited: int    # cycles waited for tables


class Executor(Engine):
    """Filler and sequencer of one machine.

    A bank is seen free ``rows + 1`` cycles after its last slot. That holds the filler back, never
    the job queue between the two. Tokens are given ``retire`` cycles after the last slot.
    """

    def __init__(self, machine: Machine, counts: dict[str, int]):
        super().__init__(counts)
        self.machine = machine
        self.fill = 8 * machine.table_steps
        self.retire = retire_latency(machine)
        self.bank = 0
        self.free = [0, 0]                  # cycle from which a bank is seen free
        self.sequencer_idle = 0
        self.last = -1000                   # last slot of all
        self.memo: dict[tuple[int, ...], Timing] = {}

    def slots(self, values: dict[str, int]) -> tuple[int, int, int]:
        """Slots of a K-tile, of the last K-tile, and planes sent in all."""
        subs = self.machine.rows if values["row_mode"] else 1
        channels = subs * values["channels"]
        tile = channels * (values["offset"] + values["planes0"] + values["planes1"])
        planes = values["planes1"] or values["planes0"]  # of the last pass
        stretch = max(0, self.machine.drain_slots - planes) if values["final"] else 0
        return tile, tile + channels * stretch, tile * values["tiles"]

    def act(self, limit: float) -> None:
        order, _, now = self.take()
        tiles = order.values["tiles"]
        tile, last_tile, planes = self.slots(order.values)
        bank, free = self.bank, self.free
        key = (tile, last_tile, tiles, max(free[bank] - now, 0), max(free[1 - bank] - now, 0),
               max(self.sequencer_idle - now, 0))
        timing = self.memo.get(key)
        if timing is None:
            timing = self.memo[key] = self._schedule(*key)
        self.bank = (bank + tiles) & 1
        free[1 - self.bank] = now + timing.last + self.machine.rows + 1
        if tiles > 1:
            free[self.bank] = now + timing.before + self.machine.rows + 1
        self.sequencer_idle = now + timing.last + 1
        self.idle = now + timing.filled + 1
        self.last = now + timing.last
        self.counts["execute_wait_tables"] += timing.waited
        self.counts["execute_busy"] += planes
        for tokens in order.gives:
            tokens.give(self.last + self.retire + 1)
        self.look()

    def _schedule(self, tile: int, last_tile: int, tiles: int, free: int, free_other: int,
                  idle: int) -> Timing:
        """``tiles`` K-tiles of ``tile`` slots, the last of ``last_tile``; cycles until the banks
        and the sequencer are free."""
        fill, rows = self.fill, self.machine.rows
        frees = [free, free_other]
        filled, last, before, waited = 0, 0, 0, 0
        wait_from = max(1, idle) + 1
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
        return Timing(filled, last, before, waited)

    def state(self, now: int) -> tuple:
        return (*super().state(now), self.bank, max(self.free[0] - now, 0),
                max(self.free[1] - now, 0), max(self.sequencer_idle - now, 0))

    def shift(self, cycles: int) -> None:
        super().shift(cycles)
        self.free = [at + cycles for at in self.free]
        self.sequencer_idle += cycles
        self.last += cycles
