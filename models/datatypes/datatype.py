"""Defines a weight datatype: a table from code to value.

A code is an unsigned integer of :attr:`Datatype.bits` bits. Its value is an integer,
``values[code]``; the real number it stands for is ``values[code] * 2**exponent``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.datatypes.bit_planes import PlaneForm, naf, plane_form


def out_of_range(array: NDArray[np.integer], count: int) -> NDArray[np.bool_]:
    """Return where an array of integers is not 0 to ``count - 1``."""
    return (array < 0) | (array > count - 1)


@dataclass(frozen=True, kw_only=True)
class Datatype(PlaneForm):
    """One weight datatype. Checks on construction that its planes give its values.

    Parameters
    ----------
    name : str
    bits : int
        Storage bits of a code, 1 to 8.
    values : tuple of int
        Integer value of each of the ``2**bits`` codes.
    coefs : tuple of int
        Plane coefficients, least significant first; magnitudes are consecutive powers of two,
        and only the last may be negative.
    constant : int
        ``k`` in ``value == sum(c_p * b_p) + k``.
    exponent : int
        Real value is ``values[code] * 2**exponent``.
    unused : tuple of int
        Codes that stand for nothing. Every function that takes codes refuses them.
    plane_scaled : bool
        Whether a matrix gives each plane a power-of-two weight of its own per group, so that a
        weight is ``sum((2*b_p - 1) << plane_shift_p)``. ``values`` are those of shifts 0, 1, 2…
    """

    name: str
    bits: int
    values: tuple[int, ...]
    coefs: tuple[int, ...]
    constant: int = 0
    exponent: int = 0
    unused: tuple[int, ...] = ()
    plane_scaled: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ValueError(f"bits of {self.name} must be 1 to 8, not {self.bits!r}")
        if len(self.values) != 1 << self.bits:
            raise ValueError(f"{self.name} must have {1 << self.bits} values, one per code, "
                             f"not {len(self.values)!r}")
        self._check_coefs()
        for code in self.codes:
            if not self._fits(self.values[code]):
                raise ValueError(f"planes of {self.name} cannot form value "
                                 f"{self.values[code]!r} of code {code}")

    @cached_property
    def codes(self) -> tuple[int, ...]:
        """Codes that stand for a value, ascending."""
        return tuple(c for c in range(1 << self.bits) if c not in self.unused)

    @cached_property
    def wmin(self) -> int:
        """Least integer value."""
        return min(self.values[c] for c in self.codes)

    @cached_property
    def wmax(self) -> int:
        """Greatest integer value."""
        return max(self.values[c] for c in self.codes)

    @property
    def max_abs(self) -> int:
        """Greatest magnitude of an integer value."""
        return max(-self.wmin, self.wmax)

    @property
    def symmetric(self) -> bool:
        """Say whether ``-v`` is a value for every value ``v``."""
        return all(-v in self._code_of for v in self._code_of)

    @cached_property
    def is_integer(self) -> bool:
        """Say whether the values are consecutive integers, with two's complement codes."""
        return (self.wmax - self.wmin == len(self.codes) - 1 and not self.plane_scaled
                and all((self.values[c] - c) % (1 << self.bits) == 0 for c in self.codes))

    @property
    def has_offset_form(self) -> bool:
        """Say whether asymmetric quantization may use it: two to eight bits, every code in use."""
        return self.is_integer and self.bits > 1 and not self.unused

    @property
    def has_zero(self) -> bool:
        return 0 in self._code_of

    @cached_property
    def max_terms(self) -> int:
        """Most non-adjacent-form terms of any value."""
        return max(len(self.terms(c)) for c in self.codes)

    @cached_property
    def _code_of(self) -> dict[int, int]:
        """Lowest code of each value."""
        return {self.values[c]: c for c in reversed(self.codes)}

    @cached_property
    def _plane_table(self) -> NDArray[np.uint8]:
        return self._bits(self.values)

    @cached_property
    def _usable(self) -> NDArray[np.bool_]:
        usable = np.zeros(1 << self.bits, dtype=bool)
        usable[list(self.codes)] = True
        return usable

    def check(self, codes: ArrayLike) -> NDArray[np.integer]:
        """``codes`` as an array of their own type. ``ValueError`` names the first code that is out
        of range or unused; ``TypeError`` if they are not integers."""
        array = np.asarray(codes)
        if array.dtype.kind not in "iu":
            raise TypeError(f"codes must be integers, not {array.dtype}")
        bad = out_of_range(array, 1 << self.bits)
        if self.unused:
            bad |= ~self._usable[np.where(bad, 0, array)]
        if bad.any():
            at = np.argwhere(bad)[0].tolist()
            raise ValueError(f"code of {self.name} at {at} must be one of its {len(self.codes)} "
                             f"codes 0...{self.codes[-1]}"
                             + (f" without {list(self.unused)}" if self.unused else "")
                             + f", not {int(array[tuple(at)])}")
        return array

    def decode(self, codes: ArrayLike) -> NDArray[np.int64]:
        """Integer values of ``codes``, same shape, int64. Refuses unused codes."""
        return np.array(self.values, dtype=np.int64)[self.check(codes)]

    def encode(self, values: ArrayLike) -> NDArray[np.uint8]:
        """Lowest code of each integer value, uint8. ``ValueError`` if a value has none."""
        array = np.asarray(values)
        if array.dtype.kind not in "iu":
            raise TypeError(f"values must be integers, not {array.dtype}")
        known = np.array(sorted(self._code_of), dtype=np.int64)
        at = np.minimum(np.searchsorted(known, array), len(known) - 1)
        if (bad := known[at] != array).any():
            raise ValueError(f"value must be a value of {self.name}, not {int(array[bad][0])}")
        return np.array([self._code_of[int(v)] for v in known], dtype=np.uint8)[at]

    def plane_bits(self, codes: ArrayLike) -> NDArray[np.uint8]:
        """Bits ``b_p`` of ``codes``: uint8 ``[..., planes]``, least significant plane first."""
        return self._plane_table[self.check(codes)]

    def terms(self, code: int) -> list[tuple[int, int]]:
        """``(sign, exp)`` of ``values[code] == sum(sign * 2**exp)`` in non-adjacent form."""
        return naf(int(self.decode(code)))


def codebook(name: str, values: Sequence[int | None], exponent: int = 0,
             bits: int = 0) -> Datatype:
    """The datatype whose code ``i`` is worth ``values[i] * 2**exponent``.

    ``None`` makes a code unused, as are codes past the last value. A power of two common to all
    values moves into the exponent; planes are :func:`plane_form`'s. ``bits`` is the least that
    holds the codes if 0.
    """
    known = [v for v in values if v is not None]
    common = gcd(*known)
    if common == 0:
        raise ValueError(f"{name} must have a value other than 0")
    shift = (common & -common).bit_length() - 1
    bits = bits or max(1, (len(values) - 1).bit_length())
    table = list(values) + [None] * ((1 << bits) - len(values))
    coefs, constant = plane_form(v >> shift for v in known)
    return Datatype(
        name=name, bits=bits, values=tuple(0 if v is None else v >> shift for v in table),
        coefs=coefs, constant=constant, exponent=exponent + shift,
        unused=tuple(code for code, v in enumerate(table) if v is None))
