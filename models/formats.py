"""Weight datatypes: a table from code to value, and the forms processing elements read.

A code is an unsigned integer of :attr:`Datatype.bits` bits. Its value is an integer,
``values[code]``; the real number it stands for is ``values[code] * 2**exponent``.

* **planes**: ``value == sum(c_p * b_p) + k``, ``b_p`` in {0, 1}; with ``beta = 2*b - 1``,
  ``2 * value == sum(c_p * beta_p) + correction``.
* **digits**: planes in runs of at most four, so that a run's sum fits one multiplier port.
* **terms**: ``value == sum(sign * 2**exp)`` in non-adjacent form.
"""

from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Datatype:
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
    """

    name: str
    bits: int
    values: tuple[int, ...]
    coefs: tuple[int, ...]
    constant: int = 0
    exponent: int = 0
    unused: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ValueError(f"bits of {self.name} must be 1 to 8, not {self.bits!r}")
        if len(self.values) != 1 << self.bits:
            raise ValueError(f"{self.name} must have {1 << self.bits} values, one per code, "
                             f"not {len(self.values)!r}")
        low = abs(self.coefs[0]) if self.coefs else 0
        if low < 1 or low & (low - 1) or any(
                abs(c) != low << p or (c < 0 and p < len(self.coefs) - 1)
                for p, c in enumerate(self.coefs)):
            raise ValueError(f"coefs of {self.name} must be consecutive powers of two, at most "
                             f"the last negative, not {self.coefs!r}")
        for code in self.codes:
            planes = self._plane_table[code]
            value = sum(c * int(b) for c, b in zip(self.coefs, planes, strict=True))
            if value + self.constant != self.values[code]:
                raise ValueError(f"planes of {self.name} cannot form value "
                                 f"{self.values[code]!r} of code {code}")

    @cached_property
    def codes(self) -> tuple[int, ...]:
        """Codes that stand for a value, ascending."""
        return tuple(c for c in range(1 << self.bits) if c not in self.unused)

    @property
    def planes(self) -> int:
        return len(self.coefs)

    @property
    def correction(self) -> int:
        """``C`` in ``2 * value == sum(c_p * beta_p) + C``, ``beta_p`` in {-1, +1}."""
        return sum(self.coefs) + 2 * self.constant

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
        """Whether ``-v`` is a value for every value ``v``."""
        return all(-v in self._code_of for v in self._code_of)

    @property
    def has_zero(self) -> bool:
        return 0 in self._code_of

    @cached_property
    def max_terms(self) -> int:
        """Most non-adjacent-form terms of any value."""
        return max(len(self.terms(c)) for c in self.codes)

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

    @cached_property
    def _code_of(self) -> dict[int, int]:
        """Lowest code of each value."""
        return {self.values[c]: c for c in reversed(self.codes)}

    @cached_property
    def _plane_table(self) -> NDArray[np.uint8]:
        low = abs(self.coefs[0])
        scaled = (np.array(self.values) - self.constant) // low
        return (scaled[:, None] >> np.arange(self.planes) & 1).astype(np.uint8)

    def check(self, codes: ArrayLike) -> NDArray[np.int64]:
        """``codes`` as int64. ``ValueError`` names the first code that is out of range or unused;
        ``TypeError`` if they are not integers."""
        array = np.asarray(codes)
        if array.dtype.kind not in "iu":
            raise TypeError(f"codes must be integers, not {array.dtype}")
        array = array.astype(np.int64)
        usable = np.zeros(1 << self.bits, dtype=bool)
        usable[list(self.codes)] = True
        bad = (array < 0) | (array >= 1 << self.bits)
        bad |= ~usable[np.where(bad, 0, array)]
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


def _twos_complement(bits: int) -> tuple[int, ...]:
    half = 1 << (bits - 1)
    return tuple((code ^ half) - half for code in range(1 << bits))


def _coefs(planes: int) -> tuple[int, ...]:
    return tuple(1 << p for p in range(planes - 1)) + (-1 << (planes - 1),)


_E2M1_TIMES_2 = (0, 1, 2, 3, 4, 6, 8, 12)

DATATYPES: dict[str, Datatype] = {d.name: d for d in (
    Datatype(name="int1", bits=1, values=(-1, 1), coefs=(2,), constant=-1),
    *(Datatype(name=f"int{b}", bits=b, values=_twos_complement(b), coefs=_coefs(b))
      for b in range(2, 9)),
    Datatype(name="ternary", bits=2, values=_twos_complement(2), coefs=_coefs(2), unused=(2,)),
    Datatype(name="fp4", bits=4, values=_E2M1_TIMES_2 + tuple(-v for v in _E2M1_TIMES_2),
             coefs=_coefs(5), exponent=-1),
)}


def datatype(name: str) -> Datatype:
    """The datatype called ``name``. ``ValueError`` names the known ones."""
    try:
        return DATATYPES[name]
    except KeyError:
        raise ValueError(f"datatype must be one of {', '.join(DATATYPES)}, not {name!r}") from None
