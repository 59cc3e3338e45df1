"""A board from one file, loaded by ``--plugin``: listed, built up to Verilog, simulated."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bitwright.hw.machine.presets import PRESETS
from tests.compiler.tiny import QUERY
from tests.fpga.host.host_bench import map_model

PLUGIN = "toy_board.py"
MACHINE = PRESETS["icebreaker"].replace(name="icesugar", act_depth=128)
LISTED = """
import sys
from bitwright.fpga.boards.registry import BOARDS
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.hw.machine.clocks import clock_mhz
from bitwright.models.plugins import load_plugin
load_plugin(sys.argv[1])
board = BOARDS["icesugar"]
assert board.chip_family is CHIP_FAMILIES["ice40"] and clock_mhz("icesugar") == 18
assert not [name for name in sys.modules if name.startswith("amaranth")]
from bitwright.fpga.toolchain.bitstream_build import elaborate
verilog, pins = elaborate(board, board.preset())
print(pins)
print(verilog)
"""


def test_it_is_listed(bitwright):
    rows = json.loads(bitwright(PLUGIN, "boards", "--json").stdout)
    found = rows[-1]
    assert (found["board"], found["chip"], found["clock_mhz"]) == ("icesugar", "iCE40UP5K", 18)
    assert found["memory"] == "on-chip SPRAM, 64 KiB" and found["memory_bytes"] == 1 << 16
    assert found["link"] == "UART, 500,000 baud" and found["takes"]["rams"] <= 30


def test_its_verilog_and_pins_and_no_amaranth_before(tmp_path):
    plugin = Path(__file__).with_name(PLUGIN)
    done = subprocess.run([sys.executable, "-c", LISTED, str(plugin)], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for pin, site in (("clk12_0__io", "35"), ("switch_0__io", "18"), ("uart_0__rx__io", "4"),
                      ("uart_0__tx__io", "6")):
        assert f"set_io {pin} {site}" in lines
    assert done.stdout.count("SB_SPRAM256KA #") + len(re.findall(
        r"^ *SB_SPRAM256KA \S+ \($", done.stdout, re.M)) == 2       # 32 KiB each
    assert re.search(r"DIVF\(7'h2f\)", done.stdout)                 # 12 MHz x 48 / 32


def test_a_layer_runs_on_it_in_simulation(bitwright, tmp_path):
    image = map_model(tmp_path, machine=MACHINE)
    done = bitwright(PLUGIN, "board-sim", "--board", "icesugar", "--image", image, "--layer",
                     QUERY, "--json")
    found = json.loads(done.stdout)
    assert found["board"] == "icesugar" and found["machine"] == "icesugar"
    assert found["mismatches"] == 0 and found["clock_khz"] == 18_000
    assert found["identity"] == MACHINE.identity()


@pytest.mark.parametrize("arguments, said, status", [
    (("build", "--board", "icesuger"), "unknown board 'icesuger', did you mean 'icesugar'?", 2),
    (("build", "--board", "icesugar", "--machine", "tiny"), "--set memory_bits=16", 1)])
def test_refusals(bitwright, arguments, said, status):
    done = bitwright(PLUGIN, *arguments, status=status)
    assert said in done.stderr and not done.stdout
