"""Weight types of an image: by name if built in, else with their codebook in the manifest."""

from collections.abc import Iterable, Mapping
from typing import Any

from bitwright.models.command_line.printable import show
from bitwright.models.datatypes.catalog import BUILT_IN
from bitwright.models.datatypes.custom import MAGNITUDE_MAX
from bitwright.models.datatypes.datatype import Datatype, codebook
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.errors import Error

__all__ = ["KindError", "describe_kinds", "read_kinds"]

BITS_MAX = 8
EXPONENT_MAX = 1100  # float64 ends before


class KindError(Error, ValueError):
    """A codebook that describes no datatype. One line, for people."""


def describe_kinds(kinds: Iterable[Datatype | Mixture]) -> dict[str, Any]:
    """Codebooks of the datatypes that are not built in, by name: ``values`` holds, for each code,
    an integer in units of ``2**exponent``, or null for a code that stands for nothing. Raises
    :class:`KindError` for a type that such a codebook does not give again."""
    return {kind.name: _describe(kind) for kind in kinds if kind.name not in BUILT_IN}


def _describe(kind: Datatype | Mixture) -> dict[str, Any]:
    if isinstance(kind, Mixture):
        raise KindError(f"mixture {kind.name} is not built in, and an image holds only datatypes: "
                        "use one of its datatypes")
    entry = {"bits": kind.bits, "exponent": kind.exponent,
             "values": [None if code in kind.unused else value
                        for code, value in enumerate(kind.values)]}
    if _read(kind.name, entry) != kind:
        raise KindError(f"datatype {kind.name} has planes that an image does not keep: make it "
                        "with codebook()")
    return entry


def _integer(name: str, key: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise KindError(f"{key} of datatype {name} must be an integer {least} to {most}, not "
                        f"{show(value)}")
    return value


def _read(name: str, entry: Any) -> Datatype:
    if not name.isidentifier() or name in BUILT_IN:
        raise KindError(f"a datatype cannot be called {show(name)}")
    if not isinstance(entry, dict) or set(entry) != {"bits", "exponent", "values"}:
        raise KindError(f"datatype {name} must be an object of bits, exponent and values, not "
                        f"{show(entry)}")
    bits = _integer(name, "bits", entry["bits"], 1, BITS_MAX)
    exponent = _integer(name, "exponent", entry["exponent"], -EXPONENT_MAX, EXPONENT_MAX)
    values = entry["values"]
    if not isinstance(values, list) or len(values) != 1 << bits:
        raise KindError(f"values of datatype {name} must be {1 << bits}, one per code of {bits} "
                        f"bits, not {show(values)}")
    known = [_integer(name, f"value {code}", value, -MAGNITUDE_MAX, MAGNITUDE_MAX)
             for code, value in enumerate(values) if value is not None]
    if len(set(known)) != len(known):
        raise KindError(f"values of datatype {name} must differ")
    if not any(known):
        raise KindError(f"datatype {name} must have a value other than 0")
    return codebook(name, values, exponent, bits)


def read_kinds(entries: Mapping[str, Any]) -> dict[str, Datatype | Mixture]:
    """Every type that layers may name: those built in and those of ``entries``, which come from
    outside. Raises :class:`KindError` for an entry that :func:`describe_kinds` does not write."""
    return {**BUILT_IN, **{name: _read(name, entry) for name, entry in entries.items()}}
