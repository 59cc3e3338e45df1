"""Models the execute engine: table filler and sequencer, from instruction to last slot."""

from typing import NamedTuple

from bitwright.hw.isa.instruction_table import DIGITS
from bitwright.hw.machine.description import Machine
from bitwright.sim.cycle_model.engine import Engine
from bitwright.sim.cycle_model.recorder import WAITS

__all__ = ["Executor"]


class Timing(NamedTuple):
    """One ``exec``, relative to the cycle in which the filler took it."""
    ready: int                # last fill cycle of the first K-tile
    begin: int                # first slot
    filled: int               # last fill cycle
    last: int                 # last slot
    free: tuple[int, ...]     # when each bank is seen free, the next one to be filled first
    waited: int               # cycles waited for tables
    waited_later: int         # of these, for those of K-tiles after the first


class Executor(Engine):
    """Filler and sequencer of one machine.

    A bank is seen free ``rows + 1`` cycles after its last slot, or its first where elements take
    activations over. That holds the filler back, never the job queue between the two, where there
    is one. Tokens are given ``retire`` cycles after the last slot.
    """

    def __init__(self, machine: Machine, counts: dict[str, int]):
        super().__init__(machine, counts)
        self.machine = machine
        self.fill = machine.fill_entries * machine.table_steps
        self.retire = machine.retire_latency
        # Cycles from which the banks are seen free, the next one to be filled first.
        self.free: tuple[int, ...] = (0,) * machine.banks
        self.sequencer_idle = 0
        self.explained = 0                  # cycles before have their cause
        self.last = -1000                   # last slot of all
        self.memo: dict[tuple, Timing] = {}

    def slots(self, values: dict[str, int]) -> tuple[int, int, int]:
        """Slots of a K-tile, of the last K-tile, and slices sent in all."""
        machine = self.machine
        subs = machine.rows if values["row_mode"] else 1
        channels = subs * values["channels"]
        digits = [values[f"slots{d}"] for d in range(DIGITS) if values[f"slots{d}"]]
        passes = [1] * values["offset"] + digits
        taken = [max(slots, machine.scale_steps) for slots in passes]
        stretch = max(0, machine.drain_slots - taken[-1]) if values["final"] else 0
        tile = channels * sum(taken)
        return tile, tile + channels * stretch, channels * sum(passes) * values["tiles"]

    def act(self, limit: float) -> None:
        if self.explained < self.due:
            self.explain(int(self.due))
        order, _, now = self.take()
        values = order.values
        tiles = values["tiles"]
        tile, last_tile, planes = self.slots(values)
        key = (tile, last_tile, tiles, tuple(max(at - now, 0) for at in self.free),
               max(self.sequencer_idle - now, 0))
        timing = self.memo.get(key)
        if timing is None:
            timing = self.memo[key] = self._schedule(*key)
        self._explain_job(now, timing, tiles * tile, last_tile - tile, planes)
        self.free = tuple(now + at for at in timing.free)
        self.sequencer_idle = self.explained = now + timing.last + 1
        self.idle = now + timing.filled + 1
        if not self.machine.job_depth:
            self.idle = max(self.idle, self.sequencer_idle)
        self.last = now + timing.last
        self.counts["execute_wait_tables"] += timing.waited
        self.counts["execute_busy"] += planes
        if self.record is not None:
            self.record.event("tables", "fill", now + timing.ready + 1 - self.fill,
                              now + timing.filled + 1, {"k_tiles": tiles})
            self.record.event("execute", "compute", now + timing.begin, self.explained, {
                "slices": planes, "k_tiles": tiles, "channels": values["channels"],
                "final": values["final"]})
        for tokens in order.gives:
            tokens.give(self.last + self.retire + 1)
        self.look()

    def _schedule(self, tile: int, last_tile: int, tiles: int, free: tuple[int, ...],
                  idle: int) -> Timing:
        """``tiles`` K-tiles of ``tile`` slots, the last of ``last_tile``; cycles until the banks
        and the sequencer are free."""
        fill, rows, banks = self.fill, self.machine.rows, len(free)
        early = self.machine.decodes
        frees = list(free)
        filled, last, waited = 0, 0, 0
        ready = begun = waited_first = 0
        wait_from = max(1, idle) + 1 if self.machine.job_depth else 1
        step: tuple | None = None
        index = 0
        while index < tiles:
            # The filler looks at its bank in its last fill cycle, later in a waiting state.
            seen_free = frees[index % banks]
            if index and seen_free <= filled:
                start = filled + 1
            else:
                start = max(filled + 1, seen_free) + 1
            filled = start + fill - 1
            if index and filled + 1 <= last:
                begin = last + 1
            else:
                seen = max(wait_from, filled + 1)
                waited += seen - wait_from
                begin = seen + 1
            length = last_tile if index == tiles - 1 else tile
            if not index:
                ready, begun, waited_first = filled, begin, waited
            previous, last = last, begin + length - 1
            wait_from = last + 1
            frees[index % banks] = (begin if early else last) + rows + 1
            index += 1
            # A steady state: both stages moved by the same amount twice.
            now_step = (last - previous, filled - last, waited)
            if step and now_step[:2] == step[:2] and index < tiles - 2 and index > 3:
                count = tiles - 2 - index
                moved, more = now_step[0] * count, (waited - step[2]) * count
                filled, last = filled + moved, last + moved
                frees = [at + moved for at in frees]
                wait_from += moved
                waited += more
                index += count
                if banks == 2 and count & 1:
                    frees.reverse()
                step = None
                continue
            step = now_step
        following = tiles % banks
        return Timing(ready, begun, filled, last, (*frees[following:], *frees[:following]),
                      waited, waited - waited_first)

    # ---- causes -------------------------------------------------------------------------
    def _because(self, cause: str, until: int) -> None:
        """``cause`` for the cycles before ``until`` that have none."""
        start = self.explained
        if until > start:
            self.counts[cause] += until - start
            self.explained = until
            if self.record is not None:
                self.record.event("execute", cause, start, until, {})

    def explain(self, until: int) -> None:
        """Record why the array waits in each cycle before ``until``. The cause is the first thing
        that the next ``exec`` lacks. All earlier events must have happened."""
        if not self.queue:
            self._because("instructions", until)
            return
        at, order, _ = self.queue[0]
        self._because("instructions", min(at, until))
        for tokens, counter in order.takes:
            self._because(WAITS[counter], min(tokens.times[0], until) if tokens.times else until)

    def explain_blocked(self, cause: str, start: int, until: int) -> None:
        """The dispatcher is held up from ``start`` on, for ``cause``."""
        if not self.queue:
            self._because("instructions", start)
            self._because(cause, until)

    def finish(self, halted: int, until: int) -> None:
        """The dispatcher has nothing more from ``halted`` on."""
        self._because("instructions", halted)
        self._because("finish", until)

    def _explain_job(self, now: int, timing: Timing, slots: int, stretch: int, slices: int
                     ) -> None:
        """An ``exec`` taken in cycle ``now``, of ``slots`` slots that carry ``slices``, and
        ``stretch`` more in its last pass."""
        if self.explained <= now + timing.ready:
            self._because("tables", now + timing.ready + 1)
        self._because("handover", now + timing.begin)
        counts, later = self.counts, timing.waited_later
        counts["compute"] += slices
        if slots > slices:
            counts["scales"] += slots - slices
        if stretch:
            counts["drain"] += stretch
        if gaps := timing.last + 1 - timing.begin - slots - stretch:
            counts["tables"] += later
            counts["handover"] += gaps - later

    def state(self, now: int) -> tuple:
        return (*super().state(now), *(max(at - now, 0) for at in self.free),
                max(self.sequencer_idle - now, 0))

    def shift(self, cycles: int) -> None:
        super().shift(cycles)
        self.free = tuple(at + cycles for at in self.free)
        self.sequencer_idle += cycles
        self.explained += cycles
        self.last += cycles
