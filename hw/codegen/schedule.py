"""Lists the steps of a program: each multiplies one chunk of weights with one block of token tiles.
"""

from itertools import accumulate
from typing import NamedTuple

from bitwright.hw.tiling.tile_plan import Plan

__all__ = ["ActLoad", "Schedule", "Step", "WeightLoad", "weight_load"]


class WeightLoad(NamedTuple):
    """Weights and scales of one chunk. ``back`` and ``scale_back`` are bytes to rewind first,
    ``scale_step`` bytes to the scales of the load after."""
    channels: int
    k_tiles: int
    groups: int
    scale_step: int
    back: int = 0
    scale_back: int = 0


class ActLoad(NamedTuple):
    """Activations of one token tile; ``step`` is bytes to those of the load after, ``back`` words
    that its place in the buffer steps back."""
    k_tiles: int
    step: int
    back: int = 0


class Step(NamedTuple):
    """One chunk of weights over one block. ``ahead`` and ``behind`` are loaded before and after
    the ``exec`` of each token tile; before that of token tile ``lead``, or after all, come the
    activations to be kept of ``next_kept`` token tiles, and ``next_weights``."""
    channels: int
    k_tiles: int
    first: bool
    final: bool
    rows: tuple[int, ...]    # tokens of each token tile
    wait_w: bool
    free_w: bool
    wait_a: bool
    free_a: bool
    weight_back: int         # words of weights, scales, activations to step back after the step
    scale_back: int
    act_back: int
    act_step: int            # words of activations from a token tile to the next
    lead: int
    next_kept: int
    ahead: tuple[ActLoad | None, ...]
    behind: tuple[ActLoad | None, ...]
    next_weights: WeightLoad | None
    out_step: int            # bytes the store address moves after the step


def weight_load(plan: Plan, channels: int, k_tiles: int, done: int) -> WeightLoad:
    """The load of ``k_tiles`` that end ``done`` K-tiles into an output tile. Parts of one group
    load its scales again."""
    groups = plan.chunk_groups(k_tiles)
    moved = groups if done % plan.group_tiles == 0 else 0
    step = plan.scale_words(channels, moved) * plan.machine.scale_word_bits // 8
    return WeightLoad(channels, k_tiles, groups, step)


class Schedule:
    """The steps of every block of a plan.

    Activations that are kept without being all (``plan.kept``) lie at the start of their buffer;
    behind them is room for one other chunk of the block. They need no tokens, since loads come in
    order. Those of the next block are loaded in a block's last step, after the other activations
    of that step, whose tokens say that the step before it has ended, which reads none of the kept
    either; and before the weights of the next block's first step, whose token says that they are
    there. A smaller last chunk, or block, divides the room of the other chunk anew: the first
    chunk of an output tile to come there must wait for the last of the tile before. It comes after
    the weights of its step, whose token says that the step ``w`` before it has ended, ``w`` being
    the chunks of weights held; so ``w`` is at most one more than the chunks kept."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.tile_words = plan.act_words(plan.k_tiles)
        self.tile_bytes = self.tile_words * plan.act_word_bytes
        self.weights: list[WeightLoad] = []   # per step of a block
        self.starts: list[int] = []           # K-tiles of the output tile before the step
        self.loads: list[bool] = []           # activations come for this step alone
        ends = list(accumulate(plan.chunks))
        like = {channels: [weight_load(plan, channels, k_tiles, done)
                           for k_tiles, done in zip(plan.chunks, ends, strict=True)]
                for channels in dict.fromkeys(plan.tiles)}     # output tiles are of few sizes
        for channels in plan.tiles:
            self.weights += like[channels]
        starts = [0, *ends[:-1]]
        self.starts += starts * len(plan.tiles)
        self.loads += [chunk >= plan.kept for chunk in range(len(ends))] * len(plan.tiles)
        self.act_starts = [plan.act_words(start) for start in starts] * len(plan.tiles)

    def weight_places(self) -> int:
        """Chunks of weights that the buffers hold at a time."""
        plan, machine, loads = self.plan, self.plan.machine, dict.fromkeys(self.weights)
        words = max(plan.weight_words(load.channels, load.k_tiles) for load in loads)
        scales = max(plan.scale_words(load.channels, load.groups) for load in loads)
        places = min(machine.weight_depth // words, machine.scale_depth // scales)
        if plan.stay:
            return len(self.weights)
        if plan.kept:
            return min(places, plan.kept + 1)
        return places

    def act_places(self) -> int:
        """Token tiles, or chunks of them, that wait for their ``exec`` at a time."""
        plan = self.plan
        if plan.kept:
            return min(plan.blocks)
        words = plan.act_words(plan.k_tiles if plan.resident else plan.chunk)
        return plan.machine.act_depth // words

    def act_place(self, index: int, tiles: int) -> int:
        """Word of the buffer at which the activations of a step's first token tile lie, in a block
        of ``tiles`` of which some are kept."""
        if self.loads[index]:
            return tiles * self.plan.act_words(self.plan.kept_tiles)
        return self.act_starts[index]

    def act_step(self, index: int) -> int:
        """Words of the buffer from a token tile to the next."""
        if self.plan.resident:
            return self.tile_words
        if self.loads[index]:
            return self.plan.act_words(self.weights[index].k_tiles)
        return self.plan.act_words(self.plan.kept_tiles)

    def act_load(self, index: int, tile: int, tiles: int, behind: int = 0) -> ActLoad:
        """The load of token tile ``tile`` of ``tiles`` for step ``index`` of a block, before one
        of ``behind``."""
        plan = self.plan
        if plan.resident:
            return ActLoad(plan.k_tiles, self.tile_bytes)
        k_tiles, step, back = self.weights[index].k_tiles, self.tile_bytes, 0
        if tile == tiles - 1:
            ends = index + 1 == len(self.weights)
            after = plan.kept if ends else index + 1 if self.loads[index + 1] else (
                index + 1 + plan.kept)
            words = self.act_starts[after] - self.act_starts[index]
            step = words * plan.act_word_bytes + (tiles * ends - tile) * self.tile_bytes
            if plan.kept:
                room = plan.act_words(plan.kept_tiles) * (tiles - (behind or tiles) if ends else 0)
                back = room + tiles * plan.act_words(k_tiles)
        return ActLoad(k_tiles, step, back)

    def block(self, tiles: int, behind: int, is_first: bool) -> list[Step]:
        """Steps of a block of ``tiles`` token tiles; the block after it has ``behind`` (0: the
        block is the last). ``is_first``: weights and, if resident, activations are yet to come."""
        plan, machine, count = self.plan, self.plan.machine, len(self.weights)
        rows = [machine.rows] * tiles
        if not behind and not plan.row_mode and plan.spec.m % machine.rows:
            rows[-1] = plan.spec.m % machine.rows
        stored = 0 if plan.row_mode else sum(rows) * plan.n_padded * 4
        nothing = (None,) * tiles
        later = (self.act_load(0, 0, 1),) * behind + nothing[behind:]
        steps: list[Step] = []
        known: dict[tuple, Step] = {}  # steps of like output tiles
        for index, (start, load) in enumerate(zip(self.starts, self.weights, strict=True)):
            opens, ends = index == 0, index == count - 1
            final = start + load.k_tiles == plan.k_tiles
            following = self.weights[index + 1] if not ends else None
            # A load is known by its start and channels. The step ahead of the last is another one.
            key = (start, load.channels, following and following.channels, opens,
                   index + 2 == count)
            if key in known:
                steps.append(known[key])
                continue
            steps.append(Step(
                channels=load.channels, k_tiles=load.k_tiles, first=start == 0, final=final,
                rows=tuple(rows), wait_w=is_first or not plan.stay, free_w=not plan.stay,
                wait_a=opens if plan.resident else self.loads[index],
                free_a=ends if plan.resident else self.loads[index],
                weight_back=plan.loaded_weight_words if plan.stay and ends else 0,
                scale_back=plan.loaded_scale_words if plan.stay and ends else 0,
                act_back=self._act_back(index, tiles), act_step=self.act_step(index),
                lead=self._lead(index, tiles), next_kept=behind if plan.kept and ends else 0,
                ahead=self._ahead(index, tiles, behind, opens and is_first),
                behind=later if ends and plan.resident else nothing,
                next_weights=self._next_weights(index, bool(behind), is_first),
                out_step=self._out_step(load.channels, ends, stored) if final else 0))
            known[key] = steps[-1]
        return steps

    def _next_weights(self, index: int, behind: bool, is_first: bool) -> WeightLoad | None:
        """Return the weights that the step after loads. Behind the last step of a block they are
        the first again."""
        if self.plan.stay and not is_first:
            return None
        if index + 1 < len(self.weights):
            return self.weights[index + 1]
        if not behind or self.plan.stay:
            return None
        return self.weights[0]._replace(back=self.plan.weight_bytes,
                                        scale_back=self.plan.scale_bytes)

    def _lead(self, index: int, tiles: int) -> int:
        """Token tiles whose activations come before the next weights: as many as ``exec`` may
        have waiting, so that it has work while those weights come."""
        if self.plan.resident or not self.loads[index]:
            return 0
        if self.plan.kept and index + 1 == len(self.weights):
            return tiles
        return max(0, min(self.plan.machine.queue_depth, self.act_places(), tiles) - 1)

    def _ahead(self, index: int, tiles: int, behind: int, opening: bool
               ) -> tuple[ActLoad | None, ...]:
        """Return the loads that come before each ``exec`` of a step. Each token tile is loaded
        before the ``exec`` of the tile before. Resident activations are loaded so in the first step
        of all; later blocks come behind."""
        nothing: tuple[ActLoad | None, ...] = (None,) * tiles
        if self.plan.resident and not opening:
            return nothing
        same = nothing[1:]
        if self.loads[index]:
            same = tuple(self.act_load(index, tile, tiles, behind)
                         for tile in range(max(1, tiles - 2), tiles))
            same = same[:1] * (tiles - 1 - len(same)) + same
        following, size = (index + 1, tiles) if index + 1 < len(self.weights) else (0, behind)
        if self.plan.resident or not size or not self.loads[following]:
            return (*same, None)
        return (*same, self.act_load(following, 0, size))

    def _act_back(self, index: int, tiles: int) -> int:
        """Resident activations serve every step of their block, kept ones that of every output
        tile."""
        following = index + 1 if index + 1 < len(self.weights) else 0
        if self.plan.resident:
            here = self.act_starts[index] + tiles * self.tile_words
            return here - self.act_starts[following] if following else self.act_starts[index]
        if not self.plan.kept:
            return 0
        here = self.act_place(index, tiles) + tiles * self.act_step(index)
        return here - self.act_place(following, tiles)

    def _out_step(self, channels: int, ends: bool, stored: int) -> int:
        """To the next output tile: beside this one, or in the rows below when the block ends."""
        width = channels * self.plan.tile_width * 4
        if ends and not self.plan.row_mode:
            return width - self.plan.n_padded * 4
        return width - stored
