"""Rates on boards: the cycles are the RTL's, and the arithmetic is done once more by hand."""

import json
from typing import NamedTuple

import pytest
from amaranth.sim import Simulator

from bitwright.fpga.benchmarks.dsp_peak import DspMac
from bitwright.fpga.benchmarks.throughput import measured, recorded_fmax, widest
from bitwright.fpga.boards.registry import board
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.models.datatypes.catalog import datatype
from bitwright.sim.verification.gemm_fuzz import Case, compare

SMALL = Machine(name="small", rows=2, cols=2, k_tile=16, builders=2, memory_bits=16,
                weight_depth=256, act_depth=128, scale_depth=128, psum_depth=32, out_depth=64)
SHAPE = (16, 256, 64)


@pytest.mark.parametrize("machine", [SMALL, widest(SMALL)], ids=("board", "resident"))
@pytest.mark.parametrize("name, slots", [("int4", 4), ("int2", 2), ("ternary", 2)])
def test_measured_cycles_are_the_rtls(machine, name, slots):
    memory = board("ulx3s-12f").memory.timing
    spec = shape_spec(machine, *SHAPE, datatype(name), 64, False)
    found = measured(machine, spec, memory)
    m, k, n = SHAPE
    ran = compare(Case(machine=machine, m=m, k=k, n=n, datatype=name, memory=memory))
    counters = ran.rtl.counters
    assert ran.ok and found["cycles"] == counters["run"]
    assert found["memory_busy"] == pytest.approx(
        (counters["load_busy"] + counters["store_busy"]) / counters["run"])
    assert found["efficiency"] == pytest.approx(m * k * n * slots / 64 / counters["run"])
    assert 0 < found["efficiency"] <= found["array_busy"] + 1e-9 < 1


def test_a_wide_port_is_what_the_buffers_allow():
    assert widest(SMALL).memory_bits == 32 and widest(PRESETS["icebreaker"]).memory_bits == 16
    wide = widest(PRESETS["ulx3s-85f"])
    assert wide.memory_bits == 128 and wide == PRESETS["ulx3s-85f"].replace(memory_bits=128)


def test_the_recorded_clock_is_of_this_machine():
    found, machine = board("icebreaker"), PRESETS["icebreaker"]
    assert recorded_fmax(found, machine) >= 24
    assert recorded_fmax(found, machine.replace(act_depth=128)) is None
    assert recorded_fmax(board("ulx3s-45f"), PRESETS["ulx3s-12f"]) is None


class Done(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def call(command):
    return lambda *arguments: Done(*command("throughput", *arguments))


def test_rates_of_a_board(tmp_path, call):
    done = call("--board", "icebreaker", "--json", "-n", 32, "--out", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert done.exit_code == 0 and json.loads(done.stdout) == found
    dsps = found["dsps"]
    assert dsps["blocks"] == 8 and 40 < dsps["fmax_mhz"] < 100
    assert dsps["gmac_per_s"] == pytest.approx(8 * dsps["fmax_mhz"] / 1000)
    assert [row["type"] for row in found["rows"]] == ["W4A8", "W2A8", "ternary A8"]
    assert found["shape"] == [16, 1024, 32]
    fmax = recorded_fmax(board("icebreaker"), PRESETS["icebreaker"])
    for row, slots in zip(found["rows"], (4, 2, 2), strict=True):
        for name, mhz in (("clock", 24), ("fmax", fmax)):
            assert row["peak"][name]["gmac_per_s"] == pytest.approx(16 / slots * mhz / 1000)
            for run in row["runs"].values():     # 16 x 1024 x 32 products in so many cycles
                rate = 16 * 1024 * 32 / (run["cycles"] / (mhz * 1e6)) / 1e9
                assert run["rate"][name]["gmac_per_s"] == pytest.approx(rate)
                assert run["rate"][name]["multiple"] == pytest.approx(rate / dsps["gmac_per_s"])
        # The port is as wide as the widest word already.
        assert row["runs"]["board"] == row["runs"]["resident"]


def test_the_table(call):
    done = call("--board", "icebreaker", "-n", 32, "--set", "act_depth=128")
    text = " ".join(done.stdout.split())
    assert done.exit_code == 0 and "ternary A8" in text and "24 MHz" in text
    assert "multiple of 8 DSP blocks at" in text and "its Fmax is not known" in text
    assert "fmax" not in text


@pytest.mark.parametrize("arguments, text", [
    (("--board", "icebreaker", "-n", 4096), "bytes, and the board's memory has 131,072; take"),
    (("--board", "none"), "unknown board 'none'"),
    (("--board", "ulx3s-12f", "--machine", "tiny"), "16 bits wide"),
])
def test_refusals(arguments, text, call):
    done = call(*arguments)
    assert done.exit_code == (2 if text.startswith("unknown") else 1)
    assert text in done.stderr and not done.stdout


def test_types_that_do_not_run(call):
    """An element of 3-bit values has no W4."""
    done = call("--board", "icebreaker", "--pe", "mac", "--set", "value_bits=3", "-n", 32, "--json")
    assert [row["type"] for row in json.loads(done.stdout)["rows"]] == ["W2A8", "ternary A8"]


def test_the_multiply_accumulate_that_is_measured():
    """What stands around an iCE40's block computes: products of three cycles ago are summed."""
    dut, sums = DspMac("ice40"), []
    values = [(3, -7), (-128, -128), (127, -128), (5, 5), (0, 1)]

    async def bench(context):
        for a, w in values + [(0, 0)] * 4:
            context.set(dut.a, a)
            context.set(dut.w, w)
            await context.tick()
            sums.append(context.get(dut.total))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    total, want = 0, []
    for a, w in values:
        total += a * w
        want.append(total)
    assert sums[2:2 + len(values)] == want and sums[-1] == total
