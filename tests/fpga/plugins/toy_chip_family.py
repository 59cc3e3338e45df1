"""A plug-in: iCE40 UltraPlus chips whose multipliers and PLL stay unused, and a board with one."""

from types import SimpleNamespace

from bitwright.fpga.boards.board import Board, BoardError
from bitwright.fpga.boards.board_memory import OnChipRam
from bitwright.fpga.boards.registry import BOARDS
from bitwright.fpga.cells import yosys_cells
from bitwright.fpga.chips.ice40 import Ice40
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.hw.machine.chip_resources import CHIPS, Chip


class Ice40Plain(Ice40):
    """iCE40 UltraPlus chips, of which only logic and memory are used."""

    name = "ice40plain"
    synth = "synth_ice40"
    cells = {"SB_LUT4": "lut", "SB_CARRY": "carry", "SB_RAM40_4K": "ram", "SB_SPRAM256KA": "spram"}

    def clock(self, m, platform, oscillator_mhz, clock_mhz, phase):
        """The oscillator's own clock."""
        from amaranth.hdl import Const
        from amaranth.lib import io

        if oscillator_mhz != clock_mhz:
            raise BoardError(f"the core's clock must be the oscillator's {oscillator_mhz:g} MHz, "
                             f"not {clock_mhz:g}")
        m.submodules.pin = pin = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        return SimpleNamespace(clock=pin.i, locked=Const(1))

    def cell_models(self):
        return (yosys_cells("ice40") / "cells_sim.v",)


CHIP_FAMILIES.register(Ice40Plain())
CHIPS.register(Chip(name="UP5K-plain", family="ice40plain", luts=5280, rams=30, dsps=0,
                    cells="logic cells"))


def icesugar():
    from amaranth_boards.icesugar import ICESugarPlatform

    return ICESugarPlatform()


BOARDS.register(Board(
    name="icesugar-plain", chip="UP5K-plain", platform=icesugar,
    nextpnr=("--up5k", "--package", "sg48"), oscillator_mhz=12, clock_mhz=12, baud=500_000,
    memory=OnChipRam(bytes=1 << 16, ram="SPRAM"), machine="icebreaker", button="switch",
    settings=(("name", "icesugar-plain"), ("fabric", "generic"), ("dequant", "serial"),
              ("act_bits", "4")),
    loaders=(("icesprog",),)))
