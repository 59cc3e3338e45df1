"""The boards: their chips, memories and links."""

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.build import Attrs
from amaranth_boards.icebreaker import ICEBreakerPlatform
from amaranth_boards.orangecrab_r0_2 import (
    OrangeCrabR0_2_25FPlatform,
    OrangeCrabR0_2_85FPlatform,
)
from amaranth_boards.resources import UARTResource
from amaranth_boards.ulx3s import (
    ULX3S_12F_Platform,
    ULX3S_25F_Platform,
    ULX3S_45F_Platform,
    ULX3S_85F_Platform,
)

from bitwright.fpga.boards.chip_sites import SITES
from bitwright.fpga.link.endpoint import LinkConfig
from bitwright.hw.machine.chip_resources import CHIPS, Chip
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import machine as machine_of
from bitwright.models.errors import Error

RAM_BYTES = 2048        # of an ECP5's block RAM, in bytes that are written alone

__all__ = ["BOARDS", "Board", "BoardError", "board"]


class BoardError(Error, ValueError):
    """An unknown board, or a machine that it cannot hold. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board.

    ``oscillator_mhz`` and ``clock_mhz`` are the board's clock and the core's; ``sdram_phase`` is
    how many degrees the memory chip's clock follows the core's, None where memory is on the FPGA.
    The board's machine is a preset, ``machine``, with ``settings``; ``button`` resets.
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
    settings: tuple[tuple[str, str], ...] = ()
    button: str = "button"

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

    @property
    def memory_rams(self) -> int:
        """Block RAMs that the memory takes of the chip."""
        return self.memory_bytes // RAM_BYTES if (
            self.sdram_phase is None and self.family == "ecp5") else 0

    def preset(self) -> Machine:
        return self.machine_of(None)

    def machine_of(self, spec: str | None, overrides: Mapping[str, str] | None = None,
                   pe: str | None = None) -> Machine:
        """The machine named ``spec``, or the board's own, changed as :func:`machine`
        says."""
        if spec is not None:
            return machine_of(spec, overrides, pe)
        own = machine_of(self.machine, dict(self.settings))
        fields = (own.with_pe(pe) if pe else own).to_dict()
        return machine_of(self.machine, {**{key: str(value) for key, value in fields.items()},
                                         **(overrides or {})})

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
    # Within a floorplan the static placer takes less wire.
    placer = (("--placer", "static") if f"LFE5U-{size}" in SITES else
              ("--placer-heap-beta", "0.7", "--placer-heap-timingweight", "20"))
    return Board(
        name=name, chip=f"LFE5U-{size}", platform=platform,
        nextpnr=(f"--{chip}k", "--package", "CABGA381", "--speed", "6", *placer),
        oscillator_mhz=25, clock_mhz=80, baud=3_000_000, memory="SDRAM, 32 MiB, 16 bit",
        memory_bytes=1 << 25, machine=machine, sdram_phase=270, button="button_fire",
        loaders=(("openFPGALoader", "-b", "ulx3s"), ("fujprog",)))


# On the header's pins 0 (rx) and 1 (tx), as on Feather boards.
_UART = [UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33"))]


class OrangeCrab25F(OrangeCrabR0_2_25FPlatform):
    resources = OrangeCrabR0_2_25FPlatform.resources + _UART


class OrangeCrab85F(OrangeCrabR0_2_85FPlatform):
    resources = OrangeCrabR0_2_85FPlatform.resources + _UART


def _orangecrab(size: str, platform: type, memory_bytes: int, **settings: int) -> Board:
    name = f"orangecrab-{size.lower()}"
    return Board(
        name=name, chip=f"LFE5U-{size}", platform=platform,
        nextpnr=(f"--{size[:-1]}k", "--package", "CSFBGA285", "--speed", "8", "--router",
                 "router2"),
        oscillator_mhz=48, clock_mhz=48, baud=1_000_000,
        memory=f"on-chip block RAM, {memory_bytes >> 10} KiB", memory_bytes=memory_bytes,
        machine="ulx3s-12f",
        settings=(("name", name), *((key, str(value)) for key, value in settings.items())),
        loaders=(("dfu-util", "-d", "1209:5af0", "-a", "0", "-D"),
                 ("openFPGALoader", "-b", "orangeCrab")))


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
    _orangecrab("25F", OrangeCrab25F, 1 << 16, rows=2, cols=2, k_tile=32, weight_depth=256,
                act_depth=256, scale_depth=256, psum_depth=64, out_depth=64, program_depth=256),
    _orangecrab("85F", OrangeCrab85F, 1 << 18),
)}


def board(name: str) -> Board:
    """The board called ``name``. Raises :class:`BoardError`."""
    if name not in BOARDS:
        raise BoardError(f"unknown board {name!r}; known: {', '.join(BOARDS)}")
    return BOARDS[name]
