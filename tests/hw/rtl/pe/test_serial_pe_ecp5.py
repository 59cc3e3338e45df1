"""The bit-serial element in ECP5 primitives behaves as the plain one, in every cycle, on every
port. Digits are of two slots at most, so that their values stay within ±40."""

import os

import pytest
from amaranth.back import verilog
from amaranth.hdl import Shape
from amaranth.lib.wiring import Out

from bitwright.fpga.chips.registry import cell_models
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.pe.serial_pe import SerialPE
from tests.hw.rtl.pe.test_pe_ecp5 import MAIN, package, run

CYCLES = 12_000
K16 = Machine(pe="serial", rows=1, cols=2, k_tile=16, builders=2, psum_depth=16)
SIZES = {
    "k4": Machine(pe="serial", rows=1, cols=2, k_tile=4, builders=1, psum_depth=8),
    "k16": K16,
    "k16a4": K16.replace(act_bits=4),
    "k16s": K16.replace(dequant="serial"),
    "k16s3": K16.replace(dequant="serial", scale_units=3),
    "k16s9": K16.replace(dequant="serial", scale_units=9),
    "k32": Machine(pe="serial", rows=1, cols=2, k_tile=32, builders=4, psum_depth=64),
    "k32s5": Machine(pe="serial", rows=1, cols=2, k_tile=32, builders=4, psum_depth=64,
                     dequant="serial", scale_units=5),
    "k64": Machine(pe="serial", rows=1, cols=2, k_tile=64, builders=4, psum_depth=512),
}
# What a port is driven with; all others take uniformly random bits. For some time all activations
# are at one end of their range and all terms alike; lane 0 then makes all signs negative or not.
STIMULUS = {
    "rst": "cycle < 32 || $urandom % 64 == 0",
    "we_i": "cycle >= 64 && $urandom % 2 == 0",
    "swap_i": "cycle < 32 || $urandom % 8 == 0",
    "acc_en_i": "$urandom % 4 != 0",
    "last_i": "open_next || $urandom % 3 == 0",
    "w_step": "cycle < 32 ? '1 : RANDOM",
    "w_data": "cycle[11] ? RANDOM : {$bits(w_data) / ACT{cycle[10] ? ACT'(1) << ACT - 1"
              " : ~(ACT'(1) << ACT - 1)}}",
    "slice_i": "cycle[9] ? RANDOM : {{$bits(slice_i) / 4 - 1{4'h7}}, cycle[8], 3'h7}",
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
        f"localparam ACT = {config.act_bits};",
        *(f"reg [{width - 1}:0] {name} = 0;" for name, width in inputs.items()),
        *(f"wire [{width - 1}:0] {name}_{kind};" for name, width in outputs.items()
          for kind in ("plain", "ecp5")),
        instance("plain"), instance("ecp5"), "reg [32:0] earlier = 0; int cycle = 0;",
        "reg open = 0; wire open_next = rst ? 0 : acc_en_i ? !last_i : open;",
        "always @(posedge clk) begin cycle <= cycle + 1; open <= open_next;",
        *(drive(name, width) for name, width in inputs.items()),
        "earlier <= result_o_plain; changes <= changes + 32'(earlier != result_o_plain);",
        "different <= different + 32'(cycle > 64 && (" + " || ".join(
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
            name, dut = f"{kind}_{size}", SerialPE(config.replace(fabric=fabric))
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
