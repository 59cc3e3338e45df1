"""Searches the plans of a GEMM that fit a machine's buffers, best first."""

from collections.abc import Iterator
from dataclasses import replace

from bitwright.hw.isa.loop_rerolling import LONGEST_BODY
from bitwright.hw.machine.description import Machine
from bitwright.hw.tiling.cycle_bound import rough_cycles
from bitwright.hw.tiling.gemm_spec import GemmSpec, PlanError
from bitwright.hw.tiling.tile_plan import Plan

__all__ = ["all_plans", "candidates", "check_plan", "plans_alike", "weights_fit"]

MOST_CHANNELS = MOST_TOKEN_TILES = 255  # of a tile, of a block
SIZES = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # channels per column
SLACK = 200        # the part of all cycles that counts as nothing
MOST_EVEN = 16     # equal output tiles to try
FINER = 8          # times as many
MOST_LOADS = 200   # that weights which stay may come in: credits


def _chunk_limit(plan: Plan) -> int:
    """Most K-tiles per chunk with two chunks in the buffers; 0 if none fit. Activations count
    unless they are resident."""
    machine = plan.machine
    limit = machine.weight_depth // 2 // plan.weight_words(plan.channels, 1)
    groups = machine.scale_depth // 2 // plan.scale_words(plan.channels, 1)
    if not groups:
        return 0
    limit = min(limit, plan.k_tiles, groups * plan.group_tiles)
    if not plan.resident:
        limit = min(limit, machine.act_depth // 2 // plan.act_words(1))
    return _whole(plan, limit)


def _whole(plan: Plan, limit: int) -> int:
    """The largest chunk of at most ``limit`` K-tiles: whole groups, or whole parts of one."""
    if limit >= plan.group_tiles:
        return limit // plan.group_tiles * plan.group_tiles
    return next((d for d in range(limit, 0, -1) if plan.group_tiles % d == 0), 0)


def _channel_sizes(machine: Machine, width: int, n: int, tiles: int) -> list[int]:
    """Channels per column to try: round numbers, and those that cut N into up to so many equal
    tiles."""
    most = max(-(-n // width), machine.min_channels)
    limit = min(MOST_CHANNELS, machine.psum_depth)
    even = {-(-most // tiles) for tiles in range(1, tiles + 1)}
    return sorted(size for size in {most, *SIZES, *even}
                  if machine.min_channels <= size <= min(most, limit))


def _kept(plan: Plan) -> int:
    """Most chunks of activations that the buffer holds beside room for one other; 0 for plans that
    gain nothing."""
    if len(plan.tiles) == 1 or plan.block < 2 or min(plan.blocks) < 2:
        return 0
    step = plan.block * plan.act_words(plan.chunk)
    if not 3 <= len(plan.chunks) <= LONGEST_BODY:
        return 0
    return max(0, min(plan.machine.act_depth // step - 1, len(plan.chunks) - 2))


def weights_fit(plan: Plan) -> bool:
    """Say whether all weights and scales fit their buffers."""
    return (plan.loaded_weight_words <= plan.machine.weight_depth
            and plan.loaded_scale_words <= plan.machine.scale_depth
            and len(plan.tiles) * len(plan.chunks) <= MOST_LOADS)


def _block(plan: Plan) -> int:
    """Most token tiles of a block, by partial sums and activations."""
    machine = plan.machine
    held = machine.act_depth // plan.act_words(plan.k_tiles if plan.resident else plan.chunk)
    psums = plan.m_tiles if len(plan.chunks) == 1 else machine.psum_depth // plan.channels
    most = min(psums, plan.m_tiles, MOST_TOKEN_TILES)
    if plan.resident:
        return min(most, held)
    return most if held >= 2 else 0


def _streamed(plan: Plan, fine: bool) -> Iterator[Plan]:
    """Plans whose activations do not all stay: the largest chunks, and smaller ones that let more
    stay."""
    chunk = largest = plan.chunk
    while chunk:
        plan = replace(plan, chunk=chunk)
        if not (most := _block(plan)):
            return
        least = -(-plan.m_tiles // most)
        for blocks in range(least, min(least + (3 if fine else 1), plan.m_tiles) + 1):
            found = replace(plan, block=-(-plan.m_tiles // blocks))
            found = replace(found, kept=_kept(found))
            if found.kept or (blocks == least and chunk == largest):
                yield found
        chunk = _whole(plan, chunk // 2)


def all_plans(machine: Machine, spec: GemmSpec, fine: bool = False) -> Iterator[Plan]:
    """Every plan that is tried, in no order of merit; ``fine``: in smaller steps."""
    row_mode = spec.m == 1 and machine.rows > 1
    width = machine.cols * (machine.rows if row_mode else 1)
    for channels in _channel_sizes(machine, width, spec.n,
                                   MOST_EVEN * (FINER if fine else 1)):
        yield from _plans_of(Plan(machine=machine, spec=spec, row_mode=row_mode, chunk=1, block=1,
                                  channels=channels, resident=True), fine)


def _plans_of(base: Plan, fine: bool) -> Iterator[Plan]:
    """Yield the plans with the channels of ``base``."""
    if base.out_words(base.channels) > base.machine.out_depth:
        return
    for resident in (True, False):
        base = replace(base, resident=resident, chunk=1)
        if not (chunk := _chunk_limit(base)):
            continue
        base = replace(base, chunk=chunk)
        if not resident:
            plans = _streamed(base, fine)
        elif most := _block(base):
            blocks = -(-base.m_tiles // most)
            plans = iter([replace(base, block=-(-base.m_tiles // blocks))])
        else:
            continue
        for plan in plans:
            yield replace(plan, stay=True, kept=0) if (
                len(plan.blocks) > 1 and weights_fit(plan)) else plan


def plans_alike(plan: Plan, m: int) -> list[Plan]:
    """Plans for ``m`` tokens that read the weights as ``plan`` stores them, best first. Weights lie
    by output tile, so these have its channels per column; and its mode, as row mode deals rows out
    to channels: one token then takes one row of the array, and waits for memory all the same."""
    base = replace(plan, spec=replace(plan.spec, m=m), chunk=1, block=1, resident=True, kept=0,
                   stay=False)
    if plan.row_mode and m > 1:
        raise PlanError("weights stored for one token do not serve several: plan for several")
    return sorted(_plans_of(base, True), key=lambda one: (rough_cycles(one), one.dram_bytes))


def check_plan(plan: Plan) -> None:
    """Raise :class:`PlanError` for a plan that does not fit its machine's buffers."""
    machine, spec = plan.machine, plan.spec
    sizes = (plan.channels, plan.chunk, plan.block)
    good = (plan.row_mode == (spec.m == 1 and machine.rows > 1) and min(sizes) >= 1
            and machine.min_channels <= plan.channels <= min(MOST_CHANNELS, machine.psum_depth)
            and plan.out_words(plan.channels) <= machine.out_depth
            and plan.chunk <= _chunk_limit(plan) and plan.chunk == _whole(plan, plan.chunk)
            and plan.block <= _block(plan)
            and 0 <= plan.kept <= (0 if plan.resident or plan.stay else _kept(plan))
            and (not plan.stay or weights_fit(plan)))
    if not good:
        raise PlanError(f"the plan of {spec.m}x{spec.k}x{spec.n}, {plan.channels} channels, "
                        f"chunks of {plan.chunk}, blocks of {plan.block}, does not fit machine "
                        f"{machine.name}; map the model again")


def candidates(machine: Machine, spec: GemmSpec) -> list[Plan]:
    """Plans that fit the buffers, best first: of those within ``SLACK`` of the fewest estimated
    cycles the one with the least traffic, and so on.

    Raises :class:`PlanError` if there is none."""
    plans = list(dict.fromkeys(all_plans(machine, spec)))
    if not plans:
        raise PlanError(
            f"no tile of {spec.m}x{spec.k}x{spec.n} with {spec.slots} slices fits machine "
            f"{machine.name}: weight_depth={machine.weight_depth}, scale_depth="
            f"{machine.scale_depth}, out_depth={machine.out_depth}, psum_depth="
            f"{machine.psum_depth}; raise them with --set")
    if max(plan.out_bytes for plan in plans) >= 1 << 31:
        raise PlanError(f"output of {spec.m}x{spec.n} exceeds the 2 GiB address range; "
                        "map fewer tokens")
    cycles = {plan: rough_cycles(plan) for plan in plans}
    least = min(cycles.values())
    return sorted(plans, key=lambda plan: (
        max(0, cycles[plan] - least - least // SLACK), plan.dram_bytes, cycles[plan],
        plan.channels))
