"""The base of every error that a user can meet."""

import difflib
from collections.abc import Iterable

__all__ = ["Error", "UnknownNameError", "unknown_name"]


class Error(Exception):
    """Something that the user can mend. The message is one line: the thing, the limit, the way out.

    Every exception class of the packages derives from it and, beside it, from the built-in class
    that fits (``ValueError``, ``RuntimeError``), so that either can be caught.
    """


class UnknownNameError(Error, ValueError):
    """A name that nothing known has. A command given one ends with status 2."""


def unknown_name(what: str, name: str, known: Iterable[str], label: str = "known") -> str:
    """The message for a name that nothing known has: the closest known name, then all of them
    after ``label``."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    hint = f", did you mean {close[0]!r}?" if close else ";"
    return f"unknown {what} {name!r}{hint} {label}: {', '.join(names)}"
