"""OrangeCrab r0.2: an ECP5, whose block RAM is the memory, in two sizes."""

from functools import partial
from pathlib import Path
from typing import Any

from bitwright.fpga.boards.board import Board
from bitwright.fpga.boards.board_memory import OnChipRam
from bitwright.hw.machine.clocks import clock_mhz

__all__ = ["BOARDS"]


def _platform(size: str) -> Any:
    from amaranth.build import Attrs
    from amaranth_boards import orangecrab_r0_2
    from amaranth_boards.resources import UARTResource

    platform = getattr(orangecrab_r0_2, f"OrangeCrabR0_2_{size}Platform")()
    # On the header's pins 0 (rx) and 1 (tx), as on Feather boards.
    platform.add_resources([UARTResource(0, rx="0", tx="1", conn=("io", 0),
                                         attrs=Attrs(IO_TYPE="LVCMOS33"))])
    return platform


def _board(size: str, memory_bytes: int, **settings: int) -> Board:
    name = f"orangecrab-{size.lower()}"
    return Board(
        name=name, chip=f"LFE5U-{size}", platform=partial(_platform, size),
        nextpnr=(f"--{size[:-1]}k", "--package", "CSFBGA285", "--speed", "8", "--router",
                 "router2"),
        oscillator_mhz=48, clock_mhz=clock_mhz(name), baud=1_000_000,
        memory=OnChipRam(bytes=memory_bytes), machine="ulx3s-12f",
        settings=(("name", name), *((key, str(value)) for key, value in settings.items())),
        simulation=Path(__file__).with_name("orangecrab.v"),
        loaders=(("dfu-util", "-d", "1209:5af0", "-a", "0", "-D"),
                 ("openFPGALoader", "-b", "orangeCrab")))


BOARDS = (
    _board("25F", 1 << 16, rows=2, cols=2, k_tile=32, weight_depth=256, act_depth=256,
           scale_depth=256, psum_depth=64, out_depth=64, program_depth=256),
    _board("85F", 1 << 18))
