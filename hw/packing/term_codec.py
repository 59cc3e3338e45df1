"""Packs weights for serial elements: values as signed power-of-two terms, one per slot."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.code_codec import CodeCodec
from bitwright.hw.packing.element_codes import Encoding
from bitwright.hw.packing.power_of_two_terms import (
    TermError,
    digit_terms,
    fewest_slots,
    slot_constant,
    term_code,
)

__all__ = ["TermCodec"]


class TermCodec(CodeCodec):
    """Sends one term of a value per slot."""

    def slots(self, machine: Machine, values: Sequence[int]) -> int:
        try:
            return fewest_slots(values)
        except TermError:
            return 0

    def entries(self, machine: Machine, value: int, slots: int) -> Sequence[int]:
        return [term_code(term) for term in digit_terms([value], slots)[0]]

    def error(self, machine: Machine, encoding: Encoding, digit: int, stored: NDArray[np.uint8],
              select: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the constants that negation by complement adds, see :func:`slot_constant`."""
        books, slots = encoding.parts[digit], encoding.digits[digit].slots
        terms = np.zeros((len(books), 16, slots), dtype=np.int64)
        for row, book in enumerate(books):
            terms[row, list(book)] = digit_terms(list(book.values()), slots)
        error = np.zeros(stored.shape[:2], dtype=np.int64)
        for slot in range(slots):
            error = 4 * error + slot_constant(terms[..., slot][select[..., None], stored])
        return error
