"""The integer programs against searches that try everything, and the plans they choose."""

import heapq
import random
from dataclasses import replace
from itertools import chain, combinations, count

import pytest

from bitwright.compiler.scheduling.cosma import Grid, Model, SolverError, schedule
from bitwright.compiler.scheduling.ilp_tiling import choose_plan, grid_of, plan_fields, read_plan
from bitwright.hw.codegen.gemm_program import plan_gemm, program_length
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.hw.tiling.cycle_bound import rough_cycles
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.hw.tiling.plan_search import all_plans, check_plan
from bitwright.models.datatypes.catalog import DATATYPES

SCARCE = Machine(name="scarce", rows=4, cols=4, k_tile=32, builders=2, memory_bits=64,
                 weight_depth=256, act_depth=128, scale_depth=256, psum_depth=32, out_depth=32)


def grid(blocks, tiles, chunks, *, acts, weights, outputs, act_words=None, weight_bytes=3):
    return Grid(blocks=blocks, tiles=tiles, chunks=chunks,
                act_words=tuple(act_words or (1,) * chunks), weight_words=(1,) * chunks,
                act_bytes=tuple(5 * size for size in act_words or (1,) * chunks),
                weight_bytes=(weight_bytes,) * chunks, act_depth=acts, weight_depth=weights,
                open_outputs=outputs)


def subsets(items):
    return map(frozenset, chain.from_iterable(combinations(items, size)
                                              for size in range(len(items) + 1)))


def search(grid, order=None):
    """Fewest (bytes, loads) by Dijkstra's algorithm over what is done and what is held."""
    ops = grid.operations
    acts = sorted({(b, k) for b, _, k in ops})
    weights = sorted({(n, k) for _, n, k in ops})

    def size(held, words):
        return sum(words[k] for _, k in held)

    def cost(new, bytes_):
        return sum(bytes_[k] for _, k in new)

    act_sets = [held for held in subsets(acts) if size(held, grid.act_words) <= grid.act_depth]
    weight_sets = [held for held in subsets(weights)
                   if size(held, grid.weight_words) <= grid.weight_depth]
    ticket = count()
    nothing = frozenset()
    queue = [(0, 0, next(ticket), nothing, nothing, nothing)]
    best = {}
    while queue:
        moved, loads, _, done, held_a, held_w = heapq.heappop(queue)
        if len(done) == len(ops):
            return moved, loads
        if (done, held_a, held_w) in best:
            continue
        best[done, held_a, held_w] = moved
        begun = {(b, n) for b, n, _ in done if sum(o[:2] == (b, n) for o in done) < grid.chunks}
        for op in ops if order is None else [order[len(done)]]:
            if op in done or len(begun | {op[:2]}) > grid.open_outputs:
                continue
            for a in act_sets:
                if (op[0], op[2]) not in a or size(a | held_a, grid.act_words) > grid.act_depth:
                    continue
                for w in weight_sets:
                    if (op[1], op[2]) not in w or (
                            size(w | held_w, grid.weight_words) > grid.weight_depth):
                        continue
                    heapq.heappush(queue, (
                        moved + cost(a - held_a, grid.act_bytes)
                        + cost(w - held_w, grid.weight_bytes),
                        loads + len(a - held_a) + len(w - held_w), next(ticket), done | {op}, a,
                        w))
    raise AssertionError("nothing fits")


# ---- known by hand --------------------------------------------------------------------------
# One block, two output tiles, three chunks; two places for weights, which are each loaded once: 18
# bytes. With two places for activations, in the generator's order, each is gone when it is needed
# again, as the next one's place must be free while one is in use: 30 more. Turning round for the
# second tile finds the last two still there: 20. With room for all three, 15.
@pytest.mark.parametrize("acts, turned, expected", [(2, False, 48), (2, True, 38), (3, False, 33),
                                                    (3, True, 33)])
def test_known_by_hand(acts, turned, expected):
    small = grid(1, 2, 3, acts=acts, weights=2, outputs=1)
    order = [(0, 0, 0), (0, 0, 1), (0, 0, 2), *((0, 1, k) for k in ((2, 1, 0) if turned else
                                                                   (0, 1, 2)))]
    assert search(small, order)[0] == expected
    found = schedule(small, order)
    assert (found.bytes, found.gap) == (expected, 0)


def test_the_best_order():
    found = schedule(grid(1, 2, 3, acts=2, weights=2, outputs=1))
    assert found.bytes == 38 and found.loads == 10
    assert [op[:2] for op in found.order[:3]] in ([(0, 0)] * 3, [(0, 1)] * 3)


@pytest.mark.parametrize("seed", range(6))
def test_every_order_and_replacement(seed):
    rng = random.Random(seed)
    blocks, tiles, chunks = rng.choice([(1, 2, 2), (2, 2, 1), (2, 1, 2), (1, 3, 1), (1, 1, 4)])
    sizes = [rng.randint(1, 2) for _ in range(chunks)]
    small = grid(blocks, tiles, chunks, acts=rng.randint(4, 5), weights=rng.randint(2, 3),
                 outputs=rng.randint(1, 2), act_words=sizes, weight_bytes=rng.randint(1, 9))
    found = schedule(small)
    assert (found.bytes, found.loads) == search(small), f"seed {seed}, {small}"
    order = small.operations
    fixed = schedule(small, order)
    assert (fixed.bytes, fixed.loads) == search(small, order), f"seed {seed}, {small}"
    assert found.bytes <= fixed.bytes
    for op, held in zip(found.order, found.held, strict=True):
        assert (op[0], op[2]) in held
        assert sum(sizes[chunk] for _, chunk in held) <= small.act_depth


def test_outputs_are_not_spilled():
    small = grid(1, 2, 2, acts=2, weights=2, outputs=1)
    crossed = [(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)]
    with pytest.raises(SolverError, match="more than 1 outputs open"):
        schedule(small, crossed)
    assert schedule(replace(small, open_outputs=2), crossed).bytes == 2 * 5 + 4 * 3


def test_no_solution():
    with pytest.raises(SolverError, match="no solution"):
        schedule(grid(1, 1, 2, acts=1, weights=2, outputs=1))


def test_a_model_with_numbers_and_equalities():
    model = Model()
    many, one = model.variable(-3, upper=7), model.variable(-2)
    model.row([(many, 2), (one, 3), (many, 1)], 0, 20)   # 3 many + 3 one <= 20
    assert model.solve(10) == ([6, 0], 0)


# ---- plans ----------------------------------------------------------------------------------
def spec_of(machine, m, k, n, group=32):
    return shape_spec(machine, m, k, n, DATATYPES["int4"], group, False)


@pytest.mark.parametrize("seed", range(12))
def test_the_fewest_bytes_of_all_plans(seed):
    rng = random.Random(seed)
    machine = SCARCE.replace(act_depth=rng.choice([64, 128, 256]),
                             psum_depth=rng.choice([16, 32, 64]))
    spec = spec_of(machine, rng.randint(1, 90), rng.randint(1, 700), rng.randint(1, 300))
    fast, (plan, gap) = plan_gemm(machine, spec), choose_plan(machine, spec)
    every = [replace(one, kept=kept) for one in all_plans(machine, spec, True)
             for kept in range(one.kept + 1)]
    least = min(one.dram_bytes for one in every if one.dram_bytes > fast.dram_bytes
                or program_length(one) <= machine.program_depth)
    assert plan.dram_bytes == min(least, fast.dram_bytes), f"seed {seed}, {spec}"
    assert plan.compulsory_bytes <= plan.dram_bytes <= fast.dram_bytes and gap == 0
    assert program_length(plan) <= machine.program_depth
    check_plan(plan)
    assert read_plan(machine, spec, plan_fields(plan)) == plan


def test_the_fewest_estimated_cycles_of_those():
    machine = PRESETS["ulx3s-85f"].replace(memory_bits=128)
    spec = spec_of(machine, 128, 1024, 1024, 64)
    plan = choose_plan(machine, spec).plan
    same = [rough_cycles(one) for one in all_plans(plan.machine, spec, True)
            if one.dram_bytes == plan.dram_bytes]
    assert rough_cycles(plan) == min(same) < max(same)


def test_fewer_bytes_than_the_fast_choice_where_that_wants_few_cycles():
    machine = PRESETS["ulx3s-85f"].replace(memory_bits=128)
    spec = spec_of(machine, 128, 1536, 384, 64)
    assert choose_plan(machine, spec).plan.dram_bytes < plan_gemm(machine, spec).dram_bytes


@pytest.mark.parametrize("changes, message", [
    ({"channels": 0}, "does not fit"), ({"channels": 64}, "64 channels.*does not fit"),
    ({"chunk": 50}, "chunks of 50"), ({"block": 99}, "blocks of 99"), ({"kept": 9}, "not fit"),
    ({"kept": -1}, "not fit"), ({"stay": True}, "not fit"), ({"resident": 1}, "must be bool"),
    ({"block": True}, "block of a plan must be int, not True"), ({"chunk": None}, "not None")])
def test_plans_that_do_not_fit(changes, message):
    spec = spec_of(SCARCE, 40, 700, 100)
    plan = next(plan for plan in all_plans(SCARCE, spec) if plan.kept)
    with pytest.raises(PlanError, match=message):
        read_plan(SCARCE, spec, plan_fields(plan) | changes)


def test_free_replacement_moves_no_more_than_the_program():
    for m, k, n in ((16, 700, 128), (32, 320, 64)):
        plan = choose_plan(SCARCE, spec_of(SCARCE, m, k, n)).plan
        free = schedule(grid_of(plan), grid_of(plan).operations).bytes
        operands = plan.dram_bytes - plan.out_bytes - plan.table_bytes
        assert plan.compulsory_bytes - plan.out_bytes <= free <= operands
