"""A plug-in: the iCESugar, an iCE40 UP5K with the serial link on its own USB chip."""

from pathlib import Path

from bitwright.fpga.boards.board import Board
from bitwright.fpga.boards.board_memory import OnChipRam
from bitwright.fpga.boards.registry import BOARDS


def icesugar():
    from amaranth_boards.icesugar import ICESugarPlatform

    return ICESugarPlatform()


BOARDS.register(Board(
    name="icesugar", chip="iCE40UP5K", platform=icesugar,
    nextpnr=("--up5k", "--package", "sg48"),
    oscillator_mhz=12, clock_mhz=18, baud=500_000,
    memory=OnChipRam(bytes=1 << 16, ram="SPRAM"),
    machine="icebreaker", settings=(("name", "icesugar"), ("act_depth", "128")),
    button="switch", simulation=Path(__file__).with_name("toy_board.v"),
    loaders=(("icesprog",),)))
