"""Holds what every command line of the project shares."""

import errno
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import typer

__all__ = ["overrides", "say", "write_text"]


def overrides(pairs: Iterable[str] | None) -> dict[str, str]:
    """``--set KEY=VALUE`` texts as a mapping; wrong usage for text without ``=``."""
    values = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"takes KEY=VALUE, not {pair!r}", param_hint="--set")
        values[key.strip()] = value.strip()
    return values


def say(text: str) -> None:
    """A line of progress, on the error stream."""
    print(text, file=sys.stderr, flush=True)


def write_text(path: Path, text: str) -> None:
    """Write ``path`` whole or not at all. ``OSError`` names it."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path.parent))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
