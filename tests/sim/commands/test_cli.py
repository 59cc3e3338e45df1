"""The command line's contracts: JSON, exit status, one line per error."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

import bitwright.sim.verification.chain_fuzz
import bitwright.sim.verification.gemm_fuzz
import bitwright.sim.verilator.gemm_run
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES
from bitwright.models.quantization.schemes import SCHEMES, scheme

ENGINES = {
    "load": ["busy", "wait_w_free", "wait_a_free"],
    "execute": ["busy", "wait_w_ready", "wait_a_ready", "wait_out_free", "wait_tables"],
    "store": ["busy", "wait_out_ready"],
}


# ---- verify ---------------------------------------------------------------------------------
VERIFY = ("verify", "--gemm", "3x40x9", "--weights", "int4", "--machine", "tiny")


@pytest.mark.parametrize("more", [(), ("--group-size", "0"), ("--asymmetric", "--seed", "5"),
                                  ("--memory-latency", "100", "--memory-interval", "3"),
                                  ("--activations", "int8", "--set", "fabric=ecp5"),
                                  ("--pe", "serial", "--weights", "bitmod4")])
def test_verify_as_json(command, more):
    status, out, _ = command(*VERIFY, *more, "--json")
    assert status == 0
    found = json.loads(out)
    assert list(found) == ["mismatches", "rtl_cycles", "model_cycles", "roofline_cycles",
                           "rtl_total_cycles", "model_total_cycles", "engines"]
    assert found["mismatches"] == 0
    assert found["rtl_cycles"] == found["model_cycles"] >= found["roofline_cycles"] > 0
    assert found["rtl_total_cycles"] == found["model_total_cycles"] > found["rtl_cycles"]
    assert {name: list(engine["rtl"]) for name, engine in found["engines"].items()} == ENGINES
    for engine in found["engines"].values():
        assert list(engine) == ["rtl", "model"] and engine["rtl"] == engine["model"]


def test_verify_as_text(command):
    status, out, _ = command(*VERIFY)
    assert status == 0
    assert "tiny 3x40x9 int4" in out and "0 of 27 accumulators differ" in out
    assert "efficiency" in out


@pytest.mark.parametrize("name", ["run", "execute_wait_tables"])
def test_verify_fails_where_a_counter_differs(command, monkeypatch, name):
    run_cycles = bitwright.sim.verilator.gemm_run.run_cycles

    def wrong(*arguments):
        result = run_cycles(*arguments)
        return replace(result, counters={**result.counters, name: result.counters[name] + 1})

    monkeypatch.setattr(bitwright.sim.verilator.gemm_run, "run_cycles", wrong)
    status, out, _ = command(*VERIFY, "--json")
    assert status == 1
    found = json.loads(out)
    assert found["mismatches"] == 0
    assert (found["rtl_cycles"] != found["model_cycles"]) == (name == "run")
    waits = found["engines"]["execute"]
    assert (waits["rtl"] != waits["model"]) == (name == "execute_wait_tables")


def test_verify_fails_where_a_bit_differs(command, monkeypatch):
    mpgemm = bitwright.sim.verification.gemm_fuzz.mpgemm

    def wrong(a, qm):
        y = mpgemm(a, qm).copy()
        y[2, 8] ^= 1
        return y

    monkeypatch.setattr(bitwright.sim.verification.gemm_fuzz, "mpgemm", wrong)
    status, out, _ = command(*VERIFY, "--json")
    assert status == 1 and json.loads(out)["mismatches"] == 1


# ---- estimate -------------------------------------------------------------------------------
def test_estimate_as_json(command):
    status, out, err = command("estimate", "--gemm", "512x1024x1024", "--set", "memory_bits=128",
                               "--json")
    assert status == 0 and err == ""
    found = json.loads(out)
    asked = {"machine": "ulx3s-85f", "weights": "int4", "group_size": 64, "m": 512, "k": 1024,
             "n": 1024, "macs": 512 * 1024 * 1024, "row_mode": False, "bound": "compute"}
    assert {name: found[name] for name in asked} == asked
    peak = PRESETS["ulx3s-85f"].macs_per_cycle(4)
    assert found["cycles"] == pytest.approx(found["macs"] / peak / found["utilization"])
    assert found["roofline_efficiency"] == found["roofline_cycles"] / found["cycles"]
    assert 0.9 < found["roofline_efficiency"] < 1
    assert found["total_cycles"] > found["cycles"]
    assert found["dram_bytes"] >= found["compulsory_bytes"] > found["weight_bytes"]
    assert set(found["tile"]) == {"channels_per_column", "k_tiles", "token_tiles",
                                  "resident_activations"}
    assert {name: list(engine) for name, engine in found["engines"].items()} == ENGINES


def test_estimate_is_what_verify_measures(command):
    case = ("--gemm", "3x40x9", "--machine", "tiny", "--memory-latency", "50", "--json")
    measured, estimated = (json.loads(command(name, *case)[1]) for name in ("verify", "estimate"))
    assert estimated["cycles"] == measured["rtl_cycles"]
    assert estimated["total_cycles"] == measured["rtl_total_cycles"]


def test_estimate_as_text(command):
    status, out, _ = command("estimate", "--gemm", "1x64x64", "--memory-interval", "2")
    assert status == 0
    assert "cycles" in out and "memory" in out


# ---- fuzz -----------------------------------------------------------------------------------
def test_fuzz_names_what_differs(command, monkeypatch):
    assert command("fuzz", "--programs", "3", "--seed", "5", "--json")[:2] == (
        0, '{"programs": 3, "seed": 5, "failures": []}\n')
    mpgemm = bitwright.sim.verification.gemm_fuzz.mpgemm
    monkeypatch.setattr(bitwright.sim.verification.gemm_fuzz,
                        "mpgemm", lambda a, qm: mpgemm(a, qm) + 1)
    status, out, _ = command("fuzz", "--programs", "1", "--seed", "6")
    assert status == 1
    assert str(bitwright.sim.verification.gemm_fuzz.random_case(6)) in out
    assert "1 programs from seed 6: 1 differ" in out


def test_fuzz_of_chains_names_what_differs(command, monkeypatch):
    assert command("fuzz", "--chains", "--programs", "2", "--seed", "12", "--json")[:2] == (
        0, '{"programs": 2, "seed": 12, "failures": []}\n')
    mpgemm = bitwright.sim.verification.chain_fuzz.mpgemm
    monkeypatch.setattr(bitwright.sim.verification.chain_fuzz,
                        "mpgemm", lambda a, qm: mpgemm(a, qm) + 1)
    status, out, _ = command("fuzz", "--chains", "--programs", "1", "--seed", "13")
    assert status == 1 and str(bitwright.sim.verification.chain_fuzz.random_chain(13)) in out


# ---- errors ---------------------------------------------------------------------------------
@pytest.mark.parametrize("arguments", [
    (), ("verify",), ("bogus",), ("verify", "--gemm", "3x3"), ("verify", "--gemm", "3x0x3"),
    ("verify", "--gemm", "3x3x3x3"), ("estimate", "--gemm", "axbxc"),
    ("verify", "--gemm", "3x3x3", "--weights", "int9"), ("estimate", "--gemm", "1x1x1", "--bogus"),
    ("verify", "--gemm", "3x3x3", "--activations", "int5"),
    ("verify", "--gemm", "3x3x3", "--pe", "fma"),
    ("verify", "--gemm", "3x3x3", "--group-size", "-1"),
    ("verify", "--gemm", "3x3x3", "--seed", "-1"), ("verify", "--gemm", "3x3x3", "--set", "rows"),
    ("fuzz", "--programs", "0"),
], ids=" ".join)
def test_wrong_usage(command, arguments):
    status, _, _ = command(*arguments)
    assert status == 2


@pytest.mark.parametrize("arguments, message", [
    # 900000 products of up to 128 by 128 are beyond any int32.
    (("verify", "--gemm", "1x900000x8", "--weights", "int8", "--asymmetric"),
     f"beyond int32's {2**31 - 1}"),
    (("verify", "--gemm", "3x3x3", "--machine", "bogus"), "unknown machine 'bogus'"),
    (("estimate", "--gemm", "3x3x3", "--machine", "bogus.toml"),
     "cannot read machine file bogus.toml"),
    (("verify", "--gemm", "3x3x3", "--set", "bogus=3"), "unknown machine field 'bogus'"),
    (("verify", "--gemm", "3x3x3", "--set", "rows=many"), "rows must be an integer, not 'many'"),
    (("estimate", "--gemm", "3x3x3", "--set", "rows=3"), "rows must be a power of two, not 3"),
    (("verify", "--gemm", "3x3x3", "--weights", "bcq2", "--pe", "serial"),
     "datatype bcq2 does not run on serial elements: each of its bit-planes has a scale"),
    (("estimate", "--gemm", "3x3x3", "--weights", "fp6_e3m2", "--pe", "mac"),
     "datatype fp6_e3m2 does not run on mac elements: its values reach -448…448"),
    (("verify", "--gemm", "3x3x3", "--weights", "nowhere.toml"), "nowhere.toml cannot be read"),
    (("estimate", "--gemm", "3x3x3", "--memory-latency", "7"), "memory latency must be within"),
    (("estimate", "--gemm", "3x3x3", "--set", "weight_depth=8"), "weight_depth=8"),
    (("estimate", "--gemm", "64x512x512", "--set", "program_depth=8"), "program_depth="),
    (("estimate", "--gemm", "99999x64x99999"), "exceeds the 2 GiB address range"),
])
def test_errors_are_one_line(command, arguments, message):
    status, out, err = command(*arguments)
    assert status == (2 if message.startswith("unknown") else 1) and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize("name", [*DATATYPES, *MIXTURES, *SCHEMES])
def test_estimate_takes_every_name_that_formats_lists(command, name):
    """Those that the machine does not run are refused with the reason."""
    status, out, err = command("estimate", "--gemm", "8x512x16", "--weights", name, "--json")
    if status:
        assert status == 1 and "does not run on" in err
        return
    found, scheme_ = json.loads(out), scheme(name)
    assert found["cycles"] > 0 and found["group_size"] == (scheme_.block or scheme_.group_size)
    assert found["k"] == (640 if scheme_.has_outliers else 512)


def test_verify_takes_a_scheme(command):
    status, out, _ = command("verify", "--gemm", "4x256x4", "--weights", "int4_o8", "--json")
    assert status == 0 and json.loads(out)["mismatches"] == 0


def test_an_overflow_names_its_bound(command):
    _, _, err = command("verify", "--gemm", "1x900000x8", "--weights", "int8", "--asymmetric")
    assert "8x900000 int8 on tiny" in err
    assert int(err.split(" reach ")[1].split(",")[0]) > 2**31 - 1


def test_a_simulator_that_fails_is_one_line(command, monkeypatch):
    done = SimpleNamespace(returncode=3, stderr="harness: no\n", stdout="")
    monkeypatch.setattr("bitwright.sim.verilator.simulator.subprocess.run", lambda *_, **__: done)
    status, out, err = command(*VERIFY, "--json")
    assert (status, out, err) == (1, "", "error: simulator failed: harness: no\n")
