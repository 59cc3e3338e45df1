import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.rtl.core.core import core_ports

ROOT = Path(__file__).parents[4]


def hw(*arguments, cwd, seed=0):
    return subprocess.run(
        [sys.executable, "-m", "hw", *map(str, arguments)], cwd=cwd, text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed), "COLUMNS": "200"})


@pytest.fixture(scope="module")
def verilog(tmp_path_factory):
    """The same machine twice, in folders and under hash seeds of their own."""
    texts = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp(f"run{seed}")
        done = hw("verilog", "--machine", "tiny", "--out", "core.v", "--json", cwd=folder,
                  seed=seed)
        assert done.returncode == 0, done.stderr
        assert [path.name for path in folder.iterdir()] == ["core.v"]
        texts.append(((folder / "core.v").read_text(), json.loads(done.stdout), folder))
    return texts


def test_same_bytes_under_any_hash_seed(verilog):
    (first, report, _), (second, again, _) = verilog
    assert first == second and report == again


def test_no_paths_in_it(verilog):
    for text, _, folder in verilog:
        assert str(folder) not in text and str(ROOT) not in text
        assert ".py" not in text and "(* src" not in text


def test_report_lists_the_ports_of_the_module(verilog):
    text, report, _ = verilog[0]
    tiny = PRESETS["tiny"]
    assert report["machine"] == "tiny" and report["identity"] == f"{tiny.identity():08x}"
    assert report["parameters"] == tiny.to_dict()
    module = text[text.index("module bitwright("):]
    module = module[:module.index("endmodule")]
    ports = {}
    for direction, high, name in re.findall(
            r"^  (input|output) (?:\[(\d+):0\] )?(\w+);$", module, re.MULTILINE):
        ports[name] = (direction.removesuffix("put"), int(high or 0) + 1)
    assert ports == {port["name"]: (port["direction"], port["width"]) for port in report["ports"]}
    assert ports == core_ports(tiny)


@pytest.mark.parametrize("bits", [16, 32])
def test_bus_ports(bits):
    ports = core_ports(PRESETS["tiny"].replace(memory_bits=bits))
    for channel, direction in (("aw", "out"), ("w", "out"), ("ar", "out"), ("b", "in"),
                               ("r", "in")):
        assert ports[f"m_axi_{channel}valid"] == (direction, 1)
        assert ports[f"m_axi_{channel}ready"] == ("in" if direction == "out" else "out", 1)
    for channel, direction in (("aw", "in"), ("w", "in"), ("ar", "in"), ("b", "out"),
                               ("r", "out")):
        assert ports[f"s_axil_{channel}valid"] == (direction, 1)
    assert ports["m_axi_wdata"] == ("out", bits) and ports["m_axi_rdata"] == ("in", bits)
    assert ports["m_axi_wstrb"] == ("out", bits // 8)
    assert ports["clk"] == ports["rst"] == ("in", 1)


@pytest.mark.parametrize("arguments, code, message", [
    (["verilog", "--machine", "huge", "--out", "x.v"], 2, "unknown machine 'huge'"),
    (["verilog", "--machine", "tiny", "--out", "x.v", "--set", "cols=3"], 1, "memory_bits=32"),
    (["verilog", "--machine", "tiny", "--out", "x.v", "--set", "cols"], 2, "KEY=VALUE"),
    (["verilog", "--machine", "tiny", "--out", "x.v", "--set", "raws=3"], 2, "'raws'"),
    (["verilog", "--machine", "tiny", "--out", "absent/x.v"], 1, "absent: there is no such folder"),
    (["verilog", "--machine", "tiny", "--out", "."], 1, "is a folder"),
    (["verilog", "--machine", "tiny"], 2, "--out"),
    (["verilog", "--machine", "tiny", "--out", "x.v", "--colour"], 2, "--colour"),
    (["paint"], 2, "paint"),
])
def test_errors(arguments, code, message, tmp_path):
    done = hw(*arguments, cwd=tmp_path)
    assert done.returncode == code and message in done.stderr and not done.stdout
    assert "Traceback" not in done.stderr
    if "Usage" not in done.stderr:
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_older_file_is_replaced_whole_or_left(tmp_path):
    (tmp_path / "core.v").write_text("before")
    assert hw("verilog", "--machine", "huge", "--out", "core.v", cwd=tmp_path).returncode == 2
    assert (tmp_path / "core.v").read_text() == "before"
    done = hw("verilog", "--machine", "tiny", "--out", "core.v", "--set", "rows=1", cwd=tmp_path)
    assert done.returncode == 0 and "machine tiny" in done.stdout
    assert "module bitwright(" in (tmp_path / "core.v").read_text()


def test_machines_and_isa(tmp_path):
    listed = json.loads(hw("machines", "--json", cwd=tmp_path).stdout)
    assert [machine["name"] for machine in listed] == list(PRESETS)
    assert listed == [preset.to_dict() for preset in PRESETS.values()]
    text = hw("machines", cwd=tmp_path).stdout
    assert "1024 W4A8 MAC/cycle" in next(ln for ln in text.splitlines() if "ulx3s-85f" in ln)
    assert "slots0" in hw("isa", cwd=tmp_path).stdout
    document = (ROOT / "docs/reference/isa.md").read_text(encoding="utf-8")
    assert hw("isa", "--markdown", cwd=tmp_path).stdout == document
