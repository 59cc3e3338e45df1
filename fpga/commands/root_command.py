"""The command ``bitwright``: every command of every folder."""

from bitwright.compiler.commands.command_table import COMPILER
from bitwright.fpga.commands.command_table import FPGA
from bitwright.hw.commands.command_table import HW
from bitwright.models.command_line.command_table import Group
from bitwright.models.command_line.program import run_program
from bitwright.models.commands.command_table import MODELS
from bitwright.sim.commands.command_table import SIM

__all__ = ["BITWRIGHT", "main"]

BITWRIGHT = Group("bitwright", "Takes a quantized transformer from checkpoint to bitstream.", (
    *COMPILER.entries, *SIM.pick("verify", "estimate"), *MODELS.pick("formats"),
    *FPGA.pick("build"), MODELS, HW, SIM, FPGA))


def main() -> None:
    """Run ``bitwright``."""
    run_program(BITWRIGHT, completion=True)
