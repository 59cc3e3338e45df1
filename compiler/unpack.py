"""Codes and scales back from a memory image: the layout read from its definition.

Written against the description of the layout, not against the packer, so that agreement of the two
says something. Each stored bit is fetched by its address.
"""

import numpy as np
from numpy.typing import NDArray

from hw.plan import Plan
from models.formats import Datatype
from models.matrix import QuantizedMatrix

__all__ = ["unpack_weights"]


class _Tile:
    """Addresses inside one output tile: channels ``start`` to ``stop`` of the matrix."""

    def __init__(self, plan: Plan, index: int):
        self.plan = plan
        self.channels = plan.tiles[index]
        before = plan.tiles[:index]
        self.start = sum(before) * plan.tile_width
        self.stop = min(self.start + self.channels * plan.tile_width, plan.spec.n)
        self.first_word = sum(plan.weight_words(c, plan.k_tiles) for c in before)
        self.first_scale = sum(plan.scale_words(c, plan.groups) for c in before)
        # A tile's channels run over columns first, then channels of a column, then row groups.
        at = np.arange(self.stop - self.start)
        cols = plan.machine.cols
        self.column = at % cols
        self.channel = at // cols % self.channels
        self.sub = at // cols // self.channels

    def nibbles(self, words: NDArray[np.uint8], shift: int, planes: int, position: int
                ) -> NDArray[np.uint8]:
        """Nibbles [channels, K-tiles, tables] of plane ``position`` (top first) of a digit of
        ``planes``, the digits before it having ``shift`` planes."""
        plan, tables = self.plan, self.plan.machine.tables
        per_channel = plan.spec.planes
        k_tile = np.arange(plan.k_tiles)[None, :, None]
        word = self.first_word + (
            (k_tile * plan.subs + self.sub[:, None, None]) * self.channels * per_channel
            + shift * self.channels + self.channel[:, None, None] * planes + position)
        nibble = ((word * plan.machine.cols + self.column[:, None, None]) * tables
                  + np.arange(tables))
        return words[nibble >> 1] >> (nibble.astype(np.uint8) & 1) * 4 & 15

    def half_words(self, stored: NDArray[np.uint16], which: int) -> NDArray[np.uint16]:
        """[channels, groups]: scales, or with ``which`` 1 offsets."""
        plan = self.plan
        group = np.arange(plan.groups)[None, :]
        word = self.first_scale + (
            ((group * plan.subs + self.sub[:, None]) * self.channels + self.channel[:, None])
            * (1 + plan.spec.offset) + which)
        return stored[word * plan.machine.cols + self.column[:, None]]


def _bits(nibbles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Plane bits [..., tables, 4] from stored nibbles [..., tables].

    Bit 3 is the sign relative to the table's ancestor, bits 0 to 2 tell whether a weight's bit
    equals the fourth one's."""
    negative = np.empty_like(nibbles)
    for table in range(nibbles.shape[-1]):
        sign = nibbles[..., table] >> 3
        negative[..., table] = sign ^ negative[..., table & (table - 1)] if table else sign
    fourth = negative ^ 1
    same = nibbles[..., None] >> np.arange(3, dtype=np.uint8) & 1
    return np.concatenate([same ^ 1 ^ fourth[..., None], fourth[..., None]], axis=-1)


def _signed(half: NDArray[np.uint16]) -> NDArray[np.int16]:
    mantissa = (half & 0xFFF).astype(np.int16)
    return np.where(mantissa >= 0x800, mantissa - 0x1000, mantissa).astype(np.int16)


def _columns(plan: Plan) -> NDArray[np.intp]:
    """Where in the padded K each of the ``k`` input features is."""
    feature = np.arange(plan.spec.k)
    group, inside = feature // plan.spec.group_size, feature % plan.spec.group_size
    return group * plan.group_tiles * plan.machine.k_tile + inside


def unpack_weights(plan: Plan, datatype: Datatype, weights: bytes, scales: bytes,
                   channel_scale: NDArray[np.float64]) -> QuantizedMatrix:
    """The matrix that ``weights`` and ``scales`` hold for ``plan``.

    Of codes with one value (zeros of ``fp4``) the lowest is given. Padding of the last group has
    value zero, or code 0 where there is none; padding that the machine adds is dropped.

    Raises ``ValueError`` for bytes of the wrong length, for a code that stands for nothing and for
    a scale out of range.
    """
    if len(weights) != plan.weight_bytes or len(scales) != plan.scale_bytes:
        raise ValueError(f"weights and scales must have {plan.weight_bytes} and {plan.scale_bytes} "
                         f"bytes, not {len(weights)} and {len(scales)}")
    spec = plan.spec
    words = np.frombuffer(weights, dtype=np.uint8)
    stored = np.frombuffer(scales, dtype="<u2").astype(np.uint16)
    columns = _columns(plan)
    bits_of = datatype.plane_bits(np.array(datatype.codes)).astype(np.int64)
    by_bits = np.full(1 << datatype.planes, -1, dtype=np.int16)
    by_bits[(bits_of << np.arange(datatype.planes)).sum(axis=1)[::-1]] = datatype.codes[::-1]
    codes = np.empty((spec.n, spec.k), dtype=np.int16)
    halves = np.empty((1 + spec.offset, spec.n, plan.groups), dtype=np.uint16)
    for index in range(len(plan.tiles)):
        tile = _Tile(plan, index)
        key = np.zeros((tile.stop - tile.start, spec.k), dtype=np.uint16)
        before = 0
        for _, planes in datatype.digits:
            for position, plane in enumerate(planes):
                quads = _bits(tile.nibbles(words, before, len(planes), position))
                flat = quads.reshape(len(key), -1)[:, columns].astype(np.uint16)
                key |= (flat ^ (datatype.coefs[plane] < 0)) << np.uint16(plane)
            before += len(planes)
        codes[tile.start:tile.stop] = by_bits[key]
        for which in range(len(halves)):
            halves[which, tile.start:tile.stop] = tile.half_words(stored, which)
    if (bad := codes < 0).any():
        n, k = np.argwhere(bad)[0].tolist()
        raise ValueError(f"weight {k} of channel {n} is no value of {datatype.name}")
    zero = int(datatype.encode(0)) if datatype.has_zero else datatype.codes[0]
    padding = plan.groups * spec.group_size - spec.k
    padded = np.pad(codes.astype(np.uint8), ((0, 0), (0, padding)), constant_values=zero)
    offset = halves[1] if spec.offset else None
    return QuantizedMatrix(
        datatype=datatype, codes=padded, group_size=spec.group_size, k_logical=spec.k,
        scale_mantissa=_signed(halves[0]), scale_shift=(halves[0] >> 12).astype(np.uint8),
        channel_scale=channel_scale,
        offset_mantissa=None if offset is None else _signed(offset),
        offset_shift=None if offset is None else (offset >> 12).astype(np.uint8))
