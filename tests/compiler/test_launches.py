import dataclasses

import numpy as np
import pytest

import compiler.launches
from compiler.execute import InputError
from compiler.launches import Launches, Product
from hw.config import PRESETS
from hw.pack import gemm_spec, pack_weights
from hw.plan import PlanError
from models.golden import PreparedMatrix, mpgemm
from models.quantize import quantize
from sim.verilated import SimulationError

TINY = PRESETS["tiny"]


def product(m=3, k=20, n=10, operator="up", seed=0, scheme="int4"):
    rng = np.random.default_rng(seed)
    qm = quantize(rng.normal(size=(n, k)), scheme, 8)
    a = rng.integers(-128, 128, (m, k), dtype=np.int8)
    return Product(operator=operator, name=f"layer.{operator}", spec=gemm_spec(TINY, m, qm), a=a,
                   y=mpgemm(a, qm), packed=lambda plan: pack_weights(plan, qm))


def run(backend, *products):
    with Launches(TINY, backend) as launches:
        for each in products:
            launches.launch(each)
    return launches


def test_totals_by_operator():
    launches = run("golden", product(), product(m=1), product(operator="down"))
    up, down = launches.by_operator["up"], launches.by_operator["down"]
    assert (up.launches, up.macs, up.accumulators) == (2, 4 * 200, 40)
    assert (down.launches, down.macs, down.accumulators) == (1, 600, 30)
    assert launches.totals.macs == 1400 and launches.totals.cycles == 0 and launches.good
    assert launches.totals.to_dict("golden") == {"launches": 3, "macs": 1400, "accumulators": 70}


def test_rtl_counts_what_the_cycle_model_counts():
    products = [product(), product(m=1, seed=1), product(seed=2), product(k=33, operator="down")]
    model, rtl = run("cycles", *products).totals, run("rtl", *products).totals
    assert rtl.cycles == rtl.rtl_cycles == model.cycles > 0
    assert rtl.engines == rtl.rtl_engines == model.engines
    assert rtl.engines["load"]["busy"] > 0 and model.rtl_cycles == 0
    found = rtl.to_dict("rtl")
    assert found["mismatching_bits"] == found["mismatching_counters"] == 0


@pytest.mark.parametrize("what", ["bits", "counter"])
def test_differences_are_counted_and_the_first_is_named(monkeypatch, what):
    def differently(where, packed, a, *arguments, **more):
        y, result = run_gemm(where, packed, a, *arguments, **more)
        if where.plan.spec.k != 20:
            return y, result
        if what == "bits":
            y[0, 2] ^= 0b1011
            return y, result
        counters = {**result.counters, "load_busy": result.counters["load_busy"] + 1}
        return y, dataclasses.replace(result, counters=counters)

    run_gemm = compiler.launches.run_gemm
    monkeypatch.setattr(compiler.launches, "run_gemm", differently)
    launches = run("rtl", product(k=8, operator="first"), product(),
                   product(m=1, seed=1, operator="last"))
    total = launches.totals
    assert not launches.good and launches.first_difference == "layer.up"
    assert total.wrong_bits == (3 + 3 if what == "bits" else 0)
    assert total.wrong_counters == (2 if what == "counter" else 0)
    assert launches.by_operator["first"].wrong_bits == 0


def test_errors_name_the_layer(monkeypatch):
    with pytest.raises(InputError, match="golden, cycles, rtl"):
        Launches(TINY, "fpga")
    small = TINY.replace(program_depth=8)
    with pytest.raises(PlanError, match="layer layer.up: .*program_depth"):
        Launches(small, "cycles").launch(product())

    def broken(*arguments, **more):
        raise SimulationError("the machine stopped: it did")

    monkeypatch.setattr(compiler.launches, "run_gemm", broken)
    with pytest.raises(SimulationError, match="layer layer.up: the machine stopped"):
        run("rtl", product())


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
