"""Joins GEMMs that do not depend on one another into one program, a chain.

The steps of each product follow those of the one before, and the token queues let them overlap: a
product's weights and activations come while the one before computes, and its outputs leave while
the next computes. What a product's steps expect when they start holds in the middle of a program:

* Addresses of buffers go on from where they are, as buffers are rings; those in memory are moved to
  the next product's regions.
* Every load of weights frees its place, and so does every load of activations, in the order in
  which they came. All products share one number of places, so that any loads that are there at a
  time fit: no more than the product with the largest of them has places for.
* A decode table is loaded once; all products use the same.

Equal products whose regions are equally far apart become a loop.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from bitwright.hw.codegen.emitter import A_DRAM, A_SRAM, E_A, S_DRAM, ST_DRAM, W_DRAM, add
from bitwright.hw.codegen.gemm_program import (
    MOST_CREDITS,
    Regions,
    gemm_program,
    length_of,
    load_table,
    plan_steps,
)
from bitwright.hw.codegen.schedule import Schedule
from bitwright.hw.isa.instruction_table import Queue
from bitwright.hw.isa.loop_rerolling import rolled
from bitwright.hw.isa.program_tree import Instr, Loop, Node
from bitwright.hw.tiling.tile_plan import Plan, align

__all__ = ["ChainPlaces", "chain_places", "chain_plan", "chain_program", "place_chain",
           "split_chain"]


class ChainPlaces(NamedTuple):
    """Loads of weights, loads of activations, and output tiles that the buffers hold at a time."""
    weights: int
    acts: int
    outs: int


def chain_plan(plan: Plan) -> Plan:
    """``plan`` as it goes with others: with one block, weights that stay would serve no load of its
    own, and are freed."""
    return replace(plan, stay=False) if len(plan.blocks) == 1 else plan


def _most(plan: Plan) -> ChainPlaces:
    """Return the plan's places per token queue."""
    schedule = Schedule(plan)
    outs = plan.machine.out_depth // max(map(plan.out_words, plan.tiles))
    return ChainPlaces(*(min(count, MOST_CREDITS) for count in (
        schedule.weight_places(), schedule.act_places(), outs)))


def chain_places(plans: Sequence[Plan]) -> ChainPlaces | None:
    """The places that all ``plans`` share: two at least, what a step works on and what comes next,
    as every plan has; but for activations that stay for a block, which must all have a place. None
    if no number suits all plans. Those whose weights stay, or whose activations are kept without
    tokens, go with no other."""
    if any(plan.stay or plan.kept for plan in plans):
        return None
    found = ChainPlaces(*map(min, zip(*map(_most, plans), strict=True)))
    needed = max((plan.block for plan in plans if plan.resident), default=0)
    return found if found.acts >= needed else None


def place_chain(plans: Sequence[Plan], start: int) -> tuple[list[Regions], int, int]:
    """Regions from byte ``start`` on, each on a page of its own: weights, scales and activations
    product by product, then all outputs. Also where the outputs begin, and where they end."""
    inputs, at = [], align(start)
    for plan in plans:
        places = []
        for size in (plan.stored_bytes, plan.scale_bytes, plan.act_bytes):
            places.append(at)
            at = align(at + size)
        inputs.append(places)
    outputs, regions = at, []
    for plan, (weights, scales, acts) in zip(plans, inputs, strict=True):
        regions.append(Regions(weights=weights, scales=scales, acts=acts, outputs=at))
        at = align(at + plan.out_bytes)
    return regions, outputs, at


def _moves(nodes: Iterable[Node]) -> Counter[int]:
    """Return how far the nodes move each address register."""
    found: Counter[int] = Counter()
    for node in nodes:
        if isinstance(node, Loop):
            for reg, value in _moves(node.body).items():
                found[reg] += node.count * value
        elif node.op == "add":
            found[node["reg"]] += node["value"]
    return found


class _Turn(NamedTuple):
    """A product, and what is added to registers after it."""
    plan: Plan
    moves: tuple[tuple[int, int], ...]


def _turns(plans: Sequence[Plan], regions: Sequence[Regions], acts: int) -> list[_Turn]:
    turns: list[_Turn] = []
    word = 0    # of the activation buffer
    for plan, after, here, there in zip(plans, plans[1:], regions, regions[1:], strict=False):
        moved = _moves(plan_steps(plan, acts))
        word += moved[E_A]
        beats = (one.act_word_bytes // one.machine.beat_bytes for one in (after, plan))
        wanted = {W_DRAM: there.weights - here.weights, S_DRAM: there.scales - here.scales,
                  A_DRAM: there.acts - here.acts, ST_DRAM: there.outputs - here.outputs}
        moves = {reg: value - moved[reg] for reg, value in wanted.items()}
        turns.append(_Turn(plan, (*moves.items(),
                                  (A_SRAM, word * (next(beats) - next(beats))))))
    # Nothing comes after the last: if it is like the one before, so are its moves.
    ends = turns[-1].moves if turns and plans[-1] == plans[-2] else ()
    return [*turns, _Turn(plans[-1], ends)]


def chain_program(plans: Sequence[Plan], regions: Sequence[Regions]) -> tuple[Node, ...]:
    """The program of ``plans``, of one machine and one decode table, as a loop tree ending in
    ``halt``. ``ValueError`` for plans that do not go together; one alone always does."""
    if len(plans) == 1:
        return gemm_program(plans[0], regions[0])
    places = chain_places(plans)
    if places is None:
        raise ValueError("these plans do not go together in one program")

    def emit(turn: _Turn) -> list[Node]:
        steps = plan_steps(turn.plan, places.acts)
        return steps + [node for reg, value in turn.moves for node in add(reg, value)]

    steps = rolled(_turns(plans, regions, places.acts), emit)
    credits = [Instr.make("credit", queue=queue, count=count) for queue, count in zip(
        (Queue.W_FREE, Queue.A_FREE, Queue.OUT_FREE), places, strict=True)]
    first = regions[0]
    return (*credits, *add(W_DRAM, first.weights), *load_table(plans[0]),
            *add(S_DRAM, first.scales), *add(A_DRAM, first.acts), *add(ST_DRAM, first.outputs),
            *steps, Instr.make("halt"))


def split_chain(plans: Sequence[Plan], tables: Sequence[object]) -> list[int]:
    """Return how many of ``plans`` each program takes, in their order. A program takes as many as
    go together and fit the program buffer. ``tables`` tell decode tables apart, where the machine
    has any."""
    found, start = [], 0
    while start < len(plans):
        end = len(plans)
        while end > start + 1 and not _fits(plans[start:end], tables[start:end]):
            end -= 1
        found.append(end - start)
        start = end
    return found


def _fits(plans: Sequence[Plan], tables: Sequence[object]) -> bool:
    machine = plans[0].machine
    if (machine.decodes and len({*tables}) > 1) or chain_places(plans) is None:
        return False
    return length_of(chain_program(plans, place_chain(plans, 0)[0])) <= machine.program_depth
