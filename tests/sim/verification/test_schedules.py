"""Plans that the fast choice seldom takes, bit for bit and cycle for cycle on the RTL: activations
of which a part stays, weights that stay, one launch after another without loading weights."""

import random
from dataclasses import replace

import numpy as np
import pytest

from bitwright.hw.codegen.gemm_program import gemm_program, program_length, relaunch_program
from bitwright.hw.codegen.standalone_layout import layout, regions_of
from bitwright.hw.isa.program_tree import Instr, Loop, assemble
from bitwright.hw.packing.weight_image import (
    gemm_spec,
    pack_activations,
    pack_weights,
    unpack_outputs,
)
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.hw.tiling.plan_search import all_plans, plans_alike, weights_fit
from bitwright.models.inference.golden import mpgemm
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import run_cycles
from bitwright.sim.verification.gemm_fuzz import machines
from bitwright.sim.verification.random_operands import random_activations, random_matrix
from bitwright.sim.verilator.gemm_run import run_gemm
from bitwright.sim.verilator.simulator import run

MACHINES = machines()

NAMED = {machine.name: machine for machine in MACHINES}
MEMORIES = (Memory(latency=8), Memory(latency=40), Memory(latency=150, interval=2))


def case(machine, m, k, n, seed, group=16):
    rng = np.random.default_rng(seed)
    qm = random_matrix(machine, "int4", n, k, group, rng)
    return qm, random_activations(machine, m, k, rng)


def check(plan, qm, a, memory):
    where = layout(plan)
    model = run_cycles(plan.machine, where.program, memory)
    y, rtl = run_gemm(where, pack_weights(plan, qm), a, memory, max_cycles=10_000_000)
    assert (y == mpgemm(a, qm)).all()
    assert rtl.counters == model.counters
    moved = (rtl.counters["load_busy"] + rtl.counters["store_busy"]) * plan.machine.beat_bytes
    assert moved == plan.dram_bytes + len(where.code)


@pytest.mark.parametrize("name", ["wide", "serial-steps"])
@pytest.mark.parametrize("seed", range(4))
def test_a_part_of_the_activations_stays(name, seed):
    print("seed", seed)
    rng = random.Random(seed)
    machine = NAMED[name]
    m = machine.rows * rng.choice([4, 7, 9, 13]) + rng.randint(0, machine.rows - 1)
    k, n = machine.k_tile * rng.randint(10, 14), rng.randint(60, 100)
    qm, a = case(machine, m, k, n, seed)
    found = [plan for plan in all_plans(machine, gemm_spec(machine, m, qm))
             if plan.kept and program_length(plan) <= machine.program_depth]
    assert found
    plan = rng.choice(found)
    few = replace(plan, kept=rng.randint(1, plan.kept))
    assert few.dram_bytes < replace(plan, kept=0).dram_bytes
    check(few, qm, a, rng.choice(MEMORIES))


@pytest.mark.parametrize("name, resident", [("wide", True), ("wide", False),
                                            ("serial-steps", False)])
def test_weights_stay_for_all_blocks(name, resident):
    machine = NAMED[name]
    m = 33 * machine.rows + 1
    qm, a = case(machine, m, 5 * machine.k_tile, 20, 7, machine.k_tile)
    plans = [plan for plan in all_plans(machine, gemm_spec(machine, m, qm))
             if plan.stay and plan.resident == resident and len(plan.blocks) > 2]
    assert plans
    assert plans[0].dram_bytes < replace(plans[0], stay=False).dram_bytes
    check(plans[0], qm, a, MEMORIES[1])


def addresses(nodes):
    """Address registers after ``nodes``."""
    registers = [0] * 16
    for node in nodes:
        if isinstance(node, Loop):
            registers = [old + node.count * step for old, step in zip(
                registers, addresses(node.body), strict=True)]
        elif node.op == "add":
            registers[node["reg"]] += node["value"]
    return registers


@pytest.mark.parametrize("name, m", [("tiny", 1), ("tiny", 23), ("tiny", 150), ("serial", 9),
                                     ("mac", 9)])
def test_a_launch_after_another_loads_no_weights(name, m):
    machine = NAMED[name]
    qm, a = case(machine, m, 3 * machine.k_tile, 30, 5)
    plan = next(plan for plan in all_plans(machine, gemm_spec(machine, m, qm))
                if weights_fit(plan) and not plan.kept)
    plan = replace(plan, stay=True)
    regions, size = regions_of(plan)
    other = replace(regions, acts=size, outputs=size + (1 << 16))
    first = gemm_program(plan, regions)
    then = relaunch_program(plan, other)
    assert all(node["target"] == 1 for node in then if isinstance(node, Instr)
               and node.op == "load")
    # In one program: registers to 0 as at a start, and no more free places than there were.
    back = [Instr.make("add", reg=reg, value=-value)
            for reg, value in enumerate(addresses(first)) if value]
    program = (*first[:-1], *back, *(node for node in then if isinstance(node, Loop)
                                     or node.op != "credit"))
    image = np.zeros(size + (1 << 17), dtype=np.uint8)
    packed, again = pack_weights(plan, qm), a[::-1].copy()
    for address, data in ((0, assemble(program)), (regions.weights, packed.weights),
                          (regions.scales, packed.scales),
                          (regions.acts, pack_activations(plan, a)),
                          (other.acts, pack_activations(plan, again))):
        image[address:address + len(data)] = np.frombuffer(data, dtype=np.uint8)
    memory = Memory()
    found = run(machine, image, [(0, len(assemble(program)) // 32)],
                dump=(other.outputs, plan.out_bytes), memory=memory, max_cycles=1_000_000)
    assert not found.error
    assert (unpack_outputs(plan, found.dump, packed.correction) == mpgemm(again, qm)).all()
    assert found.counters == run_cycles(machine, program, memory).counters
    moved = found.counters["load_busy"] * machine.beat_bytes - len(assemble(program))
    assert moved == plan.stored_bytes + plan.loaded_scale_words * (
        machine.scale_word_bits // 8) + 2 * (plan.dram_bytes - plan.out_bytes - plan.stored_bytes
                                             - plan.loaded_scale_words
                                             * machine.scale_word_bits // 8)


def test_only_weights_that_stay_are_launched_again():
    machine = NAMED["tiny"]
    qm, _ = case(machine, 5, 32, 30, 5)
    plan = next(all_plans(machine, gemm_spec(machine, 5, qm)))
    with pytest.raises(ValueError, match="do not stay"):
        relaunch_program(plan, regions_of(plan)[0])


@pytest.mark.parametrize("name", ["wide", "serial-steps"])
def test_one_token_with_the_weights_of_many(name):
    machine = NAMED[name]
    qm, a = case(machine, 9 * machine.rows, 11 * machine.k_tile, 70, 3)
    plan = next(plan for plan in all_plans(machine, gemm_spec(machine, len(a), qm)) if plan.kept)
    one = plans_alike(plan, 1)[0]
    assert not one.row_mode and one.tiles == plan.tiles and one.spec.m == 1
    assert pack_weights(one, qm).weights == pack_weights(plan, qm).weights
    assert pack_weights(one, qm).scales == pack_weights(plan, qm).scales
    check(one, qm, a[:1], MEMORIES[0])


def test_row_mode_shares_no_weights():
    machine = NAMED["wide"]
    qm, _ = case(machine, 1, 64, 70, 3)
    plan = next(all_plans(machine, gemm_spec(machine, 1, qm)))
    assert plan.row_mode
    with pytest.raises(PlanError, match="plan for several"):
        plans_alike(plan, 8)
