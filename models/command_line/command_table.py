"""Describes commands without loading them, so that a list of commands costs no imports."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["Command", "Group"]


@dataclass(frozen=True)
class Command:
    """A command: its name, the function that it runs, and its summary.

    ``target`` is ``module:function``. ``summary`` is the first line of the function's docstring.
    """
    name: str
    target: str
    summary: str

    def load(self) -> Callable[..., Any]:
        """Import the module and return the function."""
        module, _, function = self.target.partition(":")
        found: Callable[..., Any] = getattr(import_module(module), function)
        return found


@dataclass(frozen=True)
class Group:
    """Commands under one name, in the order of their listing."""
    name: str
    summary: str
    entries: "tuple[Command | Group, ...]"

    def pick(self, *names: str) -> "tuple[Command | Group, ...]":
        """Return the entries with these names, in this order. ``KeyError`` for an unknown name."""
        known = {entry.name: entry for entry in self.entries}
        return tuple(known[name] for name in names)

    def commands(self, *path: str) -> Iterator[tuple[tuple[str, ...], Command]]:
        """Yield every command with the names that lead to it, groups included."""
        for entry in self.entries:
            if isinstance(entry, Group):
                yield from entry.commands(*path, entry.name)
            else:
                yield (*path, entry.name), entry
