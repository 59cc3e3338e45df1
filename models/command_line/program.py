"""Runs a table of commands as a program: help, plug-ins, version, completion, exit status."""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from bitwright.models.command_line.command_table import Command, Group
from bitwright.models.command_line.option_groups import spread
from bitwright.models.errors import Error, UnknownNameError
from bitwright.models.plugins import load_installed, load_plugin

__all__ = ["CONTEXT", "EXIT_STATUS", "as_program", "as_typer", "plugin_files", "run_command",
           "run_program"]

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


EXIT_STATUS = """\
Every command ends with one of these:

- 0: success.
- 1: a machine that cannot be built, a file that cannot be read, a check that fails, and every other
  error.
- 2: wrong usage: an unknown command, option or name, a missing argument, a value of the wrong form,
  options that exclude each other.
- 130: interrupted."""


class LazyCommand(TyperCommand):
    """A command whose function is imported once the command is chosen."""

    def __init__(self, entry: Command) -> None:
        super().__init__(entry.name, short_help=entry.summary, help=entry.summary,
                         rich_markup_mode=None)
        self.entry = entry

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """Load the command and let it read its arguments."""
        return as_typer(self.entry).make_context(*arguments, **more)


def as_typer(entry: Command | Group) -> Any:
    """The typer command of a table's entry. A command is imported; those of a group are not."""
    if isinstance(entry, Group):
        return TyperGroup(name=entry.name, help=entry.summary, short_help=entry.summary,
                          commands=_lazily(entry), no_args_is_help=True, rich_markup_mode=None,
                          context_settings=CONTEXT)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(entry.name, context_settings=CONTEXT)(spread(entry.load()))
    return typer.main.get_command(app)


def _lazily(group: Group) -> dict[str, Any]:
    return {entry.name: as_typer(entry) if isinstance(entry, Group) else LazyCommand(entry)
            for entry in group.entries}


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version
        print(f"bitwright {version('bitwright')}")
        raise typer.Exit


def as_program(group: Group, *, completion: bool = False) -> Any:
    """The typer command of a whole program: the group, with --plugin and --version."""
    app = typer.Typer(name=group.name, help=group.summary, add_completion=completion,
                      no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
                      context_settings=CONTEXT)

    @app.callback()
    def options(
        plugin: Annotated[list[str] | None, typer.Option(
            "--plugin", metavar="FILE.py",
            help="Load a plug-in file first; repeatable, before or after the command.")] = None,
        version: Annotated[bool, typer.Option(
            "--version", callback=_print_version, is_eager=True,
            help="Print the version and exit.")] = False,
    ) -> None:
        pass

    program = typer.main.get_command(app)
    assert isinstance(program, TyperGroup)
    program.commands.update(_lazily(group))
    return program


def plugin_files(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split ``--plugin FILE`` and ``--plugin=FILE`` from the arguments before ``--``.

    Returns the files and the other arguments. ``ValueError`` if a file is missing.
    """
    files: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "--":
            others += [argument, *rest]
        elif name != "--plugin":
            others.append(argument)
        elif path := value if equals else next(rest, ""):
            files.append(path)
        else:
            raise ValueError("--plugin takes the path of a .py file")
    return files, others


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def run_program(group: Group, name: str | None = None, *, completion: bool = False) -> None:
    """Run the process's arguments as one of the group's commands, and end the process.

    See :data:`EXIT_STATUS`. An error other than of the command line's form takes one line.
    """
    _run(lambda: as_program(group, completion=completion), name or group.name)


def run_command(entry: Command, name: str) -> None:
    """Run the process's arguments as those of one command, as :func:`run_program` does."""
    _run(lambda: as_typer(entry), name)


def _run(program: Callable[[], Any], name: str) -> None:
    try:
        files, arguments = plugin_files(sys.argv[1:])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        load_installed()
        for file in files:
            load_plugin(file)
        program()(arguments, prog_name=name)
    except (Error, ValueError, OSError, RuntimeError) as error:
        print(f"error: {_text(error)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UnknownNameError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
