"""A toy element from one file, loaded by ``--plugin``, through the public commands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.compiler.tiny import QUERY, bert_tensors, write_checkpoint

PLUGIN = Path(__file__).with_name("shift_add.py")
MAIN = "from bitwright.fpga.commands.root_command import main; main()"
GEMM = ("--gemm", "5x48x9", "--weights", "int4", "--machine", "tiny", "--pe", "shift-add")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shift-add")


@pytest.fixture(scope="module")
def bitwright(folder):
    """``bitwright("map", …)``: the finished process, in an empty folder."""
    def run(*arguments, plugin=True, status=0):
        options = ("--plugin", PLUGIN) if plugin else ()
        done = subprocess.run([sys.executable, "-c", MAIN, *map(str, (*options, *arguments))],
                              cwd=folder, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done
    return run


@pytest.fixture(scope="module")
def mapped(bitwright, folder):
    checkpoint = write_checkpoint(folder / "model", bert_tensors())
    bitwright("map", checkpoint, "--machine", "tiny", "--pe", "shift-add", "--weights", "int4",
              "--tokens", 5, "--group-size", 16, "--out", "mapped")
    return folder / "mapped"


def test_rtl_gives_the_golden_bits_of_a_mapped_layer(bitwright, mapped):
    report = json.loads((mapped / "report.json").read_text())
    assert report["pe"] == "shift-add"
    golden, rtl = (json.loads(bitwright("run", mapped, "--layer", QUERY, "--backend", backend,
                                        "--json").stdout) for backend in ("golden", "rtl"))
    assert rtl["sha256"] == golden["sha256"] and rtl["mismatches"] == 0
    assert rtl["cycles"] == rtl["model_cycles"]


@pytest.mark.parametrize("weights", ["int4", "int8", "nf4", "ternary"])
def test_the_estimate_has_the_cycles_of_the_rtl(bitwright, weights):
    gemm = (*GEMM[:3], weights, *GEMM[4:])
    found = json.loads(bitwright("verify", *gemm, "--json").stdout)
    estimate = json.loads(bitwright("estimate", *gemm, "--json").stdout)
    assert found["mismatches"] == 0
    assert found["rtl_cycles"] == found["model_cycles"] == estimate["cycles"]


def test_the_layer_runs_on_shift_add_though_mapped_for_tables(bitwright, folder):
    checkpoint = write_checkpoint(folder / "model", bert_tensors())
    bitwright("map", checkpoint, "--machine", "tiny", "--tokens", 5, "--group-size", 16,
              "--out", "tables")
    run = ("run", "tables", "--layer", QUERY, "--json", "--backend")
    golden = json.loads(bitwright(*run, "golden").stdout)
    rtl = json.loads(bitwright(*run, "rtl", "--pe", "shift-add").stdout)
    assert rtl["sha256"] == golden["sha256"] and rtl["mismatches"] == 0


@pytest.mark.slow
def test_a_cocotb_bench_of_it_passes(tmp_path):
    code = f"""
from pathlib import Path
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.plugins import load_plugin
from bitwright.sim.cocotb_benches.runner import run_bench
load_plugin({str(PLUGIN)!r})
found = run_bench(PRESETS["tiny"].with_pe("shift-add"), "gemm", seed=1, tests=["every_type/form=0"],
                  root=Path("build"))
assert (found.tests, found.failed) == (1, ()), found
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_commands_list_it_and_write_its_verilog(bitwright, folder):
    row = json.loads(bitwright("hw", "elements", "--json").stdout)[-1]
    assert (row["name"], row["weights"], row["slice_bits"]) == ("shift-add", "codes", 20)
    assert "shift-add" in bitwright("hw", "elements").stdout
    (row,) = (field for field in json.loads(bitwright(
        "hw", "machines", "--fields", "--json").stdout) if field["name"] == "pe")
    assert row["among"][-1] == "shift-add"
    said = bitwright("hw", "verilog", "--machine", "tiny", "--set", "pe=shift-add", "--set",
                     "k_tile=4", "--set", "builders=1", "--out", "core.v").stdout
    assert "core.v: machine tiny" in said
    assert "product3" in (folder / "core.v").read_text()


def test_refusals_are_one_line(bitwright, mapped, folder):
    large = (*GEMM, "--set", "k_tile=128")
    assert bitwright("estimate", *large, status=1).stderr == (
        "error: element shift-add does not fit the machine: it takes k_tile ≤ 64; use --set "
        "k_tile=64\n")
    said = bitwright("run", mapped, "--layer", QUERY, plugin=False, status=1).stderr
    assert "machine field pe must be one of lut, serial, mac, not 'shift-add'" in said
    assert said.count("\n") == 1
    said = bitwright("map", folder / "model", *GEMM[4:], "--weights", "bcq2", "--tokens", 5,
                     "--out", "no", status=1).stderr
    assert "bcq2 does not run on shift-add elements" in said and said.count("\n") == 1


def test_its_sums_hold_the_extremes():
    from bitwright.hw.elements import ELEMENTS
    from bitwright.hw.machine.presets import PRESETS
    from bitwright.models.plugins import load_plugin

    load_plugin(PLUGIN)
    try:
        machine = PRESETS["tiny"].with_pe("shift-add")
        most = 15 * machine.k_tile << machine.act_bits - 1
        assert np.abs([most, -most]).max() < 1 << machine.acc_bits - 1
    finally:
        ELEMENTS.unregister("shift-add")


def test_the_page_shows_the_code_of_the_file():
    page = (Path(__file__).parents[3] / "docs/how-to/add-an-element.md").read_text()
    shown = re.findall(r"^```py\n(.*?)^```$", page, re.M | re.S)
    assert len(shown) == 4 and all(code in PLUGIN.read_text() for code in shown)
