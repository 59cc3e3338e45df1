"""Turns floats into fixed point, rounds, and checks that values fit their stated widths.

Codes are int64 arrays here; the width a circuit needs is what :func:`fits` states and checks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Dyadic", "Int", "bit_length", "dyadic", "fits", "fixed_point", "round_half_up",
           "shift_left"]

Int = NDArray[np.int64]


def fits(name: str, x: Int, bits: int, signed: bool = False) -> Int:
    """``x``, once it is known to fit ``bits`` bits (sign included). ``OverflowError`` if not."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if x.size and not (low <= int(x.min()) and int(x.max()) <= high):
        raise OverflowError(f"{name} must be within {low}...{high}, not {int(x.min())}..."
                            f"{int(x.max())}")
    return x


def round_half_up(x: Int, shift: ArrayLike) -> Int:
    """``floor(x / 2**shift + 1/2)``: half is added, then shifted. ``shift`` is 0 to 62, one for all
    or one each; ``x`` has at most 62 bits and its sign."""
    shift = np.asarray(shift, dtype=np.int64)
    half = np.left_shift(np.int64(1), shift) >> 1
    result: Int = (x + half) >> shift
    return result


def shift_left(x: Int, shift: ArrayLike, bits: int) -> Int:
    """``x * 2**shift`` for ``x`` >= 0, rounded half up if ``shift`` is negative, and at most
    ``2**bits - 1``. Any ``shift``; ``bits`` up to 31, ``x`` below ``2**31``."""
    shift = np.asarray(shift, dtype=np.int64)
    left, right = np.clip(shift, 0, 31), np.clip(-shift, 0, 62)
    result: Int = np.minimum(round_half_up(x, right) << left, (1 << bits) - 1)
    return np.where((shift > 31) & (x > 0), (1 << bits) - 1, result)


def bit_length(x: Int) -> Int:
    """Bits of each ``x`` >= 0 without leading zeros; 0 has none."""
    rest, length = x.copy(), np.zeros_like(x)
    for step in (32, 16, 8, 4, 2, 1):
        high = (rest >> step) > 0
        length += np.where(high, step, 0)
        rest = np.where(high, rest >> step, rest)
    return length + rest


@dataclass(frozen=True)
class Dyadic:
    """The constant ``multiplier / 2**shift``."""
    multiplier: int
    shift: int

    def times(self, x: Int) -> Int:
        """The product, rounded half up; ``shift`` must be 0 to 62, and the product have 62 bits."""
        return round_half_up(x * self.multiplier, self.shift)


def dyadic(value: float, bits: int = 16) -> Dyadic:
    """The nearest constant to ``value`` whose multiplier has ``bits`` bits. ``ValueError`` unless
    ``value`` is positive and finite."""
    if not 0 < value < np.inf:
        raise ValueError(f"value must be positive and finite, not {value!r}")
    shift = bits - int(np.frexp(value)[1])
    multiplier = int(np.rint(np.ldexp(value, shift)))
    if multiplier == 1 << bits:
        return Dyadic(multiplier >> 1, shift - 1)
    return Dyadic(multiplier, shift)


def fixed_point(x: NDArray[Any], bits: int, most: ArrayLike | None = None) -> tuple[Int, Int]:
    """Codes of ``bits`` bits, sign included, and fraction bits ``f`` of every row (last axis) of
    floats: ``code = rint(x * 2**f)``, ``f`` the greatest for which the row fits, but at most
    ``most``. So ``|x - code / 2**f| <= 2**-(f + 1)``. A row of zeros has ``f = bits - 1``.

    Returns codes [..., n] and ``f`` [..., 1]. A value that is not finite is a ``ValueError`` with
    its position.
    """
    wide = np.asarray(x, dtype=np.float64)
    if not np.isfinite(wide).all():
        at = np.argwhere(~np.isfinite(wide))[0].tolist()
        raise ValueError(f"x at {at} must be finite, not {wide[tuple(at)]}")
    top = np.abs(wide).max(axis=-1, keepdims=True, initial=0.0)
    fraction = bits - 1 - np.frexp(top)[1].astype(np.int64)
    fraction -= np.rint(np.ldexp(top, fraction)) >= 1 << bits - 1
    if most is not None:
        fraction = np.minimum(fraction, most)
    return np.rint(np.ldexp(wide, fraction)).astype(np.int64), fraction
