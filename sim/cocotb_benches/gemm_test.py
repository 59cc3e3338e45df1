"""Tests random GEMMs under random latency and back-pressure, bit for bit."""


import cocotb
import numpy as np

from bitwright.sim.cocotb_benches.runner import bench_machine
from bitwright.sim.cocotb_benches.testbench import Bench, Gemm, random_gemm
from bitwright.sim.verification.random_operands import has_offsets, random_matrix, supported

NAMES = supported(bench_machine())
TYPES = (*NAMES, *(f"{name}+offset" for name in NAMES if has_offsets(name)))
BOUNDS = [name for name in ("int8", "int4", "int1", "ternary") if name in NAMES]


@cocotb.test()
@cocotb.parametrize(form=TYPES)
async def every_type(dut, form: str) -> None:
    """Two GEMMs of the type, one of them of a single token."""
    bench = Bench(dut, f"every_type {form}")
    await bench.reset_pin()
    name, _, asymmetric = form.partition("+")
    for m in (None, 1):
        bench.stall()
        gemm = random_gemm(bench.machine, bench.rng, name=name, m=m, asymmetric=bool(asymmetric))
        await bench.run(gemm)


@cocotb.test()
async def smallest(dut) -> None:
    """One token, one feature, one channel."""
    bench = Bench(dut, "smallest")
    await bench.reset_pin()
    for name in BOUNDS:
        matrix = random_matrix(bench.machine, name, 1, 1, 1, bench.rng)
        least = -1 << bench.machine.act_bits - 1
        await bench.run(Gemm.of(bench.machine, matrix, np.array([[least]])))


@cocotb.test()
async def flowing(dut) -> None:
    """Memory that never waits; then the same GEMM again without a reset."""
    bench = Bench(dut, "flowing")
    await bench.reset_pin()
    gemm = random_gemm(bench.machine, bench.rng, name="int4", m=2 * bench.machine.rows + 1)
    await bench.run(gemm)
    first = await bench.counters()
    await bench.run(gemm)
    assert await bench.counters() == first, "an equal run took other cycles"


@cocotb.test()
@cocotb.parametrize(name=BOUNDS)
async def accumulator_bound(dut, name: str) -> None:
    """Weights and activations at their minimum, scales as large as the accumulator allows."""
    bench = Bench(dut, f"bound {name}")
    await bench.reset_pin()
    rng, machine = bench.rng, bench.machine
    n, k = machine.cols * machine.min_channels, 5 * machine.k_tile
    most = 1 << machine.act_bits - 1
    for m in (machine.rows, 1):
        for value in (-most, most - 1):
            bench.stall()
            matrix = random_matrix(machine, name, n, k, machine.k_tile, rng, extreme=True)
            await bench.run(Gemm.of(machine, matrix, np.full((m, k), value)))


@cocotb.test()
async def mixed(dut) -> None:
    """Programs one after the other on one machine, with new pauses each."""
    bench = Bench(dut, "mixed")
    await bench.reset_pin()
    for _ in range(6):
        bench.stall()
        gemm = random_gemm(bench.machine, bench.rng, most=64)
        await bench.run(gemm)
