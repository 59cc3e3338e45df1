"""``python -m fpga.link``: the size of the board's end of the link, as ``fpga link-size``."""

from bitwright.models.command_line.command_table import Command
from bitwright.models.command_line.program import run_command

LINK_SIZE = Command("link-size", "bitwright.fpga.commands.link_size:link_size",
                    "Measure the size and speed of the board's end of the link.")


def main() -> None:
    """Run the command."""
    run_command(LINK_SIZE, "python -m fpga.link")


if __name__ == "__main__":
    main()
