"""Packs weights for elements that decode them: codes of up to 4 bits, in one or two digits.

The value of a digit must fit the element, else it is ``16·high + low`` and each part is a digit.
Weights of 5 to 8 bits are stored as such values.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.element_codes import Encoding, Kind, Stored, StoredTile
from bitwright.hw.tiling.gemm_spec import Digit, PlanError
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture

__all__ = ["CodeCodec", "ValueCodec", "part_codes"]


class CodeCodec(ABC):
    """Stores codes. A subclass tells what the decode table makes of a value."""

    @abstractmethod
    def slots(self, machine: Machine, values: Sequence[int]) -> int:
        """Return the slots of a digit of these ``values``, 0 if the element cannot take one."""

    @abstractmethod
    def entries(self, machine: Machine, value: int, slots: int) -> Sequence[int]:
        """Return what the decode table sends for ``value`` in each slot."""

    def error(self, machine: Machine, encoding: Encoding, digit: int, stored: NDArray[np.uint8],
              select: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return what the sums [n, K-tiles] of a digit have too much."""
        return np.zeros(stored.shape[:2], dtype=np.int64)

    def refusal(self, machine: Machine, name: str, values: Sequence[int]) -> str:
        """Return the message for ``values`` that two digits do not hold."""
        return (f"datatype {name} does not run on {machine.pe} elements: its values reach "
                f"{min(values)}…{max(values)}, and two digits of 4 bits hold −128…127; use "
                "--pe lut or another datatype")

    def encode(self, machine: Machine, kind: Kind) -> Encoding:
        types = kind.datatypes if isinstance(kind, Mixture) else (kind,)
        if any(dt.plane_scaled for dt in types):
            raise PlanError(f"datatype {kind.name} does not run on {machine.pe} elements: each of "
                            "its bit-planes has a scale of its own; use --pe lut")
        books = [{code: int(dt.values[code]) for code in dt.codes} for dt in types]
        values = sorted({value for book in books for value in book.values()})
        by_code = kind.bits <= 4
        slots = self.slots(machine, values)
        if by_code and slots:
            digits: tuple[Digit, ...] = (Digit(1, slots, _packing(1 << kind.bits)),)
            return Encoding(digits=digits, select=len(types) > 1, parts=(tuple(books),))
        low, high = self._split(machine, kind.name, values, by_code)
        counts = [self.slots(machine, [*part.values()]) for part in (low, high)]
        if by_code:
            packing = _packing(1 << kind.bits)
            return Encoding(
                digits=(Digit(1, counts[0], packing), Digit(5, counts[1], packing, False)),
                select=len(types) > 1,
                parts=tuple(tuple({code: part[value] for code, value in book.items()}
                                  for book in books) for part in (low, high)))
        span = max(high.values()) - min(high.values()) + 1
        packing = _packing(span)
        field = 4 >> packing
        return Encoding(
            digits=(Digit(1, counts[0]), Digit(5, counts[1], packing)), stored_values=True,
            parts=(({value & 15: value for value in low.values()},),
                   ({value & (1 << field) - 1: value for value in high.values()},)))

    def _split(self, machine: Machine, name: str, values: Sequence[int], by_code: bool
               ) -> tuple[dict[int, int], ...]:
        """``low`` and ``high`` of every value, as mappings from the value; ``high`` is a code of 4
        bits itself unless both are looked up from one code."""
        for signed in (True, False):
            low = {v: ((v + 8) & 15) - 8 if signed else v & 15 for v in values}
            high = {v: (v - low[v]) >> 4 for v in values}
            fits = by_code or all(-8 <= h < 8 for h in high.values())
            if fits and self.slots(machine, [*low.values()]) and self.slots(
                    machine, [*high.values()]):
                return low, high
        raise PlanError(self.refusal(machine, name, values))

    def store(self, machine: Machine, encoding: Encoding, kind: Kind, codes: NDArray[np.uint8],
              select: NDArray[np.uint8]) -> Iterator[Stored]:
        values = None
        if encoding.stored_values:
            assert isinstance(kind, Datatype)
            values = kind.decode(codes)
        for index in range(len(encoding.digits)):
            stored = codes if values is None else part_codes(encoding, index, values)
            yield Stored(stored[:, :, None], encoding.part_bits(index),
                         self.error(machine, encoding, index, stored, select))

    def read(self, machine: Machine, encoding: Encoding, kind: Kind, tile: StoredTile
             ) -> NDArray[np.int64]:
        low = tile.codes(0).astype(np.int64)
        if not encoding.stored_values:
            return low
        table = np.zeros((2, 16), dtype=np.int64)
        for row, (book,) in enumerate(encoding.parts):
            table[row, list(book)] = list(book.values())
        return table[0, low] + 16 * table[1, tile.codes(1)]


class ValueCodec(CodeCodec):
    """Sends every value as it is, in ``value_bits`` bits of two's complement."""

    def slots(self, machine: Machine, values: Sequence[int]) -> int:
        limit = 1 << machine.value_bits - 1
        return int(all(-limit <= value < limit for value in values))

    def entries(self, machine: Machine, value: int, slots: int) -> Sequence[int]:
        return [value & (1 << machine.value_bits) - 1]

    def refusal(self, machine: Machine, name: str, values: Sequence[int]) -> str:
        if min(values) < -128 or max(values) > 127:
            return super().refusal(machine, name, values)
        return (f"datatype {name} does not run on {machine.pe} elements of value_bits="
                f"{machine.value_bits}: its values reach {min(values)}…{max(values)}; use --set "
                "value_bits=5 or more")


def _packing(codes: int) -> int:
    """log2 of the codes that share a field, for codes below ``codes``."""
    return 2 if codes <= 2 else 1 if codes <= 4 else 0


def part_codes(encoding: Encoding, digit: int, values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Stored codes of one digit of weights that are stored as values."""
    low = np.asarray(values) & 15
    if digit == 0:
        return low.astype(np.uint8)
    signed = min(encoding.parts[0][0].values()) < 0
    low = np.where(signed & (low >= 8), low - 16, low)
    return (values - low >> 4 & (1 << encoding.part_bits(1)) - 1).astype(np.uint8)
