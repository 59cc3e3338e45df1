"""A core taken back from a finished iCE40 bitstream runs programs as the models say."""

import os
import re
import shutil
import sys

import pytest

from bitwright.fpga.__main__ import main
from bitwright.fpga.toolchain import icebox_readback as bitstream
from bitwright.fpga.toolchain.icebox_readback import bitstream_cells, read_back, wrapper
from bitwright.fpga.toolchain.synthesis import ToolError
from bitwright.fpga.verification.netlist_check import check_bitstream
from bitwright.hw.machine.presets import PRESETS

# Its scales meet no multiplier: the chip has none.
MACHINE = PRESETS["icebreaker"].replace(dequant="serial")
# No package brings it; .ci/run installs it where it can.
needs_icebox = pytest.mark.skipif(
    shutil.which("icebox_vlog") is None,
    reason="icebox_vlog was not found: install fpga-icestorm")


@needs_icebox
def test_bits_and_counters_agree():
    found = check_bitstream(MACHINE, programs=8, seed=20)
    assert found.failures == [] and found.programs == 8 and found.cycles > 5_000
    assert found.family == "ice40" and set(found.cells) == {"LUT4", "carries", "FF", "RAM40_4K"}
    assert found.cells["FF"] > 2_000 and found.cells["LUT4"] > 3_000
    assert 20 < found.cells["RAM40_4K"] <= 32 and found.cells["carries"] > 400


CHIP = """module chip(io_1_0_0, io_2_0_0);
input io_1_0_0;
output io_2_0_0;
/* FF  1  2  3 */ always @(posedge n1) if (n2) n3 <= n4 ? 1'b0 : n5;
/* FF  1  2  4 */ assign n6 = n7;
assign n5 = /* LUT    1  2  3 */ n8;
assign n9 = /* CARRY  1  2  3 */ n8;
SB_RAM40_4K #(
) ram40_8_1 (
);
"""


def test_what_is_counted():
    assert bitstream_cells(CHIP) == {"LUT4": 1, "carries": 1, "FF": 1, "RAM40_4K": 1}


def test_ports_by_place():
    places = {"clk": "io_1_0_0", "rst": "io_1_0_0", "m_axi_araddr[3]": "io_2_0_0",
              "m_axi_rvalid": "io_1_0_0", "m_axi_rlast": "io_9_9_0"}
    text = wrapper(MACHINE, places, CHIP)
    pins = re.search(r"chip chip\((.*)\);", text)[1].split(", ")
    assert pins == [".io_1_0_0(clk)", ".io_1_0_0(rst)", ".io_2_0_0(m_axi_araddr[3])",
                    ".io_1_0_0(m_axi_rvalid[0])"]    # the core does not read rlast here
    assert "assign m_axi_araddr[4] = 1'b0;" in text and "m_axi_araddr[3] =" not in text
    assert "assign m_axi_arsize = 3'd1;" in text and "assign m_axi_wstrb = 2'd3;" in text


def fake(folder, script, monkeypatch):
    path = folder / "icebox_vlog"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin")


def test_directions_stand_by_themselves(tmp_path, monkeypatch):
    fake(tmp_path, 'echo; echo "module chip (input a, output b);"; echo "wire a;reg b = 0;"',
         monkeypatch)
    assert read_back(".device 8k") == (
        "\nmodule chip(a, b);\ninput a;\noutput b;\n\nwire a;reg b = 0;\n")


def test_the_tool_fails_or_is_not_there(tmp_path, monkeypatch):
    fake(tmp_path, "echo first >&2; echo 'AssertionError: two drivers' >&2; exit 1", monkeypatch)
    with pytest.raises(ToolError, match="icebox_vlog failed: AssertionError: two drivers"):
        read_back(".device 8k")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(ToolError, match="icebox_vlog was not found: install fpga-icestorm"):
        read_back(".device 8k")


def test_nothing_is_built_without_the_tool(monkeypatch):
    monkeypatch.setenv("PATH", "/none")
    monkeypatch.setattr(bitstream, "Stage", lambda *arguments: pytest.fail("built"))
    with pytest.raises(ToolError, match="install fpga-icestorm"):
        bitstream.bitstream_netlist(MACHINE)


@pytest.mark.parametrize("arguments, status, text", [
    ((), 1, "machine tiny has memory_bits=32, and the pins of an HX8K do for 16"),
    (("--family", "ecp5"), 2, "is for ice40, not ecp5"),
])
def test_refusals(monkeypatch, capsys, arguments, status, text):
    monkeypatch.setattr(sys, "argv", ["fpga", "netlist", "--bitstream", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    assert text in " ".join(capsys.readouterr().err.replace("│", " ").split())
