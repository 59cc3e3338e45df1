"""The protocol of a chip family: what the tools must know to make a bitstream for its chips."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bitwright.hw.machine.chip_resources import Use

__all__ = ["ChipFamily", "Sites", "Usage", "achieved_mhz", "cells_used", "number_in"]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Cells of a routed unit. ``logic``, ``carry``, ``ram`` and ``ramw`` are LUT4s by kind (all
    ``logic`` where a logic cell holds LUT, carry and flip-flop); ``fmax`` is in MHz."""
    total: int
    logic: int
    carry: int
    ram: int
    ramw: int
    ff: int
    dsp: int
    ebr: int
    fmax: float


@dataclass(frozen=True, kw_only=True)
class Sites:
    """Holds a chip's height in tiles, and column, row and nextpnr's name of its sites by kind of
    cell (``dsp``, ``ram``)."""
    height: int
    places: Mapping[str, tuple[tuple[int, int, str], ...]]


class ChipFamily(ABC):
    """One family of chips. Register an instance with
    :data:`bitwright.fpga.chips.registry.CHIP_FAMILIES`.

    The class attributes describe the open tools. Their defaults suit most families of nextpnr.
    No method imports Amaranth before it is called.
    """

    #: What ``--family`` takes; machines written in the family's cells have it as ``fabric``.
    name: ClassVar[str]
    synth: ClassVar[str]            #: Yosys' command, with its options
    nextpnr: ClassVar[str]          #: the command of place and route, and its Python package
    packer: ClassVar[str]           #: the command that makes the bitstream, of the same package
    pack_options: ClassVar[tuple[str, ...]] = ()
    constraints: ClassVar[str]      #: suffix of the pin constraints, and nextpnr's option for them
    routed: ClassVar[str]           #: suffix of the routed design
    routed_option: ClassVar[str]    #: nextpnr's option for it
    suffix: ClassVar[str]           #: suffix of the bitstream
    #: Environment variables by which Amaranth's platform finds the tools.
    tools: ClassVar[Mapping[str, str]] = {}
    #: Kinds of cells by the cell's type: lut, carry, lut_ram, ff, ram, spram, dsp.
    cells: ClassVar[Mapping[str, str]] = {}
    #: LUT4s that a cell takes, by the cell's type.
    lut4s: ClassVar[Mapping[str, int]] = {}
    #: Sites of multipliers and block RAMs, by chip, for a floorplan of large arrays.
    sites: ClassVar[Mapping[str, Sites]] = {}
    #: Verilog models of clock and I/O cells for the simulation of a board; None without any.
    pin_models: ClassVar[Path | None] = None
    #: Options of nextpnr for a unit that is measured by itself.
    unit_options: ClassVar[tuple[str, ...]] = ()
    #: Whether such a unit stands behind two pins, because its ports are more than the chip's pins.
    pinned: ClassVar[bool] = False

    @abstractmethod
    def clock(self, m: Any, platform: Any, oscillator_mhz: float, clock_mhz: float,
              phase: float) -> Any:
        """Add the clock of the board's oscillator to the Amaranth module ``m``.

        Returns an object with the signals ``clock`` and ``locked``. Where the family can shift a
        clock, domain ``chip`` follows by ``phase`` degrees.
        """

    @abstractmethod
    def parse(self, log: str, report: dict[str, Any]) -> Usage:
        """Read what nextpnr's log and JSON report say of a routed design."""

    @abstractmethod
    def cell_models(self) -> tuple[Path, ...]:
        """List Verilog files with a model of every cell that synthesis makes."""

    def on_chip_memory(self, size: int) -> Any:
        """Make an AXI4 memory of ``size`` bytes of the chip's own RAM."""
        from bitwright.fpga.soc.on_chip_memory import OnChipMemory

        return OnChipMemory(size)

    def memory_rams(self, size: int) -> int:
        """Count the block RAMs that such a memory takes."""
        return 0

    def board_script(self, top: str) -> str:
        """Write the Yosys script from ``top.v`` to the netlist ``top.json`` of a whole board."""
        return f"read_verilog {top}.v; {self.synth} -top {top} -json {top}.json"

    def unit_script(self, synth: str, top: str) -> str:
        """Write Yosys commands for a netlist of module ``top`` by the command ``synth``."""
        return f"{synth} -top {top}"

    def kind(self, cell: str) -> str | None:
        """Name the kind of a cell by its type; None for one that is not counted."""
        return self.cells.get(cell)

    def use(self, cells: Iterable[Mapping[str, Any]]) -> Use:
        """Count what the cells of a synthesized netlist (Yosys JSON) take of a chip."""
        counted = dict.fromkeys(("ff", "ram", "dsp"), 0)
        luts = 0
        for cell in cells:
            luts += self.lut4s.get(cell["type"], 0)
            kind = self.kind(cell["type"])
            if kind in counted:
                counted[kind] += 1
        return Use(luts=luts, ff=counted["ff"], rams=counted["ram"], dsps=counted["dsp"])


def number_in(pattern: str, text: str) -> int:
    """Read the number that ``pattern`` finds in ``text``; 0 without one."""
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def cells_used(report: dict[str, Any], cell: str) -> int:
    """Read how many cells of a type nextpnr's report counts."""
    return int(report["utilization"].get(cell, {"used": 0})["used"])


def achieved_mhz(report: dict[str, Any]) -> float:
    """Read the slowest clock of nextpnr's report, in MHz."""
    return round(min(clock["achieved"] for clock in report["fmax"].values()), 1)
