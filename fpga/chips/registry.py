"""The chip families by name."""

from pathlib import Path

from bitwright.fpga.chips.chip_family import ChipFamily
from bitwright.fpga.chips.ecp5 import Ecp5
from bitwright.fpga.chips.ice40 import Ice40
from bitwright.models.plugins import Registry

__all__ = ["CHIP_FAMILIES", "cell_models"]

CHIP_FAMILIES: Registry[ChipFamily] = Registry("chip family", (Ecp5(), Ice40()))


def cell_models(family: str) -> tuple[Path, ...]:
    """List Verilog files with a model of every cell of the chip family ``family``."""
    return CHIP_FAMILIES[family].cell_models()
