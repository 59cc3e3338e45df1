"""Writes the reference of all commands, from the help that they print."""

import typer

from bitwright.fpga.commands.root_command import BITWRIGHT
from bitwright.models.command_line.command_table import Command, Group
from bitwright.models.command_line.program import CONTEXT, EXIT_STATUS, as_program, as_typer

__all__ = ["command_reference"]

WIDTH = 96


def command_reference() -> str:
    """Return Markdown with the help of ``bitwright`` and of each of its commands."""
    parts = ["# Commands\n\n", f"{EXIT_STATUS}\n\n",
             _block(as_program(BITWRIGHT, completion=True), BITWRIGHT.name)]
    parts += [_section((BITWRIGHT.name, entry.name), entry) for entry in BITWRIGHT.entries
              if isinstance(entry, Command)]
    for group in BITWRIGHT.entries:
        if isinstance(group, Group):
            path = (BITWRIGHT.name, group.name)
            parts.append(f"\n## {' '.join(path)}\n\n{group.summary}\n")
            parts += [_section((*path, *more), entry) for more, entry in group.commands()]
    return "".join(parts)


def _section(path: tuple[str, ...], entry: Command) -> str:
    level = "#" * len(path)
    return f"\n{level} {' '.join(path)}\n\n{_block(as_typer(entry), ' '.join(path))}"


def _block(command: object, name: str) -> str:
    context = typer.Context(command, info_name=name, terminal_width=WIDTH,  # type: ignore[arg-type]
                            help_option_names=CONTEXT["help_option_names"])
    return f"```text\n{context.get_help()}\n```\n"
