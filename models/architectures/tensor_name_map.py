"""Reads the tensor names of a checkpoint that differ from its family's, from a TOML file.

The file names the ``family``, and in its table ``names`` those fields of
:class:`bitwright.models.architectures.transformer.Names` that differ::

    family = "llama"

    [names]
    layer = "blocks.{}"
    qkv = ["attn.wq", "attn.wk", "attn.wv"]
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bitwright.models.architectures.transformer import Names

__all__ = ["changed", "read_name_map"]

MOST_BYTES = 1 << 20
_COUNTS = {"qkv": (1, 3), "inner": (1, 2)}  # names that a field may have; else as many as known
_FREE = ("prefix", "residual")  # fields that any family may have or leave out


def read_name_map(path: Path) -> dict[str, Any]:
    """Read the fields that the file at ``path`` adds to a configuration. ``ValueError``, of one
    line that names the file, if it holds anything but ``family`` and ``names``. The fields are not
    checked here."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be opened: {error.strerror}") from None
    if len(raw) > MOST_BYTES:
        raise ValueError(f"{path} must have at most {MOST_BYTES} bytes")
    try:
        found = tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML: {str(error).splitlines()[0]}") from None
    if unknown := sorted(set(found) - {"family", "names"}):
        raise ValueError(f"{path} must hold family and the table names, not {unknown[0]!r}")
    family, names = found.get("family"), found.get("names")
    if not isinstance(family, str):
        raise ValueError(f"{path}: family must be the name of a model family, not {family!r}")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{path} must have a table names with one field or more")
    return {"model_type": family, "architectures": None, "tensor_names": names}


def _check(key: str, value: Any, known: Any) -> Any:
    """``value`` for the field that is ``known`` in the family, as the field's type."""
    if isinstance(known, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{key} must be true or false, not {value!r}")
        return value
    if not isinstance(known, tuple):
        if not isinstance(value, str):
            raise ValueError(f"{key} must be a string, not {value!r}")
        if key not in _FREE and bool(value) != bool(known):
            raise ValueError(f"{key} must be {'a name' if known else 'left out'} in this family, "
                             f"not {value!r}")
        if (holes := value.count("{}")) != known.count("{}") or "{" in value.replace("{}", ""):
            raise ValueError(f"{key} must hold {{}} {known.count('{}')} times, not {holes}: "
                             f"{value!r}")
        return value
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError(f"{key} must be a list of strings, not {value!r}")
    counts = _COUNTS.get(key, (len(known),))
    if key != "unused" and len(value) not in counts:
        raise ValueError(f"{key} must be {' or '.join(map(str, counts))} names, not {len(value)}")
    if len(set(value)) < len(value):
        raise ValueError(f"{key} must be different names, not {value!r}")
    return tuple(value)


def changed(known: Names, changes: Mapping[str, Any]) -> Names:
    """``known`` with those fields changed, and without its prefix unless that is given too.
    ``ValueError`` for a field that is unknown, or of another type or number of names."""
    fields = asdict(known)
    for key in changes:
        if key not in fields:
            (close,) = difflib.get_close_matches(key, fields, n=1, cutoff=0)
            raise ValueError(f"{key} is no name of a model's part; the closest is {close}")
    checked = {key: _check(key, value, fields[key]) for key, value in changes.items()}
    return replace(known, **{"prefix": "", **checked})
