"""Lays out weights, scales, activations and outputs in memory, in the order of the engines'
streams.

Weights: per output tile, per K-tile, per row group (row mode), per digit, per channel. ``lut``: per
slice (top plane first) one word; column c has bits [c·slice, (c+1)·slice) of it, 4 bits per table
(5 for ``tl2``). ``serial``, ``mac``: the decode table first of all; then one word per channel, with
4 bits per activation, or per 2 or 4 channels whose codes of 2 or 1 bits share them. Scales: per
output tile, group, row group and channel, one word of ``cols`` half-words per scale, then the
offsets if there are any; a half-word is mantissa (12 bits, signed; or 9 bits and the number of a
codebook) and shift (4 bits). Activations: per token tile and K-tile, ``table_steps`` words of
``rows · builders · 4`` values, row by row. Outputs: int32, row-major ``[m, n_padded]``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.machine.derived_sizes import MULT_BITS
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.memory_format import SELECT_BIT
from bitwright.hw.packing.element_codes import Encoding, Stored, codec_of, encode
from bitwright.hw.tiling.gemm_spec import Digit, GemmSpec, PlanError
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.quantization.quantized_matrix import PART, QuantizedMatrix

__all__ = ["PackedWeights", "by_column", "gemm_spec", "pack_activations", "pack_weights",
           "shape_spec", "unpack_outputs"]


@dataclass(frozen=True, kw_only=True)
class PackedWeights:
    """``correction`` int64 [n] is what the stored outputs carry too much (modulo 2^32)."""
    weights: bytes
    scales: bytes
    correction: NDArray[np.int64]


def shape_spec(machine: Machine, m: int, k: int, n: int, kind: Datatype | Mixture,
               group_size: int, asymmetric: bool) -> GemmSpec:
    """The GEMM of a weight type, without its weights; ``group_size`` 0 is the whole channel.
    Raises :class:`PlanError` for a type that the machine does not run."""
    encoding = encode(machine, kind)
    return GemmSpec(m=m, k=k, n=n, digits=encoding.digits, sigma=encoding.sigma, offset=asymmetric,
                    select=encoding.select, plane_scales=encoding.plane_scales,
                    group_size=min(group_size or k, k))


def gemm_spec(machine: Machine, m: int, qm: QuantizedMatrix) -> GemmSpec:
    """The GEMM of ``m`` tokens with ``qm``; see :func:`shape_spec`."""
    return shape_spec(machine, m, qm.k_logical if qm.columns is None else qm.k, qm.n, qm.datatype,
                      qm.group_size, qm.asymmetric)


def by_column(qm: QuantizedMatrix, a: NDArray[np.integer]) -> NDArray[np.integer]:
    """Activations [m, features] in the order of the stored columns."""
    return a if qm.columns is None else qm.gather(a)


def _tiled(plan: Plan, array: NDArray, k_axis: int, value: int = 0) -> NDArray:
    """``array`` with its K axis split into [K-tiles, k_tile], groups padded with ``value``."""
    spec, k_tile = plan.spec, plan.machine.k_tile
    array = np.moveaxis(array, k_axis, -1)[..., :spec.k]
    size = min(spec.group_size, spec.k)
    ragged = plan.groups * size - spec.k
    array = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, ragged)],
                   constant_values=value)
    array = array.reshape(*array.shape[:-1], plan.groups, size)
    padding = plan.group_tiles * k_tile - size
    array = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, padding)],
                   constant_values=value)
    return array.reshape(*array.shape[:-2], plan.k_tiles, k_tile)


def _half_words(mantissa: NDArray, shift: NDArray) -> NDArray[np.uint16]:
    return ((mantissa.astype(np.int64) & 0xFFF) | shift.astype(np.int64) << 12).astype(np.uint16)


def _check_range(values: NDArray[np.int64], shift: int, what: str) -> None:
    """The multiplier takes ``MULT_BITS`` signed bits."""
    limit = 1 << MULT_BITS - 1
    if (bad := np.abs(values << shift) >= limit).any():
        n, g = np.argwhere(bad)[0].tolist()
        raise PlanError(f"{what} of channel {n}, group {g} is {values[n, g]} · 2^{shift}; the "
                        f"multiplier takes less than {limit}; use fewer scale bits, or a scheme "
                        "under which the groups of a channel differ less")


def _half_word_groups(plan: Plan, qm: QuantizedMatrix) -> NDArray[np.uint16]:
    """Half-words [n, groups, scales per group]: scales, then the offset if there is one."""
    mantissa, shift = qm.scale_mantissa, qm.scale_shift.astype(np.int64)
    if qm.select is not None and plan.spec.select:
        limit = 1 << SELECT_BIT
        if (bad := mantissa >= limit).any():
            n, g = np.argwhere(bad)[0].tolist()
            raise PlanError(f"scale of channel {n}, group {g} has mantissa {mantissa[n, g]}; "
                            f"beside the select of a codebook it must be below {limit}; use at "
                            f"most {SELECT_BIT} scale bits")
        mantissa = mantissa | qm.select.astype(np.int16) << SELECT_BIT
    if qm.plane_shift is not None:
        halves = [_half_words(mantissa, shift + qm.plane_shift[:, :, plane])
                  for plane in range(len(plan.spec.digits))]
    else:
        halves = [_half_words(mantissa, shift)]
    if qm.offset_mantissa is not None and qm.offset_shift is not None:
        halves.append(_half_words(qm.offset_mantissa, qm.offset_shift))
    return np.stack(halves, axis=2)


def _words(plan: Plan, stored: Stored, digit: Digit, channels: int, start: int
           ) -> NDArray[np.uint8]:
    """Fields of one output tile that starts at channel ``start``: [K-tiles, subs, word fields]."""
    machine = plan.machine
    part = stored.fields[start:start + channels * plan.tile_width]
    slices, lanes = part.shape[2:]
    part = part.reshape(plan.subs, channels, machine.cols, plan.k_tiles, slices, lanes)
    if digit.packing:
        per = 1 << digit.packing
        part = np.pad(part, [(0, 0), (0, -channels % per)] + [(0, 0)] * 4)
        part = part.reshape(plan.subs, -1, per, *part.shape[2:])
        places = np.arange(per, dtype=np.uint8).reshape(-1, 1, 1, 1, 1) * np.uint8(stored.bits)
        part = np.bitwise_or.reduce(part << places, axis=2)
    part = part.transpose(3, 0, 1, 4, 2, 5)   # K-tile, sub, channel, slice, column, lane
    return part.reshape(plan.k_tiles, plan.subs, -1)


def pack_weights(plan: Plan, qm: QuantizedMatrix) -> PackedWeights:
    """Weights and scales of ``qm`` as the plan streams them.

    Raises :class:`PlanError` if a scale or offset exceeds the multiplier's range."""
    shift = max(digit.shift for digit in plan.spec.digits)
    most = 0 if qm.plane_shift is None else qm.plane_shift.max(axis=2)
    _check_range(qm.scale << most, shift, "scale")
    if qm.asymmetric:
        _check_range(qm.offset, 1, "offset")
    encoding = encode(plan.machine, qm.datatype)
    halves = _half_word_groups(plan, qm)
    weights, scales, corrections = [encoding.table(plan.machine)[:plan.table_bytes]], [], []
    start = 0
    for channels, tiles in _runs(plan):
        part = slice(start, min(start + channels * plan.tile_width * tiles, qm.n))
        packed = _pack_tiles(plan, qm.channels(part), encoding, halves[part], (channels,) * tiles)
        weights.append(packed.weights)
        scales.append(packed.scales)
        corrections.append(packed.correction)
        start = part.stop
    return PackedWeights(weights=b"".join(weights), scales=b"".join(scales),
                         correction=np.concatenate(corrections))


def _runs(plan: Plan) -> Iterator[tuple[int, int]]:
    """Output tiles in their order as runs of tiles of equal channels, about :data:`PART` weights
    each: channels, tiles."""
    for channels, every in groupby(plan.tiles):
        left = len([*every])
        most = max(1, PART // (channels * plan.tile_width * plan.spec.k))
        while left:
            yield channels, min(left, most)
            left -= min(left, most)


def _pack_tiles(plan: Plan, qm: QuantizedMatrix, encoding: Encoding, half_words: NDArray[np.uint16],
                tiles: Sequence[int]) -> PackedWeights:
    """The part of :func:`pack_weights` that ``tiles`` hold, of the channels ``qm``, the last of
    which may be missing."""
    machine, spec = plan.machine, plan.spec
    shifts = [digit.shift for digit in spec.digits]
    planes = (np.zeros((*qm.scale.shape, len(shifts)), dtype=np.uint8) if qm.plane_shift is None
              else qm.plane_shift)
    scales = qm.scale[:, :, None] << planes
    group_of = np.arange(plan.k_tiles) // plan.group_tiles
    total = sum(tiles) * plan.tile_width
    below = total - qm.n

    def padded(array: NDArray, value: int = 0) -> NDArray:
        return np.pad(array, [(0, below)] + [(0, 0)] * (array.ndim - 1), constant_values=value)

    types = qm.datatype.datatypes if isinstance(qm.datatype, Mixture) else (qm.datatype,)
    filling = types[0].codes[0]
    codes = _tiled(plan, padded(qm.codes, filling), 1, filling)
    select = (np.zeros((total, plan.groups), dtype=np.uint8) if qm.select is None
              else padded(qm.select))[:, group_of]
    scales = padded(scales)[:, group_of]
    correction = np.zeros(total, dtype=np.int64)
    streams = []
    for index, stored in enumerate(codec_of(machine).store(
            machine, encoding, qm.datatype, codes, select)):
        scale = scales[..., index if spec.plane_scales else 0]
        correction += (stored.error * scale << shifts[index]).sum(axis=1)
        if spec.digits[index].stored:
            streams.append((stored, spec.digits[index]))

    params = padded(half_words)
    words, halves, start = [], [], 0
    for channels in tiles:
        shape = (plan.subs, channels, machine.cols)
        words.append(np.concatenate([_words(plan, *stream, channels, start)
                                     for stream in streams], axis=2).reshape(-1))
        stop = start + channels * plan.tile_width
        tile = params[start:stop].reshape(*shape, plan.groups, -1).transpose(3, 0, 1, 4, 2)
        halves.append(tile.reshape(-1))
        start = stop
    return PackedWeights(
        weights=_dense(np.concatenate(words), machine.field_bits),
        scales=np.concatenate(halves).astype("<u2").tobytes(),
        correction=(correction >> 1)[:qm.n])


def _dense(fields: NDArray[np.uint8], bits: int) -> bytes:
    """Fields of ``bits`` bits one after the other, least significant bit first."""
    if bits == 4:
        return (fields[0::2] | fields[1::2] << 4).tobytes()
    every = (fields[:, None] >> np.arange(bits, dtype=np.uint8) & 1).reshape(-1)
    return np.packbits(every, bitorder="little").tobytes()


def pack_activations(plan: Plan, a: NDArray[np.integer]) -> bytes:
    """Activations [m, k] of ``act_bits`` bits as the plan streams them.

    Raises ``ValueError`` for another shape, or for values that need more bits."""
    machine, spec = plan.machine, plan.spec
    if a.shape != (spec.m, spec.k):
        raise ValueError(f"activations must be {(spec.m, spec.k)}, not {a.shape}")
    limit = 1 << machine.act_bits - 1
    if a.size and not -limit <= a.min() <= a.max() < limit:
        raise ValueError(f"activations must fit the {machine.act_bits} bits of machine "
                         f"{machine.name}, not {a.min()}…{a.max()}")
    rows = 1 if plan.row_mode else machine.rows
    padded = np.pad(a.astype(np.int16), ((0, plan.m_tiles * rows - spec.m), (0, 0)))
    tiles = _tiled(plan, padded, 1).reshape(plan.m_tiles, rows, plan.k_tiles, machine.table_steps,
                                            machine.builders, machine.lane_acts)
    tiles = np.pad(tiles, [(0, 0)] * 5 + [(0, 4 - machine.lane_acts)])
    flat = tiles.transpose(0, 2, 3, 1, 4, 5).reshape(-1)
    if machine.act_bits == 4:
        return _dense((flat & 15).astype(np.uint8), 4)
    return flat.astype("<i2" if machine.act_bits == 16 else "i1").tobytes()


def unpack_outputs(plan: Plan, data: bytes, correction: NDArray[np.int64]) -> NDArray[np.int64]:
    """Accumulators int64 [m, n] from stored outputs."""
    stored = np.frombuffer(data, dtype="<i4").reshape(plan.spec.m, plan.n_padded)
    y = stored[:, :plan.spec.n].astype(np.int64) - correction
    return (y + (1 << 31)) % (1 << 32) - (1 << 31)
