"""The boards: their chips, memories and links."""

from dataclasses import dataclass

from amaranth_boards.icebreaker import ICEBreakerPlatform
from amaranth_boards.ulx3s import (
    ULX3S_12F_Platform,
    ULX3S_25F_Platform,
    ULX3S_45F_Platform,
    ULX3S_85F_Platform,
)

from fpga.link.endpoint import LinkConfig
from hw.config import PRESETS, Machine
from hw.resources import CHIPS, Chip

__all__ = ["BOARDS", "Board", "BoardError", "board"]


class BoardError(ValueError):
    """An unknown board, or a machine that it cannot hold. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board.

    ``oscillator_mhz`` and ``clock_mhz`` are the board's clock and the core's; ``sdram_phase`` is
    how many degrees the memory chip's clock follows the core's, None where memory is on the FPGA.
    """
    name: str
    chip: str
    platform: type
    nextpnr: tuple[str, ...]
    oscillator_mhz: float
    clock_mhz: float
    baud: int
    memory: str
    memory_bytes: int
    machine: str
    loaders: tuple[tuple[str, ...], ...]
    sdram_phase: float | None = None

    @property
    def size(self) -> Chip:
        return CHIPS[self.chip]

    @property
    def family(self) -> str:
        return self.size.family

    def link(self, machine: Machine) -> LinkConfig:
        """What the link's endpoint is built for."""
        return LinkConfig(divisor=self.clock_mhz * 1e6 / self.baud, memory_bytes=self.memory_bytes,
                          clock_khz=round(self.clock_mhz * 1e3), identity=machine.identity())

    def preset(self) -> Machine:
        return PRESETS[self.machine]

    def check(self, machine: Machine) -> None:
        """Raises :class:`BoardError` for a machine that was not made for this board."""
        if machine.memory_bits != 16:
            raise BoardError(f"the memory of {self.name} is 16 bits wide, and machine "
                             f"{machine.name} has memory_bits={machine.memory_bits}; "
                             "--set memory_bits=16")
        if machine.fabric not in (self.family, "generic"):
            raise BoardError(f"machine {machine.name} is written for {machine.fabric}, and "
                             f"{self.name} has {self.chip}; --set fabric={self.family}")


def _ulx3s(size: str, machine: str, platform: type) -> Board:
    name = f"ulx3s-{size.lower()}"
    chip = "25" if size == "12F" else size[:-1]
    return Board(
        name=name, chip=f"LFE5U-{size}", platform=platform,
        nextpnr=(f"--{chip}k", "--package", "CABGA381", "--speed", "6"),
        oscillator_mhz=25, clock_mhz=80, baud=3_000_000, memory="SDRAM, 32 MiB, 16 bit",
        memory_bytes=1 << 25, machine=machine, sdram_phase=270,
        loaders=(("openFPGALoader", "-b", "ulx3s"), ("fujprog",)))


BOARDS: dict[str, Board] = {board.name: board for board in (
    _ulx3s("85F", "ulx3s-85f", ULX3S_85F_Platform),
    _ulx3s("45F", "ulx3s-12f", ULX3S_45F_Platform),
    _ulx3s("25F", "ulx3s-12f", ULX3S_25F_Platform),
    _ulx3s("12F", "ulx3s-12f", ULX3S_12F_Platform),
    Board(name="icebreaker", chip="iCE40UP5K", platform=ICEBreakerPlatform,
          nextpnr=("--up5k", "--package", "sg48"), oscillator_mhz=12, clock_mhz=24,
          baud=1_000_000, memory="on-chip SPRAM, 128 KiB", memory_bytes=1 << 17,
          machine="icebreaker",
          loaders=(("openFPGALoader", "-b", "ice40_generic"), ("iceprog",))),
)}


def board(name: str) -> Board:
    """The board called ``name``. Raises :class:`BoardError`."""
    if name not in BOARDS:
        raise BoardError(f"unknown board {name!r}; known: {', '.join(BOARDS)}")
    return BOARDS[name]
