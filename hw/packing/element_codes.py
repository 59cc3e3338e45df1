"""How a datatype runs on a machine: digits, and what the decode table holds.

``lut`` elements take bit-planes, made when weights are packed. ``serial`` and ``mac`` elements
take codes of up to 4 bits, decoded on chip; a digit's value must fit the element, else the value is
``16·high + low`` and each part is a digit. Weights of 5 to 8 bits are stored as such values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.isa.instruction_table import DIGITS
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.memory_format import (
    CODES,
    SELECTS,
    STEPS,
    TABLE_ROWS,
    entry_bits,
    row_index,
)
from bitwright.hw.packing.power_of_two_terms import TermError, digit_terms, fewest_slots, term_code
from bitwright.hw.tiling.gemm_spec import Digit, PlanError
from bitwright.models.datatypes.bit_planes import DIGIT_PLANES
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture

__all__ = ["Encoding", "encode", "part_codes"]

Codebook = dict[int, int]  # code -> value


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """``parts`` holds, per digit of decoded weights, one codebook per select."""
    digits: tuple[Digit, ...]
    sigma: bool = False
    select: bool = False
    plane_scales: bool = False
    ternary: bool = False                           # three weights per table index
    stored_values: bool = False                     # codes of the digits are parts of the value
    parts: tuple[tuple[Codebook, ...], ...] = ()

    def part_bits(self, digit: int) -> int:
        """Bits of a stored code of ``digit``."""
        return 4 >> self.digits[digit].packing

    def table(self, machine: Machine) -> bytes:
        """The decode table as the machine loads it."""
        bits = entry_bits(machine)
        rows = np.zeros((TABLE_ROWS, CODES), dtype=np.uint16)
        for digit, codebooks in enumerate(self.parts):
            for select, codebook in enumerate(codebooks):
                for code, value in codebook.items():
                    for step, entry in enumerate(_entries(machine, value,
                                                          self.digits[digit].slots)):
                        rows[row_index(digit, select, step), code] = entry
        flat = (rows.reshape(-1, 1) >> np.arange(bits, dtype=np.uint16) & 1).astype(np.uint8)
        return np.packbits(flat.reshape(-1), bitorder="little").tobytes()


def _entries(machine: Machine, value: int, slots: int) -> list[int]:
    """What a value sends in each of its slots."""
    if machine.pe == "serial":
        return [term_code(term) for term in digit_terms([value], slots)[0]]
    return [value & (1 << machine.value_bits) - 1]


def _needs(machine: Machine, values: Sequence[int]) -> int:
    """Slots for a digit of these values, 0 if the element cannot take one."""
    if machine.pe == "mac":
        limit = 1 << machine.value_bits - 1
        return int(all(-limit <= value < limit for value in values))
    try:
        return fewest_slots(values)
    except TermError:
        return 0


def _split(machine: Machine, name: str, values: Sequence[int], by_code: bool
           ) -> tuple[dict[int, int], ...]:
    """``low`` and ``high`` of every value, as mappings from the value; ``high`` is a code of 4 bits
    itself unless both are looked up from one code."""
    for signed in (True, False):
        low = {v: ((v + 8) & 15) - 8 if signed else v & 15 for v in values}
        high = {v: (v - low[v]) >> 4 for v in values}
        fits = by_code or all(-8 <= h < 8 for h in high.values())
        if fits and _needs(machine, [*low.values()]) and _needs(machine, [*high.values()]):
            return low, high
    bounds = f"its values reach {min(values)}…{max(values)}"
    if -128 <= min(values) and max(values) <= 127 and machine.pe == "mac":
        raise PlanError(f"datatype {name} does not run on mac elements of value_bits="
                        f"{machine.value_bits}: {bounds}; use --set value_bits=5 or more")
    raise PlanError(f"datatype {name} does not run on {machine.pe} elements: {bounds}, and two "
                    "digits of 4 bits hold −128…127; use --pe lut or another datatype")


def _packing(codes: int) -> int:
    """log2 of the codes that share a field, for codes below ``codes``."""
    return 2 if codes <= 2 else 1 if codes <= 4 else 0


def _decoded(machine: Machine, kind: Datatype | Mixture) -> Encoding:
    types = kind.datatypes if isinstance(kind, Mixture) else (kind,)
    if any(dt.plane_scaled for dt in types):
        raise PlanError(f"datatype {kind.name} does not run on {machine.pe} elements: each of its "
                        "bit-planes has a scale of its own; use --pe lut")
    books = [{code: int(dt.values[code]) for code in dt.codes} for dt in types]
    values = sorted({value for book in books for value in book.values()})
    by_code = kind.bits <= 4
    slots = _needs(machine, values)
    if by_code and slots:
        digits: tuple[Digit, ...] = (Digit(1, slots, _packing(1 << kind.bits)),)
        return Encoding(digits=digits, select=len(types) > 1, parts=(tuple(books),))
    low, high = _split(machine, kind.name, values, by_code)
    counts = [_needs(machine, [*part.values()]) for part in (low, high)]
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


def _planes(machine: Machine, kind: Datatype | Mixture) -> Encoding:
    if machine.tl2 and kind.name == "ternary":
        return Encoding(digits=(Digit(1, 1),), ternary=True)
    if isinstance(kind, Datatype) and kind.plane_scaled:
        return Encoding(plane_scales=True, digits=tuple(Digit(1, 1) for _ in range(kind.planes)))
    if kind.correction not in (0, -1):
        raise PlanError(f"datatype {kind.name} does not run on lut elements: it needs a "
                        f"correction of {kind.correction} sums of activations, not 0 or -1")
    digits = tuple(Digit(shift, len(planes)) for shift, planes in kind.digits)
    if len(digits) > DIGITS:
        raise PlanError(f"datatype {kind.name} does not run on lut elements: it takes "
                        f"{kind.planes} bit-planes, and {DIGIT_PLANES * DIGITS} are the most; use "
                        "a datatype of a smaller range")
    return Encoding(digits=digits, sigma=kind.correction == -1)


def encode(machine: Machine, kind: Datatype | Mixture) -> Encoding:
    """How weights of ``kind`` run on ``machine``. Raises :class:`PlanError`, with the reason, for
    a pair that does not."""
    encoding = _decoded(machine, kind) if machine.decodes else _planes(machine, kind)
    assert all(digit.slots <= STEPS for digit in encoding.digits)
    assert all(len(part) <= SELECTS for part in encoding.parts)
    return encoding


def part_codes(encoding: Encoding, digit: int, values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Stored codes of one digit of weights that are stored as values."""
    low = np.asarray(values) & 15
    if digit == 0:
        return low.astype(np.uint8)
    signed = min(encoding.parts[0][0].values()) < 0
    low = np.where(signed & (low >= 8), low - 16, low)
    return (values - low >> 4 & (1 << encoding.part_bits(1)) - 1).astype(np.uint8)
