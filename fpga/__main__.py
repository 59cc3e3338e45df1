"""``python -m fpga``: boards, bitstreams, and size and speed on open FPGAs."""

from bitwright.fpga.commands.command_table import FPGA
from bitwright.models.command_line.program import run_program


def main() -> None:
    """Run the commands of fpga."""
    run_program(FPGA, "python -m fpga")


if __name__ == "__main__":
    main()
