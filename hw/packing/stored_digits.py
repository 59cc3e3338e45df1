"""Weights as the slices or code words that are stored, and the constants that negation by
complement adds to their sums. Arrays are ``[n, K-tiles, k_tile]`` unless stated."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.element_codes import Encoding, part_codes
from bitwright.hw.packing.power_of_two_terms import digit_terms, slot_constant
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix

__all__ = ["Stored", "stored_digits"]


class Stored(NamedTuple):
    """One digit of a matrix. ``fields`` [n, K-tiles, slices, fields] of ``bits`` bits each, in the
    order of a word; ``error`` [n, K-tiles] is what the digit's sum has too much."""
    fields: NDArray[np.uint8]
    bits: int
    error: NDArray[np.int64]


# ---- tables -------------------------------------------------------------------------------------
def relative(negative: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Signs of tables relative to those of their ancestors in the adder tree."""
    tables = np.arange(negative.shape[-1])
    ancestor = np.where(tables > 0, negative[..., tables & (tables - 1)], 0)
    return (negative ^ ancestor).astype(np.uint8)


def plane_fields(bits: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Table index and sign (4 bits), and the relative signs, from plane bits ``[..., k_tile]``."""
    negative = bits[..., 3::4] ^ np.uint8(1)
    sign = relative(negative)
    fields = sign << 3
    for place in range(3):
        fields |= (bits[..., place::4] ^ negative) << place
    return np.asarray(fields, dtype=np.uint8), sign


def triple_fields(weights: NDArray[np.integer]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The same of three weights in −1…+1 per table: ``|9·w0 + 3·w1 + w2|`` and sign (5 bits)."""
    value = weights.reshape(*weights.shape[:-1], -1, 3).astype(np.int8) @ np.array(
        [9, 3, 1], dtype=np.int8)
    sign = relative((value < 0).astype(np.uint8))
    fields = np.abs(value).astype(np.uint8) | sign << 4
    return np.asarray(fields, dtype=np.uint8), sign


def complement_error(sign: NDArray[np.uint8], subtract: bool) -> NDArray[np.int64]:
    """What tree and accumulator add to one slice's sum because they negate by complement, from the
    relative signs of its tables."""
    error: NDArray[np.int64] = np.zeros(sign.shape, dtype=np.int64)
    stride = 1
    while error.shape[-1] > 1:
        right = error[..., 1::2]
        flipped = np.where(sign[..., stride::2 * stride], -right - 1, right)
        error = error[..., ::2] + flipped
        stride *= 2
    root = error[..., 0]
    return np.where(sign[..., 0], -root - 1, root - int(subtract))


def _planes(machine: Machine, encoding: Encoding, kind, codes: NDArray[np.uint8],
            select: NDArray[np.uint8]) -> Iterator[Stored]:
    bits = 5 if machine.tl2 else 4
    if encoding.ternary:
        fields, sign = triple_fields(kind.decode(codes))
        yield Stored(fields[:, :, None], bits, complement_error(sign, False))
        return
    runs = ([(plane,) for plane in range(kind.planes)] if encoding.plane_scales
            else [planes for _, planes in kind.digits])
    for index, planes in enumerate(runs):
        parts, error = [], np.zeros(codes.shape[:2], dtype=np.int64)
        for position, plane in enumerate(planes):
            on = _plane(kind, plane, codes, select) ^ np.uint8(kind.coefs[plane] < 0)
            fields, sign = (triple_fields(2 * on.astype(np.int8) - 1) if machine.tl2
                            else plane_fields(on))
            parts.append(fields)
            weight = len(planes) - 1 - position
            subtract = encoding.sigma and index == 0 and weight == 0
            error += complement_error(sign, subtract) << weight
        yield Stored(np.stack(parts, axis=2), bits, error)


def _plane(kind, plane: int, codes: NDArray[np.uint8], select: NDArray[np.uint8]
           ) -> NDArray[np.uint8]:
    """One bit-plane, by table."""
    types = kind.datatypes if isinstance(kind, Mixture) else (kind,)
    table = np.zeros((len(types), 1 << kind.bits), dtype=np.uint8)
    for row, dt in enumerate(types):
        used = np.array(dt.codes)
        every = (kind.plane_bits(used, np.full(used.shape, row, dtype=np.uint8))
                 if isinstance(kind, Mixture) else kind.plane_bits(used))
        table[row, used] = every[..., plane]
    if len(types) == 1:
        return table[0].take(codes)
    return table.reshape(-1).take((select << np.uint8(kind.bits))[..., None] | codes)


# ---- codes --------------------------------------------------------------------------------------
def _codes(machine: Machine, encoding: Encoding, kind, codes: NDArray[np.uint8],
           select: NDArray[np.uint8]) -> Iterator[Stored]:
    values = kind.decode(codes) if encoding.stored_values else None
    for index, digit in enumerate(encoding.digits):
        stored = codes if values is None else part_codes(encoding, index, values)
        error = np.zeros(codes.shape[:2], dtype=np.int64)
        if machine.pe == "serial":
            books = encoding.parts[index]
            terms = np.zeros((len(books), 16, digit.slots), dtype=np.int64)
            for row, book in enumerate(books):
                terms[row, list(book)] = digit_terms(list(book.values()), digit.slots)
            for slot in range(digit.slots):
                sent = terms[..., slot][select[..., None], stored]
                error = 4 * error + slot_constant(sent)
        yield Stored(stored[:, :, None], encoding.part_bits(index), error)


def stored_digits(machine: Machine, encoding: Encoding, qm: QuantizedMatrix,
                  codes: NDArray[np.uint8], select: NDArray[np.uint8]) -> Iterator[Stored]:
    """The digits of ``qm`` whose tiled ``codes`` these are, low digit first; ``select`` [n,
    K-tiles]. Of a digit that shares the words of the one before, ``fields`` are the same."""
    form = _codes if machine.decodes else _planes
    return form(machine, encoding, qm.datatype, codes, select)
