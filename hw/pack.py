"""Memory layout of weights, scales, activations and outputs: what the engines stream, in order.

Weights: per output tile, per K-tile, per row group (row mode), per digit, per channel, per plane
(top first), one slice word; column c has bits [c·k_tile, (c+1)·k_tile) of it. Scales: per output
tile, group, row group and channel, one word of ``cols`` half-words, then the offsets if there are
any; a half-word is mantissa (12 bits, signed) and shift (4 bits). Activations: per token tile and
K-tile, ``table_steps`` words of ``rows · builders · 4`` values, row by row. Outputs: int32,
row-major ``[m, n_padded]``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.config import MULT_BITS
from hw.plan import GemmSpec, Plan, PlanError
from models.formats import Datatype
from models.matrix import QuantizedMatrix

__all__ = ["PackedWeights", "gemm_spec", "pack_activations", "pack_weights", "shape_spec",
           "unpack_outputs"]


@dataclass(frozen=True, kw_only=True)
class PackedWeights:
    """``correction`` int64 [n] is what the stored outputs carry too much (modulo 2^32)."""
    weights: bytes
    scales: bytes
    correction: NDArray[np.int64]


def shape_spec(m: int, k: int, n: int, datatype: Datatype, group_size: int,
               asymmetric: bool) -> GemmSpec:
    """The GEMM of a weight type, without its weights; ``group_size`` 0 is the whole channel.
    Raises :class:`PlanError` for a type that the array does not run."""
    if datatype.correction not in (0, -1):
        raise PlanError(f"datatype {datatype.name} does not run on this array: it needs a "
                        f"correction of {datatype.correction} sums of activations, not 0 or -1")
    return GemmSpec(m=m, k=k, n=n, sigma=datatype.correction == -1, offset=asymmetric,
                    digits=tuple((shift, len(planes)) for shift, planes in datatype.digits),
                    group_size=min(group_size or k, k))


def gemm_spec(m: int, qm: QuantizedMatrix) -> GemmSpec:
    """The GEMM of ``m`` tokens with ``qm``; see :func:`shape_spec`."""
    return shape_spec(m, qm.k_logical, qm.n, qm.datatype, qm.group_size, qm.asymmetric)


def _tiled(plan: Plan, array: NDArray, k_axis: int) -> NDArray:
    """``array`` with its K axis split into [K-tiles, k_tile], groups padded with zeros."""
    spec, k_tile = plan.spec, plan.machine.k_tile
    array = np.moveaxis(array, k_axis, -1)[..., :spec.k]
    size = min(spec.group_size, spec.k)
    ragged = plan.groups * size - spec.k
    array = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, ragged)])
    array = array.reshape(*array.shape[:-1], plan.groups, size)
    padding = plan.group_tiles * k_tile - size
    array = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, padding)])
    return array.reshape(*array.shape[:-2], plan.k_tiles, k_tile)


def _nibbles(bits: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Index and relative sign of every table, from plane bits [..., k_tile].

    Returns nibbles and relative signs, both [..., tables]."""
    quads = bits.reshape(*bits.shape[:-1], -1, 4)
    negative = 1 - quads[..., 3]
    index = (quads[..., :3] == quads[..., 3:]).astype(np.uint8)
    tables = np.arange(quads.shape[-2])
    sign = negative ^ np.where(tables > 0, negative[..., tables & (tables - 1)], 0)
    sign = sign.astype(np.uint8)
    return index[..., 0] | index[..., 1] << 1 | index[..., 2] << 2 | sign << 3, sign


def _complement_error(sign: NDArray[np.uint8], subtract: bool) -> NDArray[np.int64]:
    """What the tree and accumulator add to one plane's sum because they negate by complement."""
    error: NDArray[np.int64] = np.zeros(sign.shape, dtype=np.int64)
    stride = 1
    while error.shape[-1] > 1:
        right = error[..., 1::2]
        flipped = np.where(sign[..., stride::2 * stride], -right - 1, right)
        error = error[..., ::2] + flipped
        stride *= 2
    root = error[..., 0]
    return np.where(sign[..., 0], -root - 1, root - int(subtract))


def _half_words(mantissa: NDArray, shift: NDArray) -> NDArray[np.uint16]:
    return ((mantissa.astype(np.int64) & 0xFFF) | shift.astype(np.int64) << 12).astype(np.uint16)


def _check_range(values: NDArray[np.int64], shift: int, what: str) -> None:
    """The multiplier takes ``MULT_BITS`` signed bits."""
    limit = 1 << MULT_BITS - 1
    if (bad := np.abs(values << shift) >= limit).any():
        n, g = np.argwhere(bad)[0].tolist()
        raise PlanError(f"{what} of channel {n}, group {g} is {values[n, g]} · 2^{shift}; the "
                        f"multiplier takes less than {limit}; use fewer scale bits")


def pack_weights(plan: Plan, qm: QuantizedMatrix) -> PackedWeights:
    """Weights and scales of ``qm`` as the plan streams them.

    Raises :class:`PlanError` if a scale or offset exceeds the multiplier's range."""
    machine, spec, datatype = plan.machine, plan.spec, qm.datatype
    scale, offset = qm.scale, qm.offset
    _check_range(scale, max(shift for shift, _ in spec.digits), "scale")
    if qm.asymmetric:
        _check_range(offset, 1, "offset")
    inverted = np.array([coef < 0 for coef in datatype.coefs])
    rows_padded = np.zeros((plan.n_padded, qm.k), dtype=np.uint8)
    rows_padded[:qm.n] = qm.codes
    rows_padded[qm.n:] = datatype.codes[0]
    streams: list[NDArray[np.uint8]] = []   # per digit [n_padded, k_tiles, planes, tables]
    correction = np.zeros(plan.n_padded, dtype=np.int64)
    group_of = np.arange(plan.k_tiles) // plan.group_tiles
    scale_padded = np.zeros((plan.n_padded, plan.groups), dtype=np.int64)
    scale_padded[:qm.n] = scale
    lookup = datatype.plane_bits(np.array(datatype.codes))
    table = np.zeros((1 << datatype.bits, datatype.planes), dtype=np.uint8)
    table[list(datatype.codes)] = lookup ^ inverted
    for index, (shift, planes) in enumerate(datatype.digits):
        digit, error = [], np.zeros((plan.n_padded, plan.k_tiles), dtype=np.int64)
        for position, plane in enumerate(planes):
            nibbles, sign = _nibbles(_tiled(plan, table[:, plane][rows_padded], 1))
            digit.append(nibbles)
            weight = len(planes) - 1 - position
            subtract = spec.sigma and index == 0 and weight == 0
            error += _complement_error(sign, subtract) << weight
        correction += (error * scale_padded[:, group_of] << shift).sum(axis=1)
        streams.append(np.stack(digit, axis=2))

    words, halves, start = [], [], 0
    per_group = [_half_words(qm.scale_mantissa, qm.scale_shift)]
    if qm.offset_mantissa is not None and qm.offset_shift is not None:
        per_group.append(_half_words(qm.offset_mantissa, qm.offset_shift))
    params = np.zeros((plan.n_padded, plan.groups, len(per_group)), dtype=np.uint16)
    params[:qm.n] = np.stack(per_group, axis=2)
    for channels in plan.tiles:
        stop = start + channels * plan.tile_width
        shape = (plan.subs, channels, machine.cols)
        parts = []
        for stream in streams:
            part = stream[start:stop].reshape(*shape, plan.k_tiles, -1, machine.tables)
            part = part.transpose(3, 0, 1, 4, 2, 5)   # K-tile, sub, channel, plane, column, table
            parts.append(part.reshape(plan.k_tiles, plan.subs, -1))
        words.append(np.concatenate(parts, axis=2).reshape(-1))
        tile = params[start:stop].reshape(*shape, plan.groups, -1).transpose(3, 0, 1, 4, 2)
        halves.append(tile.reshape(-1))
        start = stop
    flat = np.concatenate(words)
    return PackedWeights(
        weights=(flat[0::2] | flat[1::2] << 4).tobytes(),
        scales=np.concatenate(halves).astype("<u2").tobytes(),
        correction=(correction >> 1)[:qm.n])


def pack_activations(plan: Plan, a: NDArray[np.integer]) -> bytes:
    """Activations int8 [m, k] as the plan streams them."""
    machine, spec = plan.machine, plan.spec
    if a.shape != (spec.m, spec.k):
        raise ValueError(f"activations must be {(spec.m, spec.k)}, not {a.shape}")
    rows = 1 if plan.row_mode else machine.rows
    padded = np.pad(a.astype(np.int8), ((0, plan.m_tiles * rows - spec.m), (0, 0)))
    tiles = _tiled(plan, padded, 1).reshape(plan.m_tiles, rows, plan.k_tiles,
                                            machine.table_steps, machine.builders * 4)
    return np.ascontiguousarray(tiles.transpose(0, 2, 3, 1, 4)).tobytes()


def unpack_outputs(plan: Plan, data: bytes, correction: NDArray[np.int64]) -> NDArray[np.int64]:
    """Accumulators int64 [m, n] from stored outputs."""
    stored = np.frombuffer(data, dtype="<i4").reshape(plan.spec.m, plan.n_padded)
    y = stored[:, :plan.spec.n].astype(np.int64) - correction
    return (y + (1 << 31)) % (1 << 32) - (1 << 31)
