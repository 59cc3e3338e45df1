"""Estimates a plan's cycles by a rule of thumb that ranks plans. The cycle model gives the true
figure."""

from collections import Counter

from bitwright.hw.tiling.tile_plan import MOST_PARTS, Plan

__all__ = ["rough_cycles"]


def _tile_cycles(plan: Plan, channels: int) -> int:
    """Cycles of a K-tile: its slices, or the filling of its tables."""
    turn = plan.fill_cycles + plan.machine.rows + 6
    slots = plan.stream_slots(channels)
    hidden = plan.machine.element.fill_hidden(plan.machine)
    return max(slots, turn) if hidden else slots + turn


def _compute(plan: Plan) -> int:
    """Cycles of all ``exec``, one after the other."""
    machine = plan.machine
    stretch = max(0, machine.drain_slots - max(plan.spec.digits[-1].slots, machine.scale_steps))
    return plan.m_tiles * sum(
        count * (plan.k_tiles * _tile_cycles(plan, channels) + 5 * len(plan.chunks)
                 + channels * plan.subs * stretch)
        for channels, count in Counter(plan.tiles).items())


def _stores(plan: Plan) -> int:
    """Cycles by which the storing of output tiles outlasts the step that makes them."""
    rows = 1 if plan.row_mode else plan.machine.rows
    return plan.m_tiles * sum(count * max(
        0, channels * plan.tile_width * rows * 4 // plan.machine.beat_bytes
        - plan.chunks[-1] * _tile_cycles(plan, channels))
        for channels, count in Counter(plan.tiles).items())


def _edges(plan: Plan) -> int:
    """Cycles in which nothing is computed for want of data, where blocks begin."""
    beat, block = plan.machine.beat_bytes, plan.blocks[0]
    word = plan.act_word_bytes

    def step(channels: int, chunk: int) -> int:
        return block * chunk * _tile_cycles(plan, channels)

    weights = plan.weight_words(plan.tiles[0], plan.chunks[0]) * (
        plan.machine.weight_word_bits // 8) // beat
    parts = min(MOST_PARTS, max(1, plan.chunks[0] // plan.group_tiles))
    if plan.kept:
        kept = plan.m_tiles * plan.act_words(plan.kept_tiles) * word // beat
        return kept + weights // parts
    acts = plan.act_words(plan.k_tiles if plan.resident else plan.chunks[0]) * word // beat
    opening = weights // parts + acts + max(
        0, weights + block * acts - step(plan.tiles[0], plan.chunks[0]))
    if not plan.resident:
        return opening
    later = max(0, block * acts - step(plan.tiles[-1], plan.chunks[-1]))
    return opening + later * (len(plan.blocks) - 1)


def rough_cycles(plan: Plan) -> int:
    """The larger of computing and moving, with what neither hides."""
    machine = plan.machine
    last = plan.tiles[-1] * plan.tile_width * 4 * (1 if plan.row_mode else machine.rows)
    tail = plan.chunks[-1] * plan.stream_slots(plan.tiles[-1])
    return max(_compute(plan) + _stores(plan) + _edges(plan) + last // machine.beat_bytes,
               (plan.dram_bytes + last) // machine.beat_bytes + tail)
