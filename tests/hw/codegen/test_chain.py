"""Chains: what every product of one gets, and where one ends."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.hw.codegen.gemm_chain import (
    chain_places,
    chain_plan,
    chain_program,
    place_chain,
    split_chain,
)
from bitwright.hw.codegen.gemm_program import gemm_program, plan_gemm
from bitwright.hw.codegen.wavefront import opening_parts
from bitwright.hw.isa.instruction_table import LOOP_DEPTH
from bitwright.hw.isa.program_tree import Loop, flatten, nesting
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.hw.tiling.gemm_spec import GemmSpec, PlanError
from bitwright.hw.tiling.plan_search import all_plans
from bitwright.hw.tiling.tile_plan import PAGE, Plan
from bitwright.models.datatypes.catalog import DATATYPES
from tests.hw.isa.replay import LOADS_FIRST, STORES_FIRST, Replay
from tests.hw.tiling.test_plan import SCARCE, specs

TINY = PRESETS["tiny"]
MACHINES = [*(preset.replace(program_depth=4096) for preset in PRESETS.values()),
            SCARCE.replace(program_depth=4096),
            Machine(name="tl2", rows=2, cols=4, k_tile=24, builders=4, table="tl2"),
            Machine(name="mac", pe="mac", k_tile=8, builders=1, cols=4, memory_bits=16)]


def spec_of(machine, m=5, k=40, n=20, name="int4", group_size=16):
    return shape_spec(machine, m, k, n, DATATYPES[name], group_size, False)


def plan_of(machine, **shape):
    return plan_gemm(machine, spec_of(machine, **shape))


def check_chain(plans):
    """Every output is made of the same operands as by the product's own program, with engines as
    far ahead of one another as tokens let them."""
    machine = plans[0].machine
    regions, _, _ = place_chain(plans, 0)
    alone = [entry for plan, where in zip(plans, regions, strict=True)
             for entry in Replay(machine, gemm_program(plan, where), LOADS_FIRST).stored]
    program = chain_program(plans, regions)
    for order in (LOADS_FIRST, STORES_FIRST, ("exec", "load", "store")):
        assert Replay(machine, program, order).stored == alone
    assert nesting(program) <= LOOP_DEPTH
    return program


def length(nodes):
    return sum(1 for _ in flatten(nodes))


@st.composite
def chains(draw):
    """Any plans that fit, not only the best; some of them alike."""
    machine = draw(st.sampled_from(MACHINES))
    plans = []
    for _ in range(draw(st.integers(2, 4))):
        if plans and draw(st.booleans()):
            plans.append(plans[-1])
            continue
        if machine.decodes or machine.tl2:
            name = "ternary" if machine.tl2 else "int8"
            spec = spec_of(machine, draw(st.sampled_from([1, 5, 17])), draw(st.integers(1, 150)),
                           draw(st.integers(1, 90)), name, draw(st.sampled_from([16, 48, 150])))
        else:
            spec = draw(specs(most=150))
        found = list(dict.fromkeys(all_plans(machine, spec)))
        if found:
            plans.append(draw(st.sampled_from(found)))
    return plans


@settings(max_examples=120, deadline=None)
@given(plans=chains())
def test_every_product_gets_its_own_operands(plans):
    if len(plans) < 2:
        return
    if chain_places(plans) is None:
        with pytest.raises(ValueError, match="do not go together"):
            chain_program(plans, place_chain(plans, 0)[0])
        return
    check_chain(plans)


def test_rows_of_tokens_and_of_channels_in_one_program():
    plans = [plan_of(TINY, m=m) for m in (1, 6, 1, 1, 3)]
    assert [plan.row_mode for plan in plans] == [True, False, True, True, False]
    check_chain(plans)


def test_an_opening_holds_no_more_token_tiles_than_there_are_places():
    plan = Plan(machine=TINY, spec=spec_of(TINY, m=8, k=64, n=8), row_mode=False, channels=4,
                chunk=4, block=4, resident=False)
    wide = replace(plan_of(TINY, m=1, k=3200, n=8), resident=True)
    assert len(opening_parts(plan, 4)) == 4 and chain_places([plan, wide]).acts == 2
    check_chain([wide, plan, wide])


def test_regions_of_products_of_other_sizes_are_found():
    """Weights and scales of several pages, and steps in loops."""
    plans = [plan_of(TINY, m=5, k=300, n=200), plan_of(TINY, m=5, k=16, n=8),
             plan_of(TINY, m=17, k=600, n=90)]
    assert len({plan.stored_bytes // PAGE - plan.scale_bytes // PAGE for plan in plans}) == 3
    check_chain([*plans, plans[0]])


def test_equal_products_become_a_loop():
    plan = plan_of(TINY)
    two, many = (check_chain([plan] * count) for count in (2, 40))
    alone = gemm_program(plan, place_chain([plan], 0)[0][0])
    assert length(alone) < length(two) == length(many) < length(alone) + 10
    assert any(isinstance(node, Loop) and node.count == 40 for node in many)


def test_loops_that_would_nest_too_deep_are_unrolled():
    spec = GemmSpec(m=197, k=2100, n=532, digits=((0, 1),), sigma=False, group_size=500)
    plan = Plan(machine=SCARCE, spec=spec, row_mode=False, channels=13, chunk=2, block=1,
                resident=False)
    regions, _, _ = place_chain([plan] * 3, 0)
    alone, chain = gemm_program(plan, regions[0]), chain_program([plan] * 3, regions)
    assert nesting(alone) == nesting(chain) == LOOP_DEPTH
    assert length(chain) > 2.9 * length(alone) - 30


def test_one_product_is_its_own_program():
    for shape in ({"m": 5}, {"m": 1}):
        plan = plan_of(TINY, **shape)
        (where,), outputs, end = place_chain([plan], 100)
        assert chain_program([plan], [where]) == gemm_program(plan, where)
        assert where.outputs == outputs and end - outputs >= plan.out_bytes


def test_regions_lie_apart_on_pages_of_their_own():
    plans = [plan_of(TINY), plan_of(TINY, m=1, n=70), plan_of(TINY, k=200)]
    regions, outputs, end = place_chain(plans, 5000)
    spans = sorted(span for plan, where in zip(plans, regions, strict=True) for span in (
        (where.weights, plan.stored_bytes), (where.scales, plan.scale_bytes),
        (where.acts, plan.act_bytes), (where.outputs, plan.out_bytes)))
    assert all(start % PAGE == 0 for start, _ in spans) and spans[0][0] == 8192
    assert all(a + size <= b for (a, size), (b, _) in zip(spans, spans[1:], strict=False))
    assert outputs == min(where.outputs for where in regions) > max(w.acts for w in regions)
    assert spans[-1][0] + spans[-1][1] <= end


# ---- places, and where a chain ends ---------------------------------------------------------
def test_places_are_those_of_the_largest_loads():
    small, large = plan_of(TINY, m=5, k=16, n=8), plan_of(TINY, m=5, k=300, n=100)
    places = [chain_places([plan]) for plan in (small, large)]
    assert chain_places([small, large]) == tuple(map(min, zip(*places, strict=True)))
    assert all(a > b for a, b in zip(*places, strict=True))


def test_products_that_do_not_go_together_are_launched_apart():
    plan = plan_of(TINY, m=5, k=16, n=8)
    # All activations of 8 token tiles stay on chip; others are so large that 2 fit.
    stays = plan_of(TINY, m=16, k=16, n=8)
    assert stays.resident and stays.block == 8
    large = replace(plan_of(TINY, m=1, k=1200, n=8, group_size=600), resident=True)
    assert chain_places([large]).acts < 8
    assert chain_places([stays, large]) is None
    assert split_chain([plan, stays, large, plan], [0] * 4) == [2, 2]
    for kind in ({"stay": True}, {"kept": 1}):
        assert chain_places([plan, replace(plan, **kind)]) is None
        assert split_chain([plan, replace(plan, **kind), plan, plan], [0] * 4) == [1, 1, 2]


def test_weights_that_stay_for_no_second_block_do_not_keep_a_product_alone():
    plan = plan_of(TINY, m=5)
    assert len(plan.blocks) == 1
    found = chain_plan(replace(plan, stay=True))
    assert found == plan
    check_chain([found, plan])
    blocks = replace(plan, block=1, stay=True)
    assert chain_plan(blocks) == blocks and split_chain([blocks, plan], [0] * 2) == [1, 1]


def test_other_decode_tables_end_a_chain_where_there_are_any():
    for pe, expected in (("lut", [4]), ("mac", [2, 1, 1])):
        machine = TINY.replace(pe=pe, k_tile=16)
        plan = plan_of(machine, name="int4")
        assert split_chain([plan] * 4, ["int4", "int4", "fp4", "int4"]) == expected


@pytest.mark.parametrize("program_depth", [128, 256, 512])
def test_a_program_that_is_too_long_is_cut(program_depth):
    machine = TINY.replace(program_depth=program_depth)
    plans = [plan_of(machine, n=n) for n in range(20, 100, 10)]
    counts = split_chain(plans, [0] * 8)
    assert sum(counts) == 8 and 1 < len(counts)
    start = 0
    for count in counts:
        for more in (0, 1):
            part = plans[start:start + count + more]
            size = length(chain_program(part, place_chain(part, 0)[0]))
            assert (size > program_depth) == more or start + count == 8
        start += count


def test_a_product_that_does_not_fit_alone_is_not_hidden():
    with pytest.raises(PlanError, match="program_depth"):
        plan_of(TINY.replace(program_depth=8))
