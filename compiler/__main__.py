"""``python -m compiler``: map a checkpoint, run a layer, read a program."""

from bitwright.compiler.commands.command_table import COMPILER
from bitwright.models.command_line.program import run_program


def main() -> None:
    """Run the commands of the compiler."""
    run_program(COMPILER, "python -m compiler")


if __name__ == "__main__":
    main()
