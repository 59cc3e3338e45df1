"""Loop rerolling: replaces repeated instruction sequences by loops."""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from bitwright.hw.isa.instruction_table import LOOP_DEPTH
from bitwright.hw.isa.program_tree import Loop, Node, nesting

__all__ = ["rolled"]

LONGEST_BODY = 128   # items in the body of a loop
MOST_REPEATS = 65535  # what a loop counts to

Item = TypeVar("Item", bound=Hashable)


def rolled(items: Sequence[Item], emit: Callable[[Item], Sequence[Node]]) -> list[Node]:
    """``emit`` of every item, in order; runs of equal items, or of equal sequences of items, as
    loops. Greedy: at each place the repetition that covers most, the shortest body of those. What
    would lie deeper than loops nest is written out."""
    numbers: dict[Item, int] = {}
    # Many items are one object, whose hash is taken once.
    objects = {id(item): item for item in items}
    of_object = {key: numbers.setdefault(item, len(numbers)) for key, item in objects.items()}
    keys = [of_object[id(item)] for item in items]
    return _rolled(keys, [tuple(emit(item)) for item in numbers])


def _rolled(keys: list[int], bodies: Sequence[tuple[Node, ...]]) -> list[Node]:
    nodes: list[Node] = []
    at = 0
    while at < len(keys):
        period, count = _repetition(keys, at)
        body = keys[at:at + period]
        inner = tuple(_rolled(body, bodies)) if period > 1 else bodies[body[0]]
        loops = count > 1 and nesting(inner) < LOOP_DEPTH
        nodes += [Loop(count, inner)] if loops else inner * count
        at += period * count
    return nodes


def _repetition(keys: list[int], at: int) -> tuple[int, int]:
    """Length and number of the equal sequences that start at ``at``."""
    period, count = 1, 1
    for size in range(1, min(LONGEST_BODY, (len(keys) - at) // 2) + 1):
        if keys[at + size] != keys[at]:
            continue
        body, repeats = keys[at:at + size], 1
        while keys[at + repeats * size:at + (repeats + 1) * size] == body:
            repeats += 1
        if repeats > 1 and repeats * size > period * count:
            period, count = size, repeats
    return period, min(count, MOST_REPEATS)
