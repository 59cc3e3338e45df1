"""iCEBreaker: an iCE40 UP5K, whose own SPRAM is the memory."""

from pathlib import Path
from typing import Any

from bitwright.fpga.boards.board import Board
from bitwright.fpga.boards.board_memory import OnChipRam
from bitwright.hw.machine.clocks import clock_mhz

__all__ = ["BOARDS"]


def _platform() -> Any:
    from amaranth_boards.icebreaker import ICEBreakerPlatform

    return ICEBreakerPlatform()


BOARDS = (Board(
    name="icebreaker", chip="iCE40UP5K", platform=_platform,
    nextpnr=("--up5k", "--package", "sg48"), oscillator_mhz=12, clock_mhz=clock_mhz("icebreaker"),
    baud=1_000_000, memory=OnChipRam(bytes=1 << 17, ram="SPRAM"), machine="icebreaker",
    simulation=Path(__file__).with_name("icebreaker.v"),
    loaders=(("openFPGALoader", "-b", "ice40_generic"), ("iceprog",))),)
