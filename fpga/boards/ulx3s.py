"""ULX3S: an ECP5 with 32 MiB of SDRAM, in four sizes."""

from functools import partial
from pathlib import Path
from typing import Any

from bitwright.fpga.boards.board import Board
from bitwright.fpga.boards.board_memory import Sdram
from bitwright.fpga.chips.ecp5 import Ecp5
from bitwright.fpga.soc.sdram_timing import COMMON
from bitwright.hw.machine.clocks import clock_mhz

__all__ = ["BOARDS"]

MEMORY = Sdram(bytes=1 << 25, rules=COMMON, phase=270)      # IS42S16160G or one like it


def _platform(size: str) -> Any:
    from amaranth_boards import ulx3s

    return getattr(ulx3s, f"ULX3S_{size}_Platform")()


def _board(size: str, machine: str) -> Board:
    chip = "25" if size == "12F" else size[:-1]
    # Within a floorplan the static placer takes less wire.
    placer = (("--placer", "static") if f"LFE5U-{size}" in Ecp5.sites else
              ("--placer-heap-beta", "0.7", "--placer-heap-timingweight", "20"))
    return Board(
        name=f"ulx3s-{size.lower()}", chip=f"LFE5U-{size}", platform=partial(_platform, size),
        nextpnr=(f"--{chip}k", "--package", "CABGA381", "--speed", "6", *placer),
        oscillator_mhz=25, clock_mhz=clock_mhz(machine), baud=3_000_000, memory=MEMORY,
        machine=machine, button="button_fire", simulation=Path(__file__).with_name("ulx3s.v"),
        loaders=(("openFPGALoader", "-b", "ulx3s"), ("fujprog",)))


BOARDS = (_board("85F", "ulx3s-85f"), _board("45F", "ulx3s-12f"), _board("25F", "ulx3s-12f"),
          _board("12F", "ulx3s-12f"))
