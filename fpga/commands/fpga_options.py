"""The options of several commands about boards and chips, and their output."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bitwright.fpga.boards.registry import BOARDS
from bitwright.hw.commands.machine_choice import MachineChoice
from bitwright.models.command_line.options_and_files import write_text

__all__ = ["BOARD_MACHINE", "BoardName", "console", "write_json"]

BoardName = Annotated[str, typer.Option("--board", help=f"One of {', '.join(BOARDS)}.")]
BOARD_MACHINE = MachineChoice(machine=None)     # the board's own


def console() -> Console:
    """A console as wide as the terminal, or wide enough for the tables."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def write_json(out: Path | None, found: dict[str, Any]) -> None:
    """Write what was found to the file that was asked for."""
    if out is not None:
        write_text(out, json.dumps(found, indent=1) + "\n")
