"""The base of every error that a user can meet."""

__all__ = ["Error"]


class Error(Exception):
    """Something that the user can mend. The message is one line: the thing, the limit, the way out.

    Every exception class of the packages derives from it and, beside it, from the built-in class
    that fits (``ValueError``, ``RuntimeError``), so that either can be caught.
    """
