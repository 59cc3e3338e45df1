import dataclasses

import numpy as np
import pytest

import bitwright.compiler.runtime.launcher
from bitwright.compiler.backends.rtl import RtlExecutor
from bitwright.compiler.runtime.launcher import Launches, Product
from bitwright.compiler.runtime.run_layer import InputError
from bitwright.hw.isa.program_tree import flatten
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import gemm_spec, pack_weights
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.inference.golden import PreparedMatrix, mpgemm
from bitwright.models.quantization.schemes import quantize
from bitwright.sim.verilator.verilator_build import SimulationError

TINY = PRESETS["tiny"]


def product(m=3, k=20, n=10, operator="up", seed=0, scheme="int4", machine=TINY):
    rng = np.random.default_rng(seed)
    qm = quantize(rng.normal(size=(n, k)), scheme, 8)
    a = rng.integers(-128, 128, (m, k), dtype=np.int8)
    return Product(operator=operator, name=f"layer.{operator}", datatype=qm.datatype.name,
                   spec=gemm_spec(machine, m, qm), a=a, y=mpgemm(a, qm),
                   packed=lambda plan: pack_weights(plan, qm),
                   weights=lambda: qm.effective[:, :k])


def run(backend, *products):
    with Launches(TINY, backend) as launches:
        for each in products:
            launches.launch(each)
    return launches


def test_totals_by_operator():
    launches = run("golden", product(), product(m=1), product(operator="down"))
    up, down = launches.by_operator["up"], launches.by_operator["down"]
    assert (up.products, up.macs, up.accumulators) == (2, 4 * 200, 40)
    assert (down.products, down.macs, down.accumulators) == (1, 600, 30)
    assert launches.totals.macs == 1400 and launches.totals.cycles == 0 and launches.good
    assert launches.totals.to_dict("golden") == {"products": 3, "macs": 1400, "accumulators": 70}


def test_rtl_counts_what_the_cycle_model_counts():
    products = [product(), product(m=1, seed=1), product(seed=2), product(k=33, operator="down")]
    model, rtl = run("cycles", *products).totals, run("rtl", *products).totals
    assert rtl.cycles == rtl.rtl_cycles == model.cycles > 0
    assert rtl.engines == rtl.rtl_engines == model.engines
    assert rtl.engines["load"]["busy"] > 0 and model.rtl_cycles == 0
    found = rtl.to_dict("rtl")
    assert found["mismatching_bits"] == found["mismatching_counters"] == 0


@pytest.mark.parametrize("machine, counts", [
    (TINY, [6]), (TINY.replace(program_depth=128), [3, 2, 1]), (TINY.replace(pe="mac"), [2, 4])],
    ids=["all", "short program", "decode tables"])
def test_products_given_together_share_launches(machine, counts):
    """Bits of each, and cycles of all; other datatypes are other decode tables."""
    products = [product(*shape, operator, seed, scheme, machine) for seed, (shape, operator, scheme)
                in enumerate([((3, 20, 10), "q", "fp4"), ((3, 20, 10), "k", "fp4"),
                              ((3, 20, 10), "v", "int4"), ((1, 20, 10), "v", "int4"),
                              ((3, 20, 10), "v", "int4"), ((3, 40, 9), "q", "int4")])]
    with Launches(machine, "rtl") as together:
        together.launch(*products)
    with Launches(machine, "cycles") as apart:
        for each in products:
            apart.launch(each)
    assert [*together.by_operator] == ["q + k + v"] and together.good
    total = together.totals
    assert (total.products, total.launches) == (6, len(counts))
    assert together._splits[tuple(each.form for each in products)] == counts
    assert total.macs == apart.totals.macs and apart.totals.launches == 6
    assert total.rtl_cycles == total.cycles < apart.totals.cycles
    found = total.to_dict("rtl")
    assert (found["products"], found["launches"]) == (6, len(counts))


def test_products_that_are_slower_together_are_launched_apart(monkeypatch):
    """A model in which each load of weights costs what the one before did, and more."""
    run_cycles = bitwright.compiler.runtime.launcher.run_cycles

    def slow(machine, program, memory):
        found = run_cycles(machine, program, memory)
        loads = sum(instr.op == "load" for instr in flatten(program))
        found.counters["run"] = loads ** 2
        return found

    products = [product(), product(k=40, operator="gate"), product(n=30, operator="gate")]
    for model, expected in ((run_cycles, 1), (slow, 3)):
        monkeypatch.setattr(bitwright.compiler.runtime.launcher, "run_cycles", model)
        with Launches(TINY, "cycles") as launches:
            launches.launch(*products)
        assert launches.totals.launches == expected


@pytest.mark.parametrize("what", ["bits", "counter"])
def test_differences_are_counted_and_the_first_is_named(monkeypatch, what):
    def differently(executor, job):
        outcome = run_job(executor, job)
        if job.products[0].a.shape[1] != 20:
            return outcome
        if what == "bits":
            outcome.accumulators[0][0, 2] ^= 0b1011
            return outcome
        counters, = outcome.counters
        counters = {**counters, "load_busy": counters["load_busy"] + 1}
        return dataclasses.replace(outcome, counters=(counters,))

    run_job = RtlExecutor.run
    monkeypatch.setattr(RtlExecutor, "run", differently)
    launches = run("rtl", product(k=8, operator="first"), product(),
                   product(m=1, seed=1, operator="last"))
    total = launches.totals
    assert not launches.good and launches.first_difference == "layer.up"
    assert total.wrong_bits == (3 + 3 if what == "bits" else 0)
    assert total.wrong_counters == (2 if what == "counter" else 0)
    assert launches.by_operator["first"].wrong_bits == 0


def test_a_difference_within_a_launch_is_named(monkeypatch):
    def differently(executor, job):
        outcome = run_job(executor, job)
        outcome.accumulators[1][2, 3] ^= 4
        return outcome

    run_job = RtlExecutor.run
    monkeypatch.setattr(RtlExecutor, "run", differently)
    with Launches(TINY, "rtl") as launches:
        launches.launch(product(), product(operator="gate"), product(operator="last"))
    assert launches.first_difference == "layer.gate" and launches.totals.wrong_bits == 1


def test_errors_name_the_layer(monkeypatch):
    with pytest.raises(InputError, match="golden, cycles, rtl"):
        Launches(TINY, "fpga")
    small = TINY.replace(program_depth=8)
    with pytest.raises(PlanError, match="layer layer.up: .*program_depth"):
        Launches(small, "cycles").launch(product())

    def broken(*arguments, **more):
        raise SimulationError("the machine stopped: it did")

    monkeypatch.setattr(RtlExecutor, "run", broken)
    with pytest.raises(SimulationError, match="layer layer.up: the machine stopped"):
        run("rtl", product())
    with (pytest.raises(SimulationError, match="layer.up and 1 more in its launch: the machine"),
          Launches(TINY, "rtl") as launches):
        launches.launch(product(), product(operator="down"))


@pytest.mark.parametrize("scheme", ["int4", "int8", "ternary", "bitmod4", "int4_o8"])
def test_prepared_matrices_give_the_golden_product(scheme):
    rng = np.random.default_rng(5)
    qm = quantize(rng.normal(size=(6, 37)), scheme, 8)
    prepared = PreparedMatrix(qm)
    for dtype, limit in ((np.int8, 128), (np.int16, 32768)):
        a = rng.integers(-limit, limit, (3, 37)).astype(dtype)
        np.testing.assert_array_equal(prepared(a), mpgemm(a, qm))
        np.testing.assert_array_equal(prepared.by_column(a),
                                      a if qm.columns is None else qm.gather(a))
    assert prepared.nbytes == 8 * 6 * 37


def test_prepared_matrices_refuse_what_may_round():
    qm = quantize(np.ones((1, 4)), "int8", 0)
    qm = dataclasses.replace(qm, scale_mantissa=np.full((1, 1), 2047, np.int16),
                             scale_shift=np.full((1, 1), 15, np.uint8))
    prepared = PreparedMatrix(qm)
    assert prepared(np.full((1, 4), 127, np.int8)) == 4 * 127 * 127 * (2047 << 15)
    prepared._bound <<= 15
    with pytest.raises(OverflowError):
        prepared(np.full((1, 4), 32767, np.int16))
