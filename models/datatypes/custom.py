"""Reads datatypes from files: up to 16 real numbers of the user's choice."""

import math
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

from bitwright.models.command_line.printable import show
from bitwright.models.datatypes.datatype import Datatype, codebook

VALUES_MAX = 16
MAGNITUDE_MAX = 127


def _numbers(path: str, values: Any) -> list[Fraction]:
    if not isinstance(values, list) or not values:
        raise ValueError(f"values in {path} must be a list of 1 to {VALUES_MAX} numbers, "
                         f"not {show(values)}")
    if len(values) > VALUES_MAX:
        raise ValueError(f"values in {path} must be at most {VALUES_MAX} numbers, "
                         f"not {len(values)}")
    numbers = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"value in {path} must be a number, not {show(value)}")
        try:
            float(value)
        except OverflowError:
            raise ValueError(f"value in {path} must be within float64's range") from None
        if not math.isfinite(value):
            raise ValueError(f"value in {path} must be finite, not {show(value)}")
        if (number := Fraction(value)) in numbers:
            raise ValueError(f"values in {path} must differ, and {show(value)} is there twice")
        numbers.append(number)
    return numbers


def load_datatype(path: str) -> Datatype:
    """The datatype that a TOML file describes.

    ``name`` is a string; ``values`` the real numbers of codes 0, 1, 2…, at most 16; ``bits``,
    optional, the storage bits of a code, 1 to 4. Values must be integers times one power of two,
    magnitudes of the integers up to 127: 0.5 and 3 do, 0.1 does not. Codes past the last value
    are unused. Anything else is a ``ValueError`` of one line that names the file.
    """
    try:
        with Path(path).open("rb") as file:
            found = tomllib.load(file)
    except OSError as error:
        raise ValueError(f"datatype file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"datatype file {path} is not TOML: {error}") from None
    except RecursionError:
        raise ValueError(f"datatype file {path} is nested too deeply") from None
    if unknown := sorted(set(found) - {"name", "values", "bits"}):
        raise ValueError(f"datatype file {path} must hold name, values and bits, "
                         f"not {show(unknown[0])}")
    name = found.get("name")
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"name in {path} must be letters, digits and underscores, "
                         f"not {show(name)}")
    numbers = _numbers(path, found.get("values"))
    least = max(1, (len(numbers) - 1).bit_length())
    bits = found.get("bits", least)
    if isinstance(bits, bool) or not isinstance(bits, int) or not least <= bits <= 4:
        raise ValueError(f"bits in {path} must be {least} to 4 for {len(numbers)} values, "
                         f"not {show(bits)}")
    if not any(numbers):
        raise ValueError(f"values in {path} must hold a value other than 0")
    # Floats are integers over powers of two, so this is exact. The trailing zeros that all
    # integers share go into the exponent before their size is judged.
    scale = max(number.denominator for number in numbers)
    integers = [int(number * scale) for number in numbers]
    common = math.gcd(*integers)
    shift = (common & -common).bit_length() - 1
    for number, integer in zip(numbers, integers, strict=True):
        if abs(integer >> shift) > MAGNITUDE_MAX:
            unit = float(Fraction(1 << shift, scale))
            raise ValueError(f"value {float(number)!r} in {path} must be an integer up to "
                             f"{MAGNITUDE_MAX} times a power of two common to all values, which "
                             f"is {unit!r}")
    exponent = -(scale.bit_length() - 1)
    return codebook(name, integers, exponent, bits)
