"""Random chains: every bit of every product and every counter, on RTL and in the models."""

import numpy as np
import pytest

from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.codegen.standalone_layout import layout
from bitwright.hw.packing.weight_image import gemm_spec, pack_weights
from bitwright.models.inference.golden import mpgemm
from bitwright.sim.cycle_model.model import run_cycles
from bitwright.sim.verification.chain_fuzz import compare_chain, random_chain
from bitwright.sim.verification.gemm_fuzz import machines
from bitwright.sim.verification.random_operands import random_activations, random_matrix
from bitwright.sim.verilator.chain_run import chain_layout, run_chain
from bitwright.sim.verilator.verilator_build import SimulationError

MACHINES = machines()

EACH = 10   # chains per machine
CHAINS = [random_chain(seed) for seed in range(EACH * len(MACHINES))]
TINY = MACHINES[0]


@pytest.mark.parametrize("machine", MACHINES, ids=[machine.name for machine in MACHINES])
def test_bits_and_counters_agree(machine):
    chains = [chain for chain in CHAINS if chain.cases[0].machine == machine]
    assert len(chains) == EACH
    found = [compare_chain(chain) for chain in chains]
    wrong = [f"{one.case}: launches {one.launches}, {one.mismatches} accumulators differ, "
             f"counters (RTL, model) {one.differences}" for one in found if not one.ok]
    assert not wrong, "\n".join(wrong)
    assert sum(len(one.launches) for one in found) < sum(sum(one.launches) for one in found) / 1.5
    assert sum(one.cycles for one in found) < sum(one.apart for one in found)


def test_chains_cover_what_they_should():
    counts = {len(chain.cases) for chain in CHAINS}
    assert counts == {2, 3, 4, 5, 6} and random_chain(7) == CHAINS[7]
    pairs = [pair for chain in CHAINS for pair in zip(chain.cases, chain.cases[1:], strict=False)]
    assert any(a == b for a, b in pairs) and any(a.datatype != b.datatype for a, b in pairs)
    assert any((a.m == 1) != (b.m == 1) for a, b in pairs)
    assert str(CHAINS[7]).endswith(" seed 7")


def products(shapes, seed=0):
    rng = np.random.default_rng(seed)
    matrices = [random_matrix(TINY, "int4", n, k, 16, rng) for _, k, n in shapes]
    acts = [random_activations(TINY, m, k, rng) for m, k, _ in shapes]
    plans = [plan_gemm(TINY, gemm_spec(TINY, len(a), qm))
             for a, qm in zip(acts, matrices, strict=True)]
    return plans, matrices, acts


def test_the_next_product_loads_while_one_computes():
    """Products bound by memory: the bus rests between launches, and hardly within one."""
    plans, matrices, acts = products([(3, 64, 24)] * 6)
    where = chain_layout(plans)
    model = run_cycles(TINY, where.program).counters
    apart = sum(run_cycles(TINY, layout(plan).program).counters["run"] for plan in plans)
    beats = sum(plan.dram_bytes for plan in plans) // TINY.beat_bytes
    assert model["run"] < 1.2 * beats and apart > 1.7 * beats
    found, rtl = run_chain(where, [pack_weights(*pair) for pair in zip(
        plans, matrices, strict=True)], acts)
    assert rtl.counters == model
    for y, a, qm in zip(found, acts, matrices, strict=True):
        np.testing.assert_array_equal(y, mpgemm(a, qm))


def test_a_machine_that_stops_gives_no_results():
    plans, matrices, acts = products([(2, 20, 8), (3, 20, 8)])
    where = chain_layout(plans)
    bad = where.__class__(**{**vars(where), "code": b"\x0f" * len(where.code)})
    with pytest.raises(SimulationError, match="the machine stopped"):
        run_chain(bad, [pack_weights(*pair) for pair in zip(plans, matrices, strict=True)], acts)
