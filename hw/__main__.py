"""``python -m hw``: Verilog of the core, the machines, the instruction table."""

from bitwright.hw.commands.command_table import HW
from bitwright.models.command_line.program import run_program


def main() -> None:
    """Run the commands of hw."""
    run_program(HW, "python -m hw")


if __name__ == "__main__":
    main()
