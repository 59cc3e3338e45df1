"""Orders the first step of a program as a wavefront. Execution starts with the first parts of
weights and activations, while the rest is still being loaded."""

from bitwright.hw.codegen.emitter import E_A, Emitter, Tokens, add
from bitwright.hw.codegen.schedule import Step, weight_load
from bitwright.hw.isa.program_tree import Node
from bitwright.hw.tiling.tile_plan import MOST_PARTS, Plan

__all__ = ["emit_opening", "opening_parts"]


def opening_parts(plan: Plan, tiles: int, act_places: int | None = None) -> tuple[int, ...]:
    """K-tiles of the parts in which the first chunk is loaded and executed: whole groups, unless a
    group takes several chunks. Psums and activations of as many token tiles as there are parts are
    held at a time; ``act_places`` is the most of activations, where others share the buffer."""
    machine, size = plan.machine, plan.chunks[0]
    unit = min(plan.group_tiles, size)
    most = MOST_PARTS
    if tiles > 1:
        held = plan.act_words(plan.k_tiles if plan.resident else size)
        places = most if plan.kept else machine.act_depth // held
        most = min(most, machine.psum_depth // plan.tiles[0], places, act_places or places)
    units = size // unit
    each = -(-units // max(1, min(units, most)))
    parts = units // each
    return (each * unit,) * (parts - 1) + (size - (parts - 1) * each * unit,)


def _jobs(starts: list[int], tiles: int) -> list[list[tuple[int, int, int]]]:
    """Per part, what can run once it has come, as (first K-tile, K-tiles, token tile): the part
    for the token tiles already there, then everything so far for the token tile that came with
    it. Token tiles beyond the parts come after the last."""
    parts = len(starts) - 1
    stages = []
    for part in range(parts):
        start, end = starts[part:part + 2]
        stage = [(start, end - start, tile) for tile in range(min(part, tiles))]
        newcomers = range(part, tiles if part == parts - 1 else min(part + 1, tiles))
        stages.append(stage + [(0, end, tile) for tile in newcomers])
    return stages


def emit_opening(emitter: Emitter, step: Step, act_places: int | None = None) -> list[Node]:
    """The instructions of the first step of all; ``act_places`` as of :func:`opening_parts`."""
    plan, tiles = emitter.plan, len(step.rows)
    parts = opening_parts(plan, tiles, act_places)
    starts = [sum(parts[:part]) for part in range(len(parts) + 1)]
    acts = (None if plan.kept else emitter.schedule.act_load(0, 0, tiles),
            *step.ahead)  # and of the step after, at last

    def weights(part: int) -> list[Node]:
        load = weight_load(plan, step.channels, parts[part], starts[part + 1])
        return emitter.load_weights(load, wait=part == 0)

    nodes = [*emitter.load_kept(tiles if plan.kept else 0), *emitter.load_acts(acts[0]),
             *weights(0)]
    for part, stage in enumerate(_jobs(starts, tiles)):
        is_last = part == len(parts) - 1
        if not is_last:
            nodes += weights(part + 1)
            nodes += emitter.load_acts(acts[part + 1]) if part + 1 < tiles else []
        elif step.next_weights:
            nodes += emitter.load_weights(step.next_weights)
        for index, (done, count, tile) in enumerate(stage):
            if is_last and tile + 1 >= len(parts):
                nodes += emitter.load_acts(acts[tile + 1])
            nodes.append(emitter.exec_instr(
                step, done, count, Tokens(
                    wait_w=tile == 0, wait_a=step.wait_a and done == 0,
                    free_w=step.free_w and is_last and index == len(stage) - 1,
                    free_a=step.free_a and is_last),
                tile=tile,
                psum=tile * step.channels if len(parts) > 1 or len(plan.chunks) > 1 else 0))
            if is_last:
                nodes += emitter.finish_tile(step, step.rows[tile], step.behind[tile])
    if len(parts) > tiles:
        nodes += emitter.load_acts(acts[tiles])
    return [*nodes, *add(E_A, tiles * step.act_step), *emitter.leave(step)]
