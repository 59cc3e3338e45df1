"""Quantizes to binary codes with power-of-two plane weights (ShiftAddLLM)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.quantization.groups import Groups, check_scale_bits, mantissas, two_level
from bitwright.models.quantization.quantized_matrix import SHIFT_MAX, QuantizedMatrix

ROUNDS = 8         # of least squares and nearest signs
UNIT_ROUNDS = 3    # of unit and nearest signs, for each start
UNIT_STEPS = 4     # per octave

Floats = NDArray[np.float64]


def _signs(planes: int) -> NDArray[np.float64]:
    """±1 of plane ``p`` in code ``c``: [2**planes, planes]."""
    codes = np.arange(1 << planes)
    return (2 * (codes[:, None] >> np.arange(planes) & 1) - 1).astype(np.float64)


def _codes(x: Floats, alpha: Floats) -> NDArray[np.uint8]:
    """Codes of the nearest of all ``sum(±alpha_p)`` for ``x`` [N, G, size], ``alpha``
    [N, G, planes]. A tie goes to the lesser value, and of codes with one value to the lowest."""
    values = alpha @ _signs(alpha.shape[-1]).T
    order = np.argsort(values, axis=2, kind="stable")
    ascending = np.take_along_axis(values, order, axis=2)
    rank = np.zeros(x.shape, dtype=np.intp)
    for i in range(values.shape[2] - 1):
        rank += x > ((ascending[:, :, i] + ascending[:, :, i + 1]) / 2)[:, :, None]
    return np.take_along_axis(order, rank, axis=2).astype(np.uint8)


def _greedy(groups: Groups, planes: int) -> Floats:
    """Plane weights [N, G, planes], least first: each the mean magnitude of what is left over."""
    rest, weights = groups.x.copy(), []
    count = groups.inside.sum(axis=2)
    for _ in range(planes):
        weights.append((np.abs(rest) * groups.inside).sum(axis=2) / count)
        rest -= np.where(rest >= 0, 1.0, -1.0) * weights[-1][:, :, None]
    return np.stack(weights[::-1], axis=2)


def _least_squares(groups: Groups, codes: NDArray[np.uint8], planes: int) -> Floats:
    """Positive plane weights [N, G, planes] of least squared error for given codes."""
    b = _signs(planes)[codes] * groups.inside[..., None]
    gram = np.einsum("ngkp,ngkq->ngpq", b, b) + 1e-6 * np.eye(planes)
    alpha = np.linalg.solve(gram, np.einsum("ngkp,ngk->ngp", b, groups.x)[..., None])[..., 0]
    return np.sort(np.abs(alpha), axis=2)


def nearest_power_of_two(x: Floats) -> NDArray[np.int64]:
    """Exponent of the power of two nearest to each positive ``x``; a tie goes up."""
    mantissa, exponent = np.frexp(x)
    return exponent.astype(np.int64) - (mantissa < 0.75)


def _starts(alpha: Floats) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Exponents [N, G, planes], the least 0, and units [N, G] from which to refine."""
    def fitted(exponents: NDArray[np.int64]) -> Floats:
        weights = np.ldexp(1.0, exponents)
        unit: Floats = (alpha * weights).sum(axis=2) / np.square(weights).sum(axis=2)
        return unit

    even = np.broadcast_to(np.arange(alpha.shape[2]), alpha.shape)
    for factor in (1.0, 0.75, 1.25):
        yield even, factor * fitted(even)
    for step in range(UNIT_STEPS):
        unit = alpha[:, :, 0] * 2.0 ** (step / UNIT_STEPS)
        exponents = nearest_power_of_two(alpha / unit[:, :, None])
        exponents = np.minimum(exponents - exponents.min(axis=2, keepdims=True), SHIFT_MAX)
        yield exponents, fitted(exponents)


def quantize_bcq(w: ArrayLike, dtype: Datatype | str, group_size: int = 128, scale_bits: int = 8
                 ) -> QuantizedMatrix:
    """``w`` [N, K] as ``scale * sum(±2**shift_p)`` per group, by alternating optimization.

    1. Real plane weights: greedy start, then in turn least squares for given signs and the
       nearest signs for given weights, :data:`ROUNDS` times.
    2. Powers of two: those nearest to the real weights in units that divide an octave above the
       least weight in :data:`UNIT_STEPS`, and 1, 2, 4…, which suit evenly spread weights best.
       For each, the signs and the unit (the group's scale) are refined in turn; the least squared
       error wins.
    3. The unit is rounded to ``mantissa * channel_scale``, mantissa 1 to ``2**scale_bits - 1``,
       and the signs are found once more.

    The least shift of a group is 0. An all-zero group has mantissa 0.
    """
    dt = DATATYPES[dtype] if isinstance(dtype, str) else dtype
    if not dt.plane_scaled:
        raise ValueError(f"binary-coded quantization needs bcq2...bcq4, not {dt.name}")
    check_scale_bits(scale_bits)
    groups, planes = Groups.of(w, group_size), dt.planes
    signs = _signs(planes)
    used = groups.absmax > 0
    alpha = _greedy(groups, planes)
    for _ in range(ROUNDS):
        alpha = _least_squares(groups, _codes(groups.x, alpha), planes)
    alpha = np.where(used[:, :, None], np.maximum(alpha, alpha[:, :, -1:] * 2.0 ** -SHIFT_MAX), 1.0)

    best = np.full(used.shape, np.inf)
    unit, shifts = np.ones(used.shape), np.zeros(alpha.shape, dtype=np.int64)
    for exponents, trial in _starts(alpha):
        weights = np.ldexp(1.0, exponents)
        for _ in range(UNIT_ROUNDS):
            codes = _codes(groups.x, weights * trial[:, :, None])
            values = np.take_along_axis(weights @ signs.T, codes.astype(np.intp), axis=2)
            values *= groups.inside
            refit = ((values * groups.x).sum(axis=2)
                     / np.maximum(np.square(values).sum(axis=2), 1.0))
            trial = np.where(refit > 0, refit, trial)
        error = groups.error(values, trial)
        better = error < best
        best, unit = np.where(better, error, best), np.where(better, trial, unit)
        shifts = np.where(better[:, :, None], exponents, shifts)
    channel, top = two_level(np.where(used, unit, 0.0), scale_bits)
    mantissa = mantissas(unit, channel, top)
    codes = _codes(groups.x, np.ldexp((mantissa * channel[:, None])[:, :, None], shifts))
    return QuantizedMatrix(
        datatype=dt, codes=groups.in_padding(codes, 0), group_size=groups.size,
        k_logical=groups.k_logical, scale_mantissa=np.where(used, mantissa, 0).astype(np.int16),
        scale_shift=np.zeros(mantissa.shape, dtype=np.uint8), channel_scale=channel,
        plane_shift=shifts.astype(np.uint8))
