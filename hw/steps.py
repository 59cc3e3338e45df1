"""What a program does, step by step: one chunk of weights over one block of token tiles."""

from typing import NamedTuple

from hw.plan import Plan

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
    """Activations of one token tile; ``step`` is bytes to those of the load after."""
    k_tiles: int
    step: int


class Step(NamedTuple):
    """One chunk of weights over one block. ``ahead`` and ``behind`` are loaded before and after
    the ``exec`` of each token tile, ``next_weights`` before all of them."""
    channels: int
    k_tiles: int
    first: bool
    final: bool
    rows: tuple[int, ...]    # tokens of each token tile
    wait_a: bool
    free_a: bool
    act_back: int            # words the activations step back after the step
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
    """The steps of every block of a plan."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.tile_words = plan.act_words(plan.k_tiles)
        self.tile_bytes = self.tile_words * plan.act_word_bytes
        self.weights: list[WeightLoad] = []   # per step of a block
        self.starts: list[int] = []           # K-tiles of the output tile before the step
        for channels in plan.tiles:
            done = 0
            for k_tiles in plan.chunks:
                self.starts.append(done)
                done += k_tiles
                self.weights.append(weight_load(plan, channels, k_tiles, done))
        self.act_starts = [plan.act_words(start) for start in self.starts]

    def act_load(self, index: int, tile: int, tiles: int) -> ActLoad:
        """The load of token tile ``tile`` of ``tiles`` for step ``index`` of a block."""
        if self.plan.resident:
            return ActLoad(self.plan.k_tiles, self.tile_bytes)
        step = self.tile_bytes
        if tile == tiles - 1:
            word = self.plan.act_word_bytes
            following = (self.act_starts[index + 1] * word if index + 1 < len(self.weights)
                         else tiles * self.tile_bytes)
            step = following - self.act_starts[index] * word - tile * self.tile_bytes
        return ActLoad(self.weights[index].k_tiles, step)

    def block(self, tiles: int, behind: int, is_first: bool) -> list[Step]:
        """Steps of a block of ``tiles`` token tiles; the block after it has ``behind`` (0: the
        block is the last)."""
        plan, machine, count = self.plan, self.plan.machine, len(self.weights)
        rows = [machine.rows] * tiles
        if not behind and not plan.row_mode and plan.spec.m % machine.rows:
            rows[-1] = plan.spec.m % machine.rows
        stored = 0 if plan.row_mode else sum(rows) * plan.n_padded * 4
        nothing = (None,) * tiles
        later = (self.act_load(0, 0, 1),) * behind + nothing[behind:]
        steps = []
        for index, (start, load) in enumerate(zip(self.starts, self.weights, strict=True)):
            opens, ends = index == 0, index == count - 1
            final = start + load.k_tiles == plan.k_tiles
            if ends:
                following = self.weights[0]._replace(
                    back=plan.weight_bytes, scale_back=plan.scale_bytes) if behind else None
            else:
                following = self.weights[index + 1]
            steps.append(Step(
                channels=load.channels, k_tiles=load.k_tiles, first=start == 0, final=final,
                rows=tuple(rows), wait_a=opens or not plan.resident,
                free_a=ends or not plan.resident, act_back=self._act_back(index, tiles),
                ahead=self._ahead(index, tiles, behind, opens and is_first),
                behind=later if ends and plan.resident else nothing, next_weights=following,
                out_step=self._out_step(load.channels, ends, stored) if final else 0))
        return steps

    def _ahead(self, index: int, tiles: int, behind: int, opening: bool
               ) -> tuple[ActLoad | None, ...]:
        """Each token tile is loaded before the ``exec`` of the one before it. Resident
        activations are loaded so in the first step of all; later blocks come behind."""
        if self.plan.resident and not opening:
            return (None,) * tiles
        same = tuple(self.act_load(index, tile, tiles) for tile in range(max(1, tiles - 2), tiles))
        same = same[:1] * (tiles - 1 - len(same)) + same
        if self.plan.resident:
            return (*same, None)
        if index + 1 < len(self.weights):
            return (*same, self.act_load(index + 1, 0, tiles))
        return (*same, self.act_load(0, 0, behind) if behind else None)

    def _act_back(self, index: int, tiles: int) -> int:
        """Resident activations serve every step of their block."""
        if not self.plan.resident:
            return 0
        here = self.act_starts[index] + tiles * self.tile_words
        if index + 1 < len(self.weights):
            return here - self.act_starts[index + 1]
        return self.act_starts[index]

    def _out_step(self, channels: int, ends: bool, stored: int) -> int:
        """To the next output tile: beside this one, or in the rows below when the block ends."""
        width = channels * self.plan.tile_width * 4
        if ends and not self.plan.row_mode:
            return width - self.plan.n_padded * 4
        return width - stored
