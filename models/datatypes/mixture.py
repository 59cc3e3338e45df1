"""Defines mixtures: each group of weights in a matrix names its datatype."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.datatypes.bit_planes import PlaneForm, plane_form
from bitwright.models.datatypes.datatype import Datatype, out_of_range


@dataclass(frozen=True)
class Mixture(PlaneForm):
    """Two to four candidate datatypes of the same ``bits`` (at most 4), told apart by a select.

    Planes are those of the union of all candidates' values, so that a value has the same planes
    whichever candidate it comes from. Integer values count, in one unit for all candidates:
    ``exponent`` is that of the first, and a candidate that has another one (``int4`` beside
    ``fp4``) takes part with its integer values.

    Parameters
    ----------
    name : str
    datatypes : tuple of Datatype
        Select ``s`` means ``datatypes[s]``.
    """

    name: str
    datatypes: tuple[Datatype, ...]
    coefs: tuple[int, ...] = field(init=False)
    constant: int = field(init=False)

    def __post_init__(self) -> None:
        if not 2 <= len(self.datatypes) <= 4:
            raise ValueError(f"mixture {self.name} must have 2 to 4 datatypes, "
                             f"not {len(self.datatypes)}")
        bits = [d.bits for d in self.datatypes]
        if len(set(bits)) > 1 or bits[0] > 4:
            raise ValueError(f"datatypes of mixture {self.name} must all have the same bits, at "
                             f"most 4, not {bits}")
        if scaled := [d.name for d in self.datatypes if d.plane_scaled]:
            raise ValueError(f"mixture {self.name} cannot hold {scaled[0]}: its planes have "
                             "weights of their own")
        coefs, constant = plane_form(d.values[c] for d in self.datatypes for c in d.codes)
        object.__setattr__(self, "coefs", coefs)
        object.__setattr__(self, "constant", constant)

    @property
    def bits(self) -> int:
        return self.datatypes[0].bits

    @property
    def exponent(self) -> int:
        return self.datatypes[0].exponent

    @property
    def wmin(self) -> int:
        """Least integer value of any candidate."""
        return min(d.wmin for d in self.datatypes)

    @property
    def wmax(self) -> int:
        """Greatest integer value of any candidate."""
        return max(d.wmax for d in self.datatypes)

    @property
    def max_abs(self) -> int:
        """Greatest magnitude of an integer value of any candidate."""
        return max(d.max_abs for d in self.datatypes)

    @property
    def max_terms(self) -> int:
        """Most non-adjacent-form terms of any value."""
        return max(d.max_terms for d in self.datatypes)

    @property
    def symmetric(self) -> bool:
        """Say whether every candidate is symmetric."""
        return all(d.symmetric for d in self.datatypes)

    @property
    def has_zero(self) -> bool:
        """Say whether every candidate has a code for zero."""
        return all(d.has_zero for d in self.datatypes)

    @cached_property
    def _values(self) -> NDArray[np.int64]:
        return np.array([d.values for d in self.datatypes], dtype=np.int64)

    @cached_property
    def _usable(self) -> NDArray[np.bool_]:
        return np.array([[c not in d.unused for c in range(1 << d.bits)] for d in self.datatypes])

    @cached_property
    def _plane_table(self) -> NDArray[np.uint8]:
        return self._bits(self._values)

    def check(self, codes: ArrayLike, select: ArrayLike
              ) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """``select`` and ``codes`` as arrays of their own types, broadcast against each other.
        ``ValueError`` names the first that is out of range or unused; ``TypeError`` if they are not
        integers."""
        for name, array in (("codes", codes), ("select", select)):
            if np.asarray(array).dtype.kind not in "iu":
                raise TypeError(f"{name} must be integers, not {np.asarray(array).dtype}")
        which, code = np.broadcast_arrays(np.asarray(select), np.asarray(codes))
        if (bad := out_of_range(which, len(self.datatypes))).any():
            at = np.argwhere(bad)[0].tolist()
            raise ValueError(f"select of {self.name} at {at} must be "
                             f"0...{len(self.datatypes) - 1}, not {int(which[tuple(at)])}")
        bad = out_of_range(code, 1 << self.bits)
        bad |= ~self._usable[which, np.where(bad, 0, code)]
        if bad.any():
            at = np.argwhere(bad)[0].tolist()
            chosen = self.datatypes[which[tuple(at)]]
            raise ValueError(f"code of {self.name} at {at} must be a code of {chosen.name}, "
                             f"not {int(code[tuple(at)])}")
        return which, code

    def decode(self, codes: ArrayLike, select: ArrayLike) -> NDArray[np.int64]:
        """Integer values of ``codes`` of the candidates ``select``, broadcast, int64."""
        return self._values[self.check(codes, select)]

    def plane_bits(self, codes: ArrayLike, select: ArrayLike) -> NDArray[np.uint8]:
        """Bits ``b_p`` of ``codes`` of the candidates ``select``, broadcast: uint8
        ``[..., planes]``, least significant plane first."""
        return self._plane_table[self.check(codes, select)]
