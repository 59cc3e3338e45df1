"""Splits integers into bit-planes and signed powers of two, the two forms that elements read.

* **planes**: ``value == sum(c_p * b_p) + k``, ``b_p`` in {0, 1}; with ``beta = 2*b - 1``,
  ``2 * value == sum(c_p * beta_p) + correction``.
* **digits**: planes in runs of at most four, so that a run's sum fits one multiplier port.
* **terms**: ``value == sum(sign * 2**exp)`` in non-adjacent form.
"""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

DIGIT_PLANES = 4


def naf(value: int) -> list[tuple[int, int]]:
    """Non-adjacent form of ``value``: ``(sign, exp)`` pairs, least significant first.

    No two exponents are adjacent, and no signed-digit form has fewer terms. Zero has none.
    """
    terms = []
    exp = 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)
            terms.append((sign, exp))
            value -= sign
        value >>= 1
        exp += 1
    return terms


def plane_form(values: Iterable[int]) -> tuple[tuple[int, ...], int]:
    """``coefs`` and ``constant`` with the fewest planes for ``values``, correction -1 or 0.

    Odd values alone need no plane for the parity: coefficients 2, 4, … all positive, and the
    constant that centres them (``int1``: one plane). Any others take two's complement.
    """
    values = list(values)
    if all(v & 1 for v in values):
        planes = max(abs(v) for v in values).bit_length()
        return tuple(2 << p for p in range(planes)), 1 - (1 << planes)
    planes = 1 + max((v if v >= 0 else ~v).bit_length() for v in values)
    return tuple(1 << p for p in range(planes - 1)) + (-1 << (planes - 1),), 0


class PlaneForm:
    """The form of weights as bit-planes: everything that follows from plane coefficients and
    constant.

    Members
    -------
    coefs : tuple of int
        Least significant first; magnitudes are consecutive powers of two, and only the last may
        be negative.
    constant : int
        ``k`` in ``value == sum(c_p * b_p) + k``.
    """

    name: str
    coefs: tuple[int, ...]
    constant: int

    def _check_coefs(self) -> None:
        low = abs(self.coefs[0]) if self.coefs else 0
        if low < 1 or low & (low - 1) or any(
                abs(c) != low << p or (c < 0 and p < len(self.coefs) - 1)
                for p, c in enumerate(self.coefs)):
            raise ValueError(f"coefs of {self.name} must be consecutive powers of two, at most "
                             f"the last negative, not {self.coefs!r}")

    @property
    def planes(self) -> int:
        return len(self.coefs)

    @property
    def correction(self) -> int:
        """``C`` in ``2 * value == sum(c_p * beta_p) + C``, ``beta_p`` in {-1, +1}."""
        return sum(self.coefs) + 2 * self.constant

    @cached_property
    def digits(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """``(shift, planes)`` per digit, low digit first, at most four planes each.

        ``planes`` are plane indices, top first; ``shift`` is log2 of the magnitude of the
        digit's lowest coefficient.
        """
        return tuple(
            (abs(self.coefs[low]).bit_length() - 1,
             tuple(range(min(low + DIGIT_PLANES, self.planes) - 1, low - 1, -1)))
            for low in range(0, self.planes, DIGIT_PLANES))

    def _bits(self, values: ArrayLike) -> NDArray[np.uint8]:
        """Plane bits ``[..., planes]`` of integer values; what does not fit is cut off."""
        scaled = (np.asarray(values, dtype=np.int64) - self.constant) // abs(self.coefs[0])
        return (scaled[..., None] >> np.arange(self.planes) & 1).astype(np.uint8)

    def _fits(self, value: int) -> bool:
        """Say whether the planes form ``value``."""
        bits = self._bits(value)
        return sum(c * int(b) for c, b in zip(self.coefs, bits, strict=True)) + self.constant \
            == value
