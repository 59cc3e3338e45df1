"""Gives every error of the interface the one base."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from bitwright.models.errors import Error

__all__ = ["ArgumentError", "FileError", "raises_error"]

P = ParamSpec("P")
R = TypeVar("R")


class ArgumentError(Error, ValueError):
    """An argument is outside what the function takes. One line, for people."""


class FileError(Error, OSError):
    """A file cannot be read or written. One line, for people."""


def raises_error(function: Callable[P, R]) -> Callable[P, R]:
    """Turn a plain ``ValueError`` or ``OSError`` of ``function`` into a class of ``Error``.

    Other classes pass: a ``TypeError`` is a fault of the calling code.
    """
    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Error:
            raise
        except ValueError as error:
            raise ArgumentError(str(error)) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise FileError(f"{error.filename}: {reason}" if error.filename else reason) from error
    return called
