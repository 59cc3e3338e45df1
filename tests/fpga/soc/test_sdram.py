"""The SDRAM controller between random AXI traffic and the checking model of the chip."""

import json
import sys

import pytest

from bitwright.fpga.__main__ import main
from bitwright.fpga.commands import sdram as command_line
from bitwright.fpga.soc.sdram_controller import SdramController
from bitwright.fpga.soc.sdram_timing import COMMON, SdramTiming
from bitwright.fpga.toolchain.out_of_context import Surrounded, unit_verilog
from bitwright.fpga.toolchain.synthesis import DEVICES, measure_verilog
from bitwright.fpga.verification import sdram_traffic as sdram_bench
from bitwright.fpga.verification.sdram_traffic import bench, simulate
from bitwright.sim.verilator.verilator_build import SimulationError

FAST = {"clock_mhz": 125, "registers": 2}


def names(found):
    return {line.split(" at ")[0] for line in found["violations"]}


def test_times_are_rounded_to_the_safe_side():
    slow, fast = COMMON.cycles(100), COMMON.cycles(125)
    assert (slow.cas, slow.rcd, slow.rp, slow.ras, slow.rfc) == (2, 2, 2, 5, 7)
    assert (fast.cas, fast.rcd, fast.rp, fast.ras, fast.rfc) == (3, 3, 3, 6, 9)
    assert slow.interval == 781 and fast.interval == 976         # 7.8125 us, never more
    assert slow.interval * slow.power_up >= 20_000
    assert COMMON.cycles(133).ras + COMMON.cycles(133).rp >= 70 * 0.133


@pytest.mark.parametrize("clock", [5, 134])
def test_clocks_that_cannot_be(clock):
    with pytest.raises(ValueError, match=f"within 20…133 MHz, not {clock}"):
        COMMON.cycles(clock)


@pytest.mark.parametrize("delay", [1, 7])
def test_read_delays_that_cannot_be(delay):
    with pytest.raises(ValueError, match=f"must be 2…6 with CAS latency 2, not {delay}"):
        COMMON.cycles(100).delay(delay)
    assert COMMON.cycles(100).delay(None) == 2


@pytest.mark.parametrize("options", [{"clock_mhz": 100}, FAST], ids=["100 MHz", "125 MHz"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_traffic(options, seed):
    print(f"seed {seed}")
    found = simulate("random", seed=seed, cycles=400_000, **options)
    assert found["errors"] == [] and found["violations"] == []
    assert found["reads"]["bursts"] > 300 and found["writes"]["bursts"] > 300
    # Eight at the start, then one every 7.8125 us.
    intervals = (found["cycles"] / options["clock_mhz"] - 200) / 7.8125
    assert found["refreshes"] - 8 == pytest.approx(intervals, abs=2)


@pytest.mark.parametrize("options", [{"clock_mhz": 100}, FAST], ids=["100 MHz", "125 MHz"])
@pytest.mark.parametrize("kind, burst, least", [
    ("read", 256, 0.97), ("write", 256, 0.97), ("mixed", 256, 0.95), ("read", 16, 0.95),
    ("write", 16, 0.95)])
def test_efficiency(options, kind, burst, least):
    found = simulate(kind, burst=burst, **options)
    assert found["errors"] == [] and found["violations"] == []
    assert sdram_bench._share(found) > least
    if kind == "mixed":     # in turn
        assert abs(found["reads"]["bursts"] - found["writes"]["bursts"]) <= 8


def test_latency():
    found = simulate("latency", clock_mhz=100)
    assert found["errors"] == [] and found["violations"] == []
    delay = 3                                       # CAS latency 2 and one register
    latency = found["latency"]
    assert latency["open_row"] == 7 + delay
    assert latency["closed_bank"] == latency["open_row"] + 2    # tRCD
    assert latency["other_row"] == latency["closed_bank"] + 3   # tRP, and one to look
    assert latency["most"] < 30                     # refresh and all


@pytest.mark.parametrize("rule, value, name", [
    ("t_rcd", 20_001, "tRCD"), ("t_rp", 20_001, "tRP"), ("t_ras", 50_001, "tRAS"),
    ("t_rc", 70_001, "tRC"), ("t_rfc", 70_001, "tRFC"), ("t_wr", 3, "tWR"),
    ("t_mrd", 5, "tMRD"), ("power_up", 204_000_000, "power-up"), ("refresh", 7_000_000, "refresh"),
    ("initial_refreshes", 9, "power-up"), ("cas2_period", 10_001, "mode")])
def test_a_stricter_chip_is_broken_by_its_rule_alone(rule, value, name):
    found = simulate("random", clock_mhz=100, rules={rule: value}, cycles=120_000)
    assert names(found) == {name} and found["errors"] == []


def test_a_controller_that_does_not_refresh():
    found = simulate("write", clock_mhz=100, timing=SdramTiming(refresh_ms=6400), cycles=120_000)
    assert "refresh" in names(found) and found["errors"] == []
    assert names(found) <= {"refresh", "tRAS"}      # no refresh closes the rows either


def test_a_controller_that_opens_and_closes_too_soon():
    found = simulate("random", timing=SdramTiming(rcd=16, rp=16), cycles=120_000, **FAST)
    assert names(found) == {"tRCD", "tRP"}
    line = next(line for line in found["violations"] if line.startswith("tRCD"))
    assert line.endswith("16.000 ns since the activate, needs 20.000 ns")


def test_size_and_speed_on_ecp5():
    unit = Surrounded(SdramController(clock_mhz=100, read_delay=3))
    usage = measure_verilog(unit_verilog(unit), DEVICES["ecp5"], freq=150)
    assert usage.total < 500 and usage.fmax > 120 and usage.dsp == usage.ebr == 0


def test_a_rule_that_there_is_not():
    with pytest.raises(SimulationError, match="no rule t_xy=1"):
        simulate("random", clock_mhz=100, rules={"t_xy": 1})


def test_a_broken_rule_fails_the_bench(monkeypatch):
    whole = simulate
    monkeypatch.setattr(sdram_bench, "simulate",
                        lambda kind, **options: whole(kind, rules={"t_rcd": 20_001}, **options))
    with pytest.raises(SimulationError, match="^read: tRCD at cycle .* needs 20.001 ns$"):
        bench(clock_mhz=100)


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["fpga", *arguments])
    try:
        main()
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    return status, *capsys.readouterr()


def test_the_command(monkeypatch, capsys, tmp_path):
    path = tmp_path / "sdram.json"
    status, out, _ = run(monkeypatch, capsys, "sdram", "--json", "--out", str(path))
    found = json.loads(out)
    assert status == 0 and found == json.loads(path.read_text())
    assert set(found["efficiency"]) == {"read", "write", "mixed"}
    assert found["mb_per_s"]["read"] == pytest.approx(200 * found["efficiency"]["read"], abs=0.1)
    status, out, _ = run(monkeypatch, capsys, "sdram")
    assert status == 0 and "98.2%" in out and "open row 10" in out


def test_the_command_fails_in_one_line(monkeypatch, capsys):
    assert run(monkeypatch, capsys, "sdram", "--clock", "5")[0] == 2

    def fail(**options):
        raise SimulationError("read: tRCD at cycle 3: no")
    monkeypatch.setattr(command_line, "bench_sdram", fail)
    assert run(monkeypatch, capsys, "sdram") == (1, "", "error: read: tRCD at cycle 3: no\n")
