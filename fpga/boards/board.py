"""Describes a board: its chip, clock, memory, pins, link and loaders."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitwright.fpga.boards.board_memory import BoardMemory
from bitwright.fpga.chips.chip_family import ChipFamily
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.hw.machine.chip_resources import CHIPS, Chip
from bitwright.hw.machine.description import FABRICS, Machine
from bitwright.hw.machine.presets import machine as machine_of
from bitwright.models.errors import Error

if TYPE_CHECKING:   # it is of Amaranth, which lists of boards do without
    from bitwright.fpga.link.endpoint import LinkConfig

__all__ = ["Board", "BoardError"]


class BoardError(Error, ValueError):
    """An unknown board, or a machine that it cannot hold. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board. Register it with :data:`bitwright.fpga.boards.registry.BOARDS`.

    Parameters
    ----------
    name : what ``--board`` takes
    chip : a name of :data:`bitwright.hw.machine.chip_resources.CHIPS`
    platform : makes the board's Amaranth platform, with the pins ``uart``, a default clock and
        the reset button; it imports Amaranth only when it is called
    nextpnr : options of place and route for the chip, its package and speed
    oscillator_mhz, clock_mhz : clocks of the board and of the core
    baud : speed of the serial link
    memory : where the machine's data lie
    machine, settings : the board's machine, a preset with changed fields
    loaders : commands that load a bitstream, the best first
    button : the platform's resource that resets the machine
    simulation : Verilog of a module ``board`` that gives ``top``'s pins the harness's names; None
        where the board cannot be simulated
    """
    name: str
    chip: str
    platform: Callable[[], Any]
    nextpnr: tuple[str, ...]
    oscillator_mhz: float
    clock_mhz: float
    baud: int
    memory: BoardMemory
    machine: str
    loaders: tuple[tuple[str, ...], ...]
    settings: tuple[tuple[str, str], ...] = ()
    button: str = "button"
    simulation: Path | None = None

    @property
    def size(self) -> Chip:
        return CHIPS[self.chip]

    @property
    def family(self) -> str:
        """The name of the chip's family."""
        return self.size.family

    @property
    def chip_family(self) -> ChipFamily:
        return CHIP_FAMILIES[self.family]

    def link(self, machine: Machine) -> "LinkConfig":
        """Describe the link's endpoint."""
        from bitwright.fpga.link.endpoint import LinkConfig

        return LinkConfig(divisor=self.clock_mhz * 1e6 / self.baud, memory_bytes=self.memory.bytes,
                          clock_khz=round(self.clock_mhz * 1e3), identity=machine.identity())

    @property
    def memory_rams(self) -> int:
        """Block RAMs that the memory takes of the chip."""
        return self.memory.block_rams(self.chip_family)

    def preset(self) -> Machine:
        """Return the board's own machine."""
        return self.machine_of(None)

    def machine_of(self, spec: str | None, overrides: Mapping[str, str] | None = None,
                   pe: str | None = None) -> Machine:
        """Return the machine named ``spec``, or the board's own, changed as
        :func:`bitwright.hw.machine.presets.machine` says."""
        if spec is not None:
            return machine_of(spec, overrides, pe)
        own = machine_of(self.machine, dict(self.settings))
        fields = (own.with_pe(pe) if pe else own).to_dict()
        return machine_of(self.machine, {**{key: str(value) for key, value in fields.items()},
                                         **(overrides or {})})

    def check(self, machine: Machine) -> None:
        """Raise :class:`BoardError` for a machine that was not made for this board."""
        if machine.memory_bits != self.memory.width:
            raise BoardError(f"the memory of {self.name} is {self.memory.width} bits wide, and "
                             f"machine {machine.name} has memory_bits={machine.memory_bits}; "
                             f"--set memory_bits={self.memory.width}")
        if machine.fabric not in (self.family, "generic"):
            own = self.family if self.family in FABRICS else "generic"
            raise BoardError(f"machine {machine.name} is written for {machine.fabric}, and "
                             f"{self.name} has {self.chip}; --set fabric={own}")
