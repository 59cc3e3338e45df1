"""Memories of boards: the chip's own RAM, and SDRAM beside the chip."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from bitwright.fpga.chips.chip_family import ChipFamily
from bitwright.fpga.soc.sdram_timing import SdramTiming
from bitwright.sim.cycle_model.memory_timing import Memory

__all__ = ["BoardMemory", "OnChipRam", "Sdram"]


class BoardMemory(ABC):
    """The memory of a board for a machine's programs, weights and activations.

    ``kind`` names the memory in figures. ``timing`` is what the cycle model assumes of it.
    ``gemm`` is the size of a benchmark (tokens, inputs, channels) that fits it. ``phase`` is how
    many degrees the memory chip's clock follows the core's, None without such a chip.
    """
    kind: ClassVar[str]
    width: ClassVar[int] = 16       # bits of a word
    timing: ClassVar[Memory]
    gemm: ClassVar[tuple[int, int, int]]
    bytes: int
    phase: float | None = None

    @property
    @abstractmethod
    def label(self) -> str:
        """Return the text that ``fpga boards`` shows."""

    @property
    def on_chip(self) -> bool:
        """Say whether the memory is the chip's own RAM. Addresses then wrap at its end, and no
        register slices stand before it."""
        return self.phase is None

    @abstractmethod
    def controller(self, family: ChipFamily, clock_mhz: float) -> Any:
        """Make the AXI4 subordinate in front of the memory, an Amaranth component."""

    @abstractmethod
    def connect(self, m: Any, platform: Any, controller: Any) -> None:
        """Connect the controller to the board's pins, in the Amaranth module ``m``."""

    def block_rams(self, family: ChipFamily) -> int:
        """Count the block RAMs that the memory takes of the chip."""
        return 0


@dataclass(frozen=True, kw_only=True)
class OnChipRam(BoardMemory):
    """RAM of the chip itself; ``ram`` says which."""
    # The least latency that the cycle model knows.
    kind, timing, gemm = "chip", Memory(latency=8), (16, 1024, 64)
    bytes: int
    ram: str = "block RAM"

    @property
    def label(self) -> str:
        return f"on-chip {self.ram}, {self.bytes >> 10} KiB"

    def controller(self, family: ChipFamily, clock_mhz: float) -> Any:
        return family.on_chip_memory(self.bytes)

    def connect(self, m: Any, platform: Any, controller: Any) -> None:
        """Connect nothing: the memory has no pins."""

    def block_rams(self, family: ChipFamily) -> int:
        return family.memory_rams(self.bytes)


@dataclass(frozen=True, kw_only=True)
class Sdram(BoardMemory):
    """A single-data-rate SDRAM of 16 bits at the platform's pins ``sdram``.

    ``rules`` are the chip's times. ``registers`` stand on the way to the chip and back.
    """
    # Latency: the controller with the opening of another row, pin registers and slices.
    kind, timing, gemm = "SDRAM", Memory(latency=16), (512, 4096, 2048)
    bytes: int
    rules: SdramTiming
    phase: float
    registers: int = 2

    @property
    def label(self) -> str:
        return f"SDRAM, {self.bytes >> 20} MiB, {self.width} bit"

    def controller(self, family: ChipFamily, clock_mhz: float) -> Any:
        from bitwright.fpga.soc.sdram_controller import SdramController

        cas = self.rules.cycles(clock_mhz).cas
        return SdramController(clock_mhz=clock_mhz, timing=self.rules,
                               read_delay=cas + self.registers)

    def connect(self, m: Any, platform: Any, controller: Any) -> None:
        from bitwright.fpga.soc.sdram_pins import connect_sdram

        connect_sdram(m, platform, controller)
