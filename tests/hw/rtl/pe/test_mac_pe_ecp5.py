"""The multiply-accumulate element in ECP5 primitives behaves as the plain one, in every cycle, on
every port."""

import os

import pytest
from amaranth.back import verilog
from amaranth.hdl import Shape
from amaranth.lib.wiring import Out

from bitwright.fpga.chips.registry import cell_models
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.pe.mac_pe import MacPE
from tests.hw.rtl.pe.test_pe_ecp5 import MAIN, package, run

CYCLES = 12_000
K4 = Machine(pe="mac", rows=1, cols=4, k_tile=4, builders=1, memory_bits=16, psum_depth=8)
K16 = Machine(pe="mac", rows=1, cols=2, k_tile=16, builders=2, psum_depth=16)
K64 = Machine(pe="mac", rows=1, cols=2, k_tile=64, builders=4, psum_depth=512)
SIZES = {  # of 18, 19 and 20 bits and more for S, by one, one and two DSP blocks
    "k4v2": K4.replace(value_bits=2), "k4v3": K4.replace(value_bits=3),
    "k4v4a16": K4.replace(value_bits=4, act_bits=16),
    "k4v9a4": K4.replace(value_bits=9, act_bits=4),
    "k4v9a16": K4.replace(value_bits=9, act_bits=16),
    "k16v4s": K16.replace(value_bits=4, dequant="serial"),
    "k16v9s5": K16.replace(value_bits=9, dequant="serial", scale_units=5),
    "k16v7": K16.replace(value_bits=7), "k16v8": K16.replace(value_bits=8),
    "k16v9": K16.replace(value_bits=9), "k64v2": K64.replace(value_bits=2),
    "k4v2d": K4.replace(value_bits=2, lane_mult="dsp"),
    "k4v9a16d": K4.replace(value_bits=9, act_bits=16, lane_mult="dsp"),
    "k16v6d": K16.replace(value_bits=6, lane_mult="dsp"),
}
# What a port is driven with; all others take uniformly random bits. For some time all activations
# are at one end of their range and all weights alike.
STIMULUS = {
    "rst": "cycle < 32 || $urandom % 64 == 0",
    "we_i": "cycle >= 64 && $urandom % 2 == 0",
    "swap_i": "cycle < 32 || $urandom % 8 == 0",
    "acc_en_i": "cycle < 64 || $urandom % 4 != 0",
    "last_i": "cycle < 64 || $urandom % 3 != 0",
    "w_step": "cycle < 32 ? '1 : RANDOM",
    "w_data": "cycle[11] ? RANDOM : {$bits(w_data) / ACT{cycle[10] ? ACT'(1) << ACT - 1"
              " : ~(ACT'(1) << ACT - 1)}}",
    "slice_i": "cycle[9] ? RANDOM : {$bits(slice_i) / VAL{cycle[8] ? VAL'(1) << VAL - 1"
               " : ~(VAL'(1) << VAL - 1)}}",
}


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
        words = f"{width}'({{{', '.join(['$urandom'] * -(-width // 32))}}})"
        return f"{name} <= {STIMULUS.get(name, 'RANDOM').replace('RANDOM', words)};"

    return "\n".join([
        f"module bench_{size}(input clk, output int different, output int changes);",
        f"localparam ACT = {config.act_bits}, VAL = {config.value_bits};",
        *(f"reg [{width - 1}:0] {name} = 0;" for name, width in inputs.items()),
        *(f"wire [{width - 1}:0] {name}_{kind};" for name, width in outputs.items()
          for kind in ("plain", "ecp5")),
        instance("plain"), instance("ecp5"), "reg [32:0] earlier = 0; int cycle = 0;",
        "always @(posedge clk) begin cycle <= cycle + 1;",
        *(drive(name, width) for name, width in inputs.items()),
        "earlier <= result_o_plain; changes <= changes + 32'(earlier != result_o_plain);",
        "different <= different + 32'(cycle > 96 && (" + " || ".join(
            f"{name}_plain !== {name}_ecp5" for name in outputs) + "));",
        "end", "endmodule", ""])


def top():
    lines = ["module top(input clk);", "int cycle = 0;"]
    for size in SIZES:
        lines += [f"int different_{size}, changes_{size};",
                  f"bench_{size} {size}(clk, different_{size}, changes_{size});"]
    lines += ["always @(posedge clk) begin", "cycle <= cycle + 1;", f"if (cycle == {CYCLES}) begin"]
    lines += [f'$display("{size} %0d %0d", different_{size}, changes_{size});' for size in SIZES]
    return "\n".join([*lines, "$finish;", "end", "end", "endmodule", ""])


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """{size: (cycles that differ, cycles in which the result changed)} of one Verilator run."""
    folder = tmp_path_factory.mktemp("ecp5")
    sources = {"top.sv": top(), "main.cpp": MAIN}
    for size, config in SIZES.items():
        for kind, fabric in (("plain", "generic"), ("ecp5", "ecp5")):
            name, dut = f"{kind}_{size}", MacPE(config.replace(fabric=fabric))
            sources[f"{name}.v"] = verilog.convert(dut, name=name, emit_src=False)
        sources[f"bench_{size}.sv"] = bench(size, config, dut.signature)
    for name, text in sources.items():
        (folder / name).write_text(text)

    root = package("verilator")
    environment = os.environ | {"VERILATOR_ROOT": str(root),
                                "MAKEFLAGS": "-j2 CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O0"}
    run(root / "bin" / "verilator_bin", "--cc", "--exe", "--build", "--top-module", "top",
        "-Wno-fatal", "-Wno-lint", "--Mdir", "obj", "-DNO_INCLUDES", *cell_models("ecp5"),
        *sources, cwd=folder, env=environment)
    report = run(folder / "obj" / "Vtop")
    rows = [line.split() for line in report.splitlines() if line.startswith("k")]
    return {size: (int(different), int(changes)) for size, different, changes in rows}


@pytest.mark.parametrize("size", SIZES)
def test_ecp5_equals_generic(counts, size):
    different, changes = counts[size]
    assert different == 0
    assert changes > CYCLES // 4
