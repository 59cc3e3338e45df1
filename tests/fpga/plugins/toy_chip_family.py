"""A plug-in: iCE40 HX, which has no multipliers and no SPRAM, and Lattice's board with an HX8K."""

from types import SimpleNamespace

from bitwright.fpga.boards.board import Board, BoardError
from bitwright.fpga.boards.board_memory import OnChipRam
from bitwright.fpga.boards.registry import BOARDS
from bitwright.fpga.cells import yosys_cells
from bitwright.fpga.chips.chip_family import ChipFamily
from bitwright.fpga.chips.ice40 import Ice40
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.hw.machine.chip_resources import CHIPS, Chip


class Ice40Hx(Ice40):
    """iCE40 HX chips: tools and cells are those of iCE40."""

    name = "ice40hx"
    synth = "synth_ice40"
    cells = {"SB_LUT4": "lut", "SB_CARRY": "carry", "SB_RAM40_4K": "ram"}

    def clock(self, m, platform, oscillator_mhz, clock_mhz, phase):
        """The oscillator's own clock: its pin on this board reaches no PLL."""
        from amaranth.hdl import Const
        from amaranth.lib import io

        if oscillator_mhz != clock_mhz:
            raise BoardError(f"the core's clock must be the oscillator's {oscillator_mhz:g} MHz, "
                             f"not {clock_mhz:g}")
        m.submodules.pin = pin = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        return SimpleNamespace(clock=pin.i, locked=Const(1))

    def cell_models(self):
        return (yosys_cells("ice40") / "cells_sim.v",)

    def on_chip_memory(self, size):
        return ChipFamily.on_chip_memory(self, size)    # of block RAM

    def memory_rams(self, size):
        return size // 512


CHIP_FAMILIES.register(Ice40Hx())
CHIPS.register(Chip(name="iCE40HX8K", family="ice40hx", luts=7680, rams=32, dsps=0,
                    cells="logic cells"))


def evaluation_board():
    from amaranth.build import Attrs, Pins, Resource
    from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

    platform = ICE40HX8KBEVNPlatform()
    platform.add_resources([Resource("reset", 0, Pins("4", conn=("j", 2), dir="i"),
                                     Attrs(IO_STANDARD="SB_LVCMOS"))])
    return platform


BOARDS.register(Board(
    name="hx8k-evn", chip="iCE40HX8K", platform=evaluation_board,
    nextpnr=("--hx8k", "--package", "ct256"), oscillator_mhz=12, clock_mhz=12, baud=500_000,
    memory=OnChipRam(bytes=1 << 12), machine="tiny", button="reset",
    settings=tuple({
        "name": "hx8k-evn", "rows": "1", "cols": "1", "table": "mux", "k_tile": "16",
        "builders": "1", "memory_bits": "16", "dequant": "serial", "weight_depth": "64",
        "act_depth": "64", "scale_depth": "64", "psum_depth": "16", "out_depth": "16",
        "program_depth": "64", "queue_depth": "1", "outstanding": "1"}.items()),
    loaders=(("iceprog",),)))
