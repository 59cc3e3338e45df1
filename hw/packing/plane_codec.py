"""Packs weights for elements that take bit-planes: table indices and signs, slice by slice.

Arrays are ``[n, K-tiles, k_tile]`` unless stated. Reading is written against the description of
the layout, not against the packer, so that agreement of the two says something.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.isa.instruction_table import DIGITS
from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.element_codes import Encoding, Kind, Stored, StoredTile
from bitwright.hw.tiling.gemm_spec import Digit, PlanError
from bitwright.models.datatypes.bit_planes import DIGIT_PLANES
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture

__all__ = ["PlaneCodec", "complement_error", "plane_fields", "relative", "triple_fields"]


class PlaneCodec:
    """Stores every bit-plane as a slice of table indices."""

    def encode(self, machine: Machine, kind: Kind) -> Encoding:
        if machine.tl2 and kind.name == "ternary":
            return Encoding(digits=(Digit(1, 1),), ternary=True)
        if isinstance(kind, Datatype) and kind.plane_scaled:
            return Encoding(plane_scales=True, digits=tuple(Digit(1, 1)
                                                            for _ in range(kind.planes)))
        if kind.correction not in (0, -1):
            raise PlanError(f"datatype {kind.name} does not run on {machine.pe} elements: it needs "
                            f"a correction of {kind.correction} sums of activations, not 0 or -1")
        digits = tuple(Digit(shift, len(planes)) for shift, planes in kind.digits)
        if len(digits) > DIGITS:
            raise PlanError(f"datatype {kind.name} does not run on {machine.pe} elements: it takes "
                            f"{kind.planes} bit-planes, and {DIGIT_PLANES * DIGITS} are the most; "
                            "use a datatype of a smaller range")
        return Encoding(digits=digits, sigma=kind.correction == -1)

    def entries(self, machine: Machine, value: int, slots: int) -> Sequence[int]:
        """Return nothing: there is no decode table."""
        return ()

    def store(self, machine: Machine, encoding: Encoding, kind: Kind, codes: NDArray[np.uint8],
              select: NDArray[np.uint8]) -> Iterator[Stored]:
        bits = machine.field_bits
        if encoding.ternary:
            assert isinstance(kind, Datatype)
            fields, sign = triple_fields(kind.decode(codes))
            yield Stored(fields[:, :, None], bits, complement_error(sign, False))
            return
        for index, planes in enumerate(_runs(encoding, kind)):
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

    def read(self, machine: Machine, encoding: Encoding, kind: Kind, tile: StoredTile
             ) -> NDArray[np.int64]:
        if encoding.ternary:
            return _triples(tile.slices(0, 0))
        value: NDArray[np.int64] = np.zeros((), dtype=np.int64)
        for digit, planes in enumerate(_runs(encoding, kind)):
            for position, plane in enumerate(planes):
                found = tile.slices(digit, position)
                bits = ((_triples(found) + 1) // 2 if machine.tl2
                        else _bits(found).astype(np.int64))
                if encoding.plane_scales:
                    value = value + (bits << plane)
                else:
                    coef = kind.coefs[plane]
                    value = value + (bits ^ int(coef < 0)) * coef
        return value if encoding.plane_scales else value + kind.constant


def _runs(encoding: Encoding, kind: Any) -> Sequence[Sequence[int]]:
    """Return the planes of each digit, top plane first."""
    if encoding.plane_scales:
        return [(plane,) for plane in range(kind.planes)]
    return [planes for _, planes in kind.digits]


# ---- storing ------------------------------------------------------------------------------------
def relative(negative: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the signs of tables relative to the signs of their ancestors in the adder tree."""
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
    """Return the field of three weights in −1…+1 per table: ``|9·w0 + 3·w1 + w2|`` and a sign (5
    bits)."""
    value = weights.reshape(*weights.shape[:-1], -1, 3).astype(np.int8) @ np.array(
        [9, 3, 1], dtype=np.int8)
    sign = relative((value < 0).astype(np.uint8))
    fields = np.abs(value).astype(np.uint8) | sign << 4
    return np.asarray(fields, dtype=np.uint8), sign


def complement_error(sign: NDArray[np.uint8], subtract: bool) -> NDArray[np.int64]:
    """Return the constant that tree and accumulator add to one slice's sum. It comes from negation
    by complement, and follows from the relative signs of the slice's tables."""
    error: NDArray[np.int64] = np.zeros(sign.shape, dtype=np.int64)
    stride = 1
    while error.shape[-1] > 1:
        right = error[..., 1::2]
        flipped = np.where(sign[..., stride::2 * stride], -right - 1, right)
        error = error[..., ::2] + flipped
        stride *= 2
    root = error[..., 0]
    return np.where(sign[..., 0], -root - 1, root - int(subtract))


def _plane(kind, plane: int, codes: NDArray[np.uint8], select: NDArray[np.uint8]
           ) -> NDArray[np.uint8]:
    """Return one bit-plane, by table."""
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


# ---- reading ------------------------------------------------------------------------------------
def _negative(sign: NDArray[Any]) -> NDArray[Any]:
    """Signs of tables from those relative to their ancestors, [..., tables]."""
    negative = np.empty_like(sign)
    for table in range(sign.shape[-1]):
        above = negative[..., table & (table - 1)] if table else 0
        negative[..., table] = sign[..., table] ^ above
    return negative


def _triples(fields: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Three weights in −1…+1 of each table, [..., 3 · tables]."""
    negative = _negative(fields >> 4).astype(np.int64)
    value = (fields & 15) * (1 - 2 * negative)
    first = (value + 13) // 9 - 1
    second = (value - 9 * first + 4) // 3 - 1
    third = value - 9 * first - 3 * second
    return np.stack([first, second, third], axis=-1).reshape(*fields.shape[:-1], -1)


def _bits(fields: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Plane bits [..., 4 · tables]: bit 3 of a field is the relative sign, bits 0 to 2 tell
    whether a weight's bit equals the fourth one's."""
    fourth = _negative(fields >> 3) ^ 1
    same = fields[..., None] >> np.arange(3, dtype=np.uint8) & 1
    quads = np.concatenate([same ^ 1 ^ fourth[..., None], fourth[..., None]], axis=-1)
    return quads.reshape(*fields.shape[:-1], -1)
