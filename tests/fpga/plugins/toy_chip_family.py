"""A plug-in: ECP5 chips whose multipliers and PLL stay unused, and a board with such a chip."""

from types import SimpleNamespace

from bitwright.fpga.boards.board import Board, BoardError
from bitwright.fpga.boards.board_memory import OnChipRam
from bitwright.fpga.boards.registry import BOARDS
from bitwright.fpga.cells import FOLDER, yosys_cells
from bitwright.fpga.chips.ecp5 import Ecp5
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.hw.machine.chip_resources import CHIPS, Chip


class Ecp5Plain(Ecp5):
    """ECP5 chips, of which only logic and memory are used."""

    name = "ecp5plain"
    synth = "synth_ecp5 -nodsp"
    cells = {"LUT4": "lut", "CCU2C": "carry", "TRELLIS_DPR16X4": "lut_ram", "TRELLIS_FF": "ff",
             "DP16KD": "ram", "PDPW16KD": "ram"}

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
        library = yosys_cells("ecp5")
        return library / "common_sim.vh", library / "ccu2c_sim.vh", FOLDER / "ecp5.v"


CHIP_FAMILIES.register(Ecp5Plain())
CHIPS.register(Chip(name="25F-plain", family="ecp5plain", luts=24288, rams=56, dsps=0))


def orangecrab():
    from amaranth.build import Attrs
    from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform
    from amaranth_boards.resources import UARTResource

    platform = OrangeCrabR0_2_25FPlatform()
    platform.add_resources([UARTResource(0, rx="10", tx="11", conn=("io", 0),
                                         attrs=Attrs(IO_TYPE="LVCMOS33"))])
    return platform


BOARDS.register(Board(
    name="orangecrab-plain", chip="25F-plain", platform=orangecrab,
    nextpnr=("--25k", "--package", "CSFBGA285", "--speed", "8", "--router", "router2"),
    oscillator_mhz=48, clock_mhz=48, baud=1_000_000, memory=OnChipRam(bytes=1 << 14),
    machine="tiny", settings=(("name", "orangecrab-plain"), ("rows", "1"), ("cols", "1"),
                              ("k_tile", "16"), ("builders", "1"), ("memory_bits", "16"),
                              ("dequant", "serial"), ("act_bits", "4")),
    loaders=(("openFPGALoader", "-b", "orangeCrab"),)))
