"""``python -m models``: datatypes, models, and what quantizing loses."""

from bitwright.models.command_line.program import run_program
from bitwright.models.commands.command_table import MODELS


def main() -> None:
    """Run the commands of models."""
    run_program(MODELS, "python -m models")


if __name__ == "__main__":
    main()
