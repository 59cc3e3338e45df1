"""Launches of one layer in a row on the RTL: every bit and every counter of each."""

from dataclasses import replace

import numpy as np
import pytest

from bitwright.hw.codegen.gemm_program import plan_gemm, relaunch_program
from bitwright.hw.codegen.launch_programs import (
    Launch,
    follows,
    launch_length,
    launch_program,
    plan_alike,
    plan_one_token,
    staying,
)
from bitwright.hw.codegen.standalone_layout import regions_of
from bitwright.hw.isa.instruction_table import Queue
from bitwright.hw.isa.program_tree import Instr
from bitwright.hw.packing.weight_image import gemm_spec, pack_weights
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.hw.tiling.plan_search import all_plans
from bitwright.models.inference.golden import mpgemm
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.verification.gemm_fuzz import machines
from bitwright.sim.verification.random_operands import random_activations, random_matrix
from bitwright.sim.verilator.series_run import launch_cycles, run_series, series
from bitwright.sim.verilator.simulator import run

MACHINES = machines()

NAMED = {machine.name: machine for machine in MACHINES}


def case(machine, m, k, n, seed, group=16):
    rng = np.random.default_rng(seed)
    qm = random_matrix(machine, "int4", n, k, group, rng)
    return qm, random_activations(machine, m, k, rng)


def prefill(machine, qm, m):
    return staying(plan_gemm(machine, gemm_spec(machine, m, qm)))


def check(launches, qm, a, memory):
    """Bits of all rows, counters of every launch; the counters."""
    y, found = run_series(series(launches), pack_weights(launches[0].plan, qm), a, memory,
                          max_cycles=3_000_000)
    assert (y == mpgemm(a, qm)).all()
    counters = [found.counters, *found.then]
    assert counters == [launch_cycles(launch, memory).counters for launch in launches]
    return counters


@pytest.mark.parametrize("name", ["tiny", "serial", "tl2"])
@pytest.mark.parametrize("seed", range(2))
def test_a_layers_launches_share_weights_that_stay(name, seed):
    """Pieces of 9 tokens, single ones, and 4 by a plan of their own, in any order."""
    machine, group = NAMED[name], (16, 0)[seed]
    qm, a = case(machine, 9 + 1 + 9 + 4 + 1 + 1 + 9, 3 * machine.k_tile, 30, seed, group)
    many = prefill(machine, qm, 9)
    one, four = plan_one_token(many), plan_alike(many, 4)
    assert many.stay and one.stay and four.stay and one.spec.m == 1
    plans = (many, one, many, four, one, one, many)
    launches = [Launch(plan, bool(index)) for index, plan in enumerate(plans)]
    for plan, before in zip(plans[1:], plans[:-1], strict=True):
        assert follows(plan, before)
    memory = (Memory(latency=8), Memory(latency=150, interval=2))[seed]
    counters = check(launches, qm, a, memory)
    beats = (machine.row_act_bits * machine.rows * one.act_words(one.k_tiles)
             // machine.memory_bits)
    code = launch_length(launches[1]) * 32 // machine.beat_bytes
    assert counters[1]["load_busy"] == beats + code  # activations, and the program itself
    assert counters[2]["run"] < counters[0]["run"]
    assert counters[5]["run"] < launch_cycles(Launch(one), memory).counters["run"]


@pytest.mark.parametrize("name", ["wide", "serial-steps"])
def test_weights_that_do_not_stay_come_each_time(name):
    machine = NAMED[name]
    qm, a = case(machine, 9 * machine.rows + 2, 11 * machine.k_tile, 170, 3)
    many = prefill(machine, qm, 9 * machine.rows)
    one = plan_one_token(many)
    assert not many.stay and not one.stay and one.tiles == many.tiles
    check([Launch(one), Launch(many), Launch(one)], qm, a, Memory(latency=40))
    assert not follows(one, many) and not follows(many, many)


def test_a_launch_without_its_weights_is_wrong():
    """What stays is the layer's before: the loads that are left out would have mattered."""
    machine = NAMED["tiny"]
    qm, a = case(machine, 10, 48, 30, 1)
    other, _ = case(machine, 1, 48, 30, 2)
    one = plan_one_token(prefill(machine, qm, 9))
    launches = [Launch(one), Launch(one, True)]
    y, _ = run_series(series(launches), pack_weights(one, other), a[:2])
    assert (y == mpgemm(a[:2], other)).all() and (y[1] != mpgemm(a[:2], qm)[1]).any()


def test_what_stays():
    machine = NAMED["tiny"]
    qm, _ = case(machine, 1, 48, 30, 1)
    plan = plan_gemm(machine, gemm_spec(machine, 9, qm))
    stays = staying(plan)
    assert not plan.stay and stays == replace(plan, stay=True) and staying(stays) == stays
    least = max(launch_length(Launch(stays)), launch_length(Launch(stays, True)))
    depth = 1 << least.bit_length()
    long = replace(plan, machine=machine.replace(program_depth=depth))
    short = replace(plan, machine=machine.replace(program_depth=depth // 2))
    assert staying(long).stay and staying(short) is short
    words = 1 << plan.loaded_weight_words.bit_length() - 1
    full = replace(plan, machine=machine.replace(weight_depth=words))
    assert staying(full) is full
    kept = replace(plan, kept=1, resident=False)
    assert staying(kept) is kept
    regions = regions_of(stays)[0]
    again = launch_program(Launch(stays, True), regions)
    assert again == relaunch_program(stays, regions)
    credits = [node["queue"] for node in again if isinstance(node, Instr) and node.op == "credit"]
    assert credits == [Queue.A_FREE, Queue.OUT_FREE]    # no weights come, so no places for them


def test_scales_that_lie_elsewhere_are_not_there():
    """Chunks within a group bring its scales each, so that other chunks find them elsewhere."""
    machine = NAMED["tiny"].replace(weight_depth=256)
    qm, a = case(machine, 12, 8 * machine.k_tile, 8, 1, 0)
    whole = next(plan for plan in all_plans(machine, gemm_spec(machine, 6, qm))
                 if len(plan.tiles) == 1 and not plan.kept and plan.chunk > 2)
    one, two = (staying(replace(whole, chunk=size)) for size in (2, 4))
    assert one.stay and two.stay and follows(one, one)
    assert not follows(one, two) and not follows(two, one)
    check([Launch(one), Launch(one, True)], qm, a, Memory())


def test_alike_means_the_same_stored_weights():
    machine = NAMED["tiny"]
    qm, _ = case(machine, 1, 48, 300, 1)
    plan = plan_gemm(machine, gemm_spec(machine, 9, qm))
    assert plan_alike(plan, 9) is plan and not plan_alike(plan, 5).stay
    for m in (1, 5, 30):
        found = plan_alike(plan, m)
        assert found.spec == replace(plan.spec, m=m)
        packed, stored = pack_weights(found, qm), pack_weights(plan, qm)
        assert (packed.weights, packed.scales) == (stored.weights, stored.scales)
    with pytest.raises(PlanError, match="program_depth"):
        plan_alike(replace(plan, machine=machine.replace(program_depth=8)), 1)


def test_rows_must_be_those_of_the_launches():
    machine = NAMED["tiny"]
    qm, a = case(machine, 3, 48, 30, 1)
    one = plan_one_token(prefill(machine, qm, 9))
    with pytest.raises(ValueError, match="2 tokens do not take 3"):
        run_series(series([Launch(one), Launch(one)]), pack_weights(one, qm), a)


def test_an_error_ends_the_series():
    machine = NAMED["tiny"]
    qm, _ = case(machine, 3, 48, 30, 1)
    one = plan_one_token(prefill(machine, qm, 9))
    where = series([Launch(one)])
    image = np.zeros(where.size, dtype=np.uint8)
    code = where.codes[0]
    image[where.programs[0]:where.programs[0] + len(code)] = np.frombuffer(code, np.uint8)
    good = where.programs[0], len(code) // 32
    for starts, count in ((([good, (0, 0), good]), 2), ([good, good, good], 3)):
        found = run(machine, image, starts, dump=(0, 0))
        assert 1 + len(found.then) == count and (found.error is None) == (count == 3)
