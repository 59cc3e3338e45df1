"""The element in ECP5 or iCE40 primitives behaves as the plain one, in every cycle and on every
port."""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest
from amaranth.back import verilog
from amaranth.hdl import Shape
from amaranth.lib.wiring import Out

from bitwright.fpga.chips.registry import CHIP_FAMILIES, cell_models
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.pe.lookup_tables import shared_layout
from bitwright.hw.rtl.pe.lut_pe import LutPE

CYCLES = 20_000
K4 = Machine(rows=1, cols=4, k_tile=4, builders=1, memory_bits=16, psum_depth=8)
K16 = Machine(rows=1, cols=2, k_tile=16, builders=2, psum_depth=16)
K64 = Machine(rows=1, cols=2, k_tile=64, builders=4, psum_depth=512)
TL12 = Machine(rows=1, cols=16, k_tile=12, builders=2, psum_depth=16, memory_bits=16, table="tl2")
SIZES = {
    "k4": K4, "k16": K16, "k64": K64, "k16_a4": K16.replace(act_bits=4),
    "k16_a16": K16.replace(act_bits=16), "mux_k4": K4.replace(table="mux"),
    "mux_k64": K64.replace(table="mux"), "mux_k16_a4": K16.replace(table="mux", act_bits=4),
    "mux_k16_a16": K16.replace(table="mux", act_bits=16), "tl3": TL12.replace(k_tile=3, builders=1),
    "tl48": TL12.replace(k_tile=48, builders=4, psum_depth=512),
    "ice_k4": K4.replace(table="mux", fabric="ice40"),
    "ice_k16": K16.replace(table="mux", fabric="ice40"),
    "ice_k16_a16": K16.replace(table="mux", fabric="ice40", act_bits=16),
    "ice_ram": K16.replace(fabric="ice40"), "ice_tl12": TL12.replace(fabric="ice40"),
    "tl12_a4": TL12.replace(act_bits=4), "tl12_a16": TL12.replace(act_bits=16),
}
# What a port is driven with; all others take uniformly random bits. For some time all table entries
# are at one end of their range and all indices and signs alike. What the tree registers hold
# before the first slots is not defined: it is kept out of ``acc`` and of the partial sums.
STIMULUS = {
    "rst": "cycle < 32 || $urandom % 64 == 0",
    "we_i": "cycle >= 64 && $urandom % 2 == 0",
    "acc_en_i": "$urandom % 4 != 0",
    "last_i": "$urandom % 3 == 0",
    "w_data": "cycle[11] ? RANDOM : cycle[10] ? LOWEST : HIGHEST",
    "shared_i": "cycle[11] ? RANDOM : cycle[10] ? LOWEST : HIGHEST",
    "slice_i": "cycle[9] ? RANDOM : {$bits(slice_i){cycle[8]}}",
}


def extreme(config, name, highest):
    """All entries at one end of their range, as ``w_data`` or ``shared_i``."""
    if name == "w_data":
        end = (1 << config.table_bits - 1) - highest
        return sum(end << i * config.table_bits for i in range(config.builders))
    odd = -highest & (1 << config.tables) - 1
    if config.table == "lutram":
        const = {"parity": [highest] * config.tables}
    else:
        end = (1 << config.act_bits - 1) - 1 if highest else -(1 << config.act_bits - 1)
        const = {"pairs": [{"high": [end] * 2, "low": [end] * 2, "odd_high": highest,
                            "odd_low": 0}] * config.tables}
    return shared_layout(config).const(const | {"odd": odd}).as_value().value


def package(name):
    return Path(importlib.util.find_spec(name).submodule_search_locations[0])


def bench(size, config, signature):
    """A module that holds both elements of a size, drives them alike and counts differences."""
    ports = {name: (Shape.cast(member.shape).width, member.flow)
             for name, member in signature.members.items()}
    inputs = {"rst": 1, **{name: width for name, (width, flow) in ports.items() if flow != Out}}
    outputs = {name: width for name, (width, flow) in ports.items() if flow == Out}

    def instance(kind):
        pins = [f".{name}({name})" for name in inputs]
        pins += [f".{name}({name}_{kind})" for name in outputs]
        return f"{kind}_{size} {kind}(.clk(clk), {', '.join(pins)});"

    def drive(name, width):
        value = STIMULUS.get(name, "RANDOM")
        for word, highest in (("LOWEST", 0), ("HIGHEST", 1)):
            if word in value:
                value = value.replace(word, f"{width}'h{extreme(config, name, highest):x}")
        words = f"{width}'({{{', '.join(['$urandom'] * -(-width // 32))}}})"
        return f"{name} <= {value.replace('RANDOM', words)};"

    lines = [f"module bench_{size}(input clk, output int different, output int changes);"]
    lines += [f"reg [{width - 1}:0] {name} = 0;" for name, width in inputs.items()]
    lines += [f"wire [{width - 1}:0] {name}_{kind};" for name, width in outputs.items()
              for kind in ("plain", "cells")]
    lines += [instance("plain"), instance("cells"), "reg [32:0] earlier = 0; int cycle = 0;",
              "always @(posedge clk) begin cycle <= cycle + 1;"]
    lines += [drive(name, width) for name, width in inputs.items()]
    lines += ["earlier <= result_o_plain; changes <= changes + 32'(earlier != result_o_plain);",
              "different <= different + 32'(cycle > 64 && (" + " || ".join(
                  f"{name}_plain !== {name}_cells" for name in outputs) + "));"]
    return "\n".join([*lines, "end", "endmodule", ""])


def top():
    lines = ["module top(input clk);", "int cycle = 0;"]
    for size in SIZES:
        lines += [f"int different_{size}, changes_{size};",
                  f"bench_{size} {size}(clk, different_{size}, changes_{size});"]
    lines += ["always @(posedge clk) begin", "cycle <= cycle + 1;", f"if (cycle == {CYCLES}) begin"]
    lines += [f'$display("size {size} %0d %0d", different_{size}, changes_{size});'
              for size in SIZES]
    return "\n".join([*lines, "$finish;", "end", "end", "endmodule", ""])


MAIN = """
#include "Vtop.h"
int main() {
    VerilatedContext context;
    Vtop top{&context};
    while (!context.gotFinish()) { top.clk = !top.clk; top.eval(); context.timeInc(1); }
}
"""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """{size: (cycles that differ, cycles in which the result changed)} of one Verilator run."""
    folder = tmp_path_factory.mktemp("cells")
    sources = {"top.sv": top(), "main.cpp": MAIN}
    for size, config in SIZES.items():
        for kind in ("plain", "cells"):
            cells = "ice40" if config.fabric == "ice40" else "ecp5"
            fabric = "generic" if kind == "plain" else cells
            name, dut = f"{kind}_{size}", LutPE(config.replace(fabric=fabric))
            sources[f"{name}.v"] = verilog.convert(dut, name=name, emit_src=False)
        sources[f"bench_{size}.sv"] = bench(size, config, dut.signature)
    for name, text in sources.items():
        (folder / name).write_text(text)

    root = package("verilator")
    environment = os.environ | {"VERILATOR_ROOT": str(root),
                                "MAKEFLAGS": "-j2 CFG_CXXFLAGS_PCH_I=-include"}
    run(root / "bin" / "verilator_bin", "--cc", "--exe", "--build", "--top-module", "top",
        "-Wno-fatal", "-Wno-lint", "--Mdir", "obj",
        "-DNO_INCLUDES", *(path for cells in CHIP_FAMILIES for path in cell_models(cells)),
        *sources,
        cwd=folder, env=environment)
    report = run(folder / "obj" / "Vtop")
    rows = [line.split() for line in report.splitlines() if line.startswith("size ")]
    return {size: (int(different), int(changes)) for _, size, different, changes in rows}


@pytest.mark.parametrize("size", SIZES)
def test_cells_equal_generic(counts, size):
    different, changes = counts[size]
    assert different == 0
    assert changes > CYCLES // 4
