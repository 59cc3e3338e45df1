"""Reads JSON objects from outside, strictly."""

import json
from typing import Any, NoReturn

from bitwright.models.command_line.printable import show
from bitwright.models.errors import Error

__all__ = ["JsonError", "parse_json_object"]


class JsonError(Error, ValueError):
    """Bytes that hold no JSON object. One line, for people."""


def parse_json_object(raw: bytes, what: str) -> dict[str, Any]:
    """The JSON object in ``raw``: UTF-8, no duplicate keys, no NaN or Infinity.

    Raises :class:`JsonError` that starts with ``what``.
    """
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise JsonError(f"{what} has the key {show(key)} twice: write it again")
            found[key] = value
        return found

    def constant(name: str) -> NoReturn:
        raise JsonError(f"{what} holds {name}, which is not JSON: write it again")

    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=unique, parse_constant=constant)
    except JsonError:
        raise
    except RecursionError:
        raise JsonError(f"{what} is not JSON: it is nested too deeply") from None
    except ValueError as error:
        raise JsonError(f"{what} is not JSON ({error}): the file is damaged or not of this "
                        "format") from None
    if not isinstance(found, dict):
        raise JsonError(f"{what} must be a JSON object, not {type(found).__name__}")
    return found
