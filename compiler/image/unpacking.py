"""Weights and scales back from a memory image: the layout read from its definition.

Written against the description of the layout, not against the packer, so that agreement of the two
says something. Each stored field is fetched by its address.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.packing.element_codes import codec_of, encode
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix

__all__ = ["unpack_weights"]

MANTISSA, SELECT_AT = 0xFFF, 9


class _Tile:
    """Addresses inside one output tile: channels ``start`` to ``stop`` of the matrix, whose weight
    words hold ``fields`` [words, columns, lanes]."""

    def __init__(self, plan: Plan, index: int, fields: NDArray[np.uint8]):
        self.plan, self.fields = plan, fields
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

    def _word(self, digit: int) -> NDArray[np.intp]:
        """First word [channels, K-tiles] of a digit."""
        plan = self.plan
        per_sub = plan.weight_words(self.channels, 1) // plan.subs
        before = sum(plan.digit_words(self.channels, d) for d in plan.spec.digits[:digit])
        k_tile = np.arange(plan.k_tiles)[None, :]
        return self.first_word + (k_tile * plan.subs + self.sub[:, None]) * per_sub + before

    def _fields(self, word: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Fields [channels, K-tiles, lanes] of this channel's column in a word."""
        return self.fields[word, self.column[:, None]]

    def slices(self, digit: int, position: int) -> NDArray[np.uint8]:
        """Slice ``position`` (top first) of a digit: a word per slice."""
        count = self.plan.spec.digits[digit].slots
        return self._fields(self._word(digit) + self.channel[:, None] * count + position)

    def codes(self, digit: int) -> NDArray[np.uint8]:
        """Codes of a digit: a field holds those of one channel, or of 2 or 4."""
        packing = self.plan.spec.digits[digit].packing
        found = self._fields(self._word(digit) + (self.channel[:, None] >> packing))
        bits = 4 >> packing
        part = (self.channel & (1 << packing) - 1) * bits
        return found >> part[:, None, None].astype(np.uint8) & np.uint8((1 << bits) - 1)

    def half_words(self, stored: NDArray[np.uint16], which: int) -> NDArray[np.uint16]:
        """[channels, groups]: a scale, or after all scales the offset."""
        plan = self.plan
        group = np.arange(plan.groups)[None, :]
        word = self.first_scale + (
            ((group * plan.subs + self.sub[:, None]) * self.channels + self.channel[:, None])
            * plan.spec.scales + which)
        return stored[word * plan.machine.cols + self.column[:, None]]


def _unpacked(plan: Plan, weights: bytes) -> NDArray[np.uint8]:
    """Fields [words, columns, lanes] of 4 bits, or of 5 where a table takes three weights."""
    width = plan.machine.field_bits
    flat = np.frombuffer(weights, dtype=np.uint8)[plan.table_bytes:]
    if width == 4:
        fields = np.stack([flat & 15, flat >> 4], axis=1)
    else:
        bits = np.unpackbits(flat, bitorder="little").reshape(-1, width)
        fields = (bits << np.arange(width, dtype=np.uint8)).sum(axis=1, dtype=np.uint8)
    lanes = plan.machine.weight_word_bits // width // plan.machine.cols
    return fields.reshape(-1, plan.machine.cols, lanes)


def _places(plan: Plan) -> NDArray[np.intp]:
    """Return where in the padded K each of the ``k`` input features is."""
    feature = np.arange(plan.spec.k)
    group, inside = feature // plan.spec.group_size, feature % plan.spec.group_size
    return group * plan.group_tiles * plan.machine.k_tile + inside


def _signed(half: NDArray[np.uint16]) -> NDArray[np.int16]:
    mantissa = (half & MANTISSA).astype(np.int16)
    return np.where(mantissa >= 0x800, mantissa - 0x1000, mantissa).astype(np.int16)


def _encode(dt: Datatype, values: NDArray[np.int64]) -> NDArray[np.uint8]:
    known = np.array([dt.values[code] for code in dt.codes])
    if (bad := ~np.isin(values, known)).any():
        n, k = np.argwhere(bad)[0].tolist()
        raise ValueError(f"weight {k} of channel {n} is no value of {dt.name}")
    return dt.encode(values)


def _chosen(kind: Mixture, values: NDArray[np.int64], size: int
            ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Codes [n, k] and select [n, groups]: per group the first candidate that has its values."""
    grouped = values.reshape(len(values), -1, size)
    select = np.full(grouped.shape[:2], len(kind.datatypes), dtype=np.uint8)
    codes = np.zeros(grouped.shape, dtype=np.uint8)
    for number, dt in reversed([*enumerate(kind.datatypes)]):
        has = np.isin(grouped, [dt.values[code] for code in dt.codes]).all(axis=2)
        select[has] = number
        codes[has] = dt.encode(grouped[has])
    if (bad := select == len(kind.datatypes)).any():
        n, g = np.argwhere(bad)[0].tolist()
        raise ValueError(f"group {g} of channel {n} has values of no datatype of {kind.name}")
    return codes.reshape(values.shape), select


def unpack_weights(plan: Plan, kind: Datatype | Mixture, weights: bytes, scales: bytes,
                   channel_scale: NDArray[np.float64], *, features: int | None = None,
                   columns: NDArray[np.int64] | None = None) -> QuantizedMatrix:
    """The matrix that ``weights`` and ``scales`` hold for ``plan``; with ``columns`` int64 [k],
    the input feature of each stored column, of ``features``.

    Where values are stored, the lowest code of a value is given, and the first codebook that has a
    group's values. Padding of the last group has value zero, or code 0 where there is none; padding
    that the machine adds is dropped.

    Raises ``ValueError`` for bytes of the wrong length, for a decode table of other weights, for a
    code that stands for nothing and for a scale out of range.
    """
    if len(weights) != plan.stored_bytes or len(scales) != plan.scale_bytes:
        raise ValueError(f"weights and scales must have {plan.stored_bytes} and {plan.scale_bytes} "
                         f"bytes, not {len(weights)} and {len(scales)}")
    spec, codec, encoding = plan.spec, codec_of(plan.machine), encode(plan.machine, kind)
    if weights[:plan.table_bytes] != encoding.table(plan.machine)[:plan.table_bytes]:
        raise ValueError(f"the decode table before the weights is not that of {kind.name}")
    fields = _unpacked(plan, weights)
    stored = np.frombuffer(scales, dtype="<u2").astype(np.uint16)
    places = _places(plan)
    found = np.empty((spec.n, spec.k), dtype=np.int64)
    halves = np.empty((spec.scales, spec.n, plan.groups), dtype=np.uint16)
    for index in range(len(plan.tiles)):
        tile = _Tile(plan, index, fields)
        part = codec.read(plan.machine, encoding, kind, tile)
        found[tile.start:tile.stop] = part.reshape(len(part), -1)[:, places]
        for which in range(len(halves)):
            halves[which, tile.start:tile.stop] = tile.half_words(stored, which)

    types = kind.datatypes if isinstance(kind, Mixture) else (kind,)
    has_codes = encoding.plane_scales or plan.machine.decodes and not encoding.stored_values
    zero = int(types[0].encode(0)) if types[0].has_zero else types[0].codes[0]
    filling = zero if has_codes else types[0].values[zero]
    padding = plan.groups * spec.group_size - spec.k
    found = np.pad(found, ((0, 0), (0, padding)), constant_values=filling)

    fields_of: dict[str, Any] = {}
    mantissa = _signed(halves[0])
    if isinstance(kind, Mixture):
        if has_codes:
            codes, select = found.astype(np.uint8), (halves[0] >> SELECT_AT & 3).astype(np.uint8)
            mantissa = mantissa & (1 << SELECT_AT) - 1
        else:
            codes, select = _chosen(kind, found, spec.group_size)
        fields_of["select"] = select
    else:
        codes = found.astype(np.uint8) if has_codes else _encode(kind, found)
    shift = (halves[0] >> 12).astype(np.uint8)
    if encoding.plane_scales:
        every = np.stack([half >> 12 for half in halves[:len(spec.digits)]], axis=2)
        shift = every.min(axis=2).astype(np.uint8)
        fields_of["plane_shift"] = (every - shift[..., None]).astype(np.uint8)
    if spec.offset:
        fields_of["offset_mantissa"] = _signed(halves[-1])
        fields_of["offset_shift"] = (halves[-1] >> 12).astype(np.uint8)
    return QuantizedMatrix(
        datatype=kind, codes=codes, group_size=spec.group_size,
        k_logical=spec.k if features is None else features, columns=columns,
        scale_mantissa=mantissa.astype(np.int16), scale_shift=shift, channel_scale=channel_scale,
        **fields_of)
