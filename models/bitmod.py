"""Mixtures: each group takes the candidate datatype that suits it best (BitMoD)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.formats import datatype
from models.groups import Groups, lookup, mantissas, two_level
from models.matrix import QuantizedMatrix
from models.mixture import Mixture
from models.rounding import nearest_codes, nearest_codes_down, round_half_even

SCALE_TOP = 255


def _mixture(mixture: Mixture | str) -> Mixture:
    found = datatype(mixture) if isinstance(mixture, str) else mixture
    if not isinstance(found, Mixture):
        raise ValueError(f"a choice per group needs a mixture, not {found.name}")
    return found


def _matrix(groups: Groups, mixture: Mixture, codes: NDArray[np.uint8],
            select: NDArray[np.uint8], mantissa: NDArray[np.int64],
            channel: NDArray[np.float64]) -> QuantizedMatrix:
    zero = np.array([d.encode(0) for d in mixture.datatypes])[select][:, :, None]
    return QuantizedMatrix(
        datatype=mixture, codes=np.where(groups.inside, codes, zero).reshape(groups.n, -1),
        group_size=groups.size, k_logical=groups.k_logical, select=select,
        scale_mantissa=mantissa.astype(np.int16),
        scale_shift=np.zeros(mantissa.shape, dtype=np.uint8), channel_scale=channel)


def algorithm_1(w: ArrayLike, mixture: Mixture | str, group_size: int = 128) -> QuantizedMatrix:
    """BitMoD exactly as published (arXiv 2411.11745, Algorithm 1 and the second-level scale).

    For each candidate, a group's scale is ``max|w| / max|value|`` and its codes the nearest under
    that scale, ties down (:func:`nearest_codes_down`). The candidate of least squared error
    stays, the first on a tie. Then the scales of a channel become integers 0…255,
    ``round(scale / (max_scale / 255))``, ties to even; codes stay as they are. A group less than
    1/510 of its channel's greatest scale thereby vanishes.
    """
    chosen = _mixture(mixture)
    groups = Groups.of(w, group_size)
    absmax = np.where(groups.absmax > 0, groups.absmax, 1.0)
    best = np.full(absmax.shape, np.inf)
    scale = np.zeros(absmax.shape)
    select = np.zeros(absmax.shape, dtype=np.uint8)
    codes = np.zeros(groups.x.shape, dtype=np.uint8)
    for index, dt in enumerate(chosen.datatypes):
        step = absmax / dt.max_abs
        found = nearest_codes_down(groups.x / step[:, :, None], dt)
        error = groups.error(lookup(dt, found), step)
        better = error < best
        best = np.where(better, error, best)
        scale, select = np.where(better, step, scale), np.where(better, np.uint8(index), select)
        codes = np.where(better[:, :, None], found, codes)
    scale = np.where(groups.absmax > 0, scale, 0.0)
    channel = scale.max(axis=1) / SCALE_TOP
    channel = np.where(channel > 0, channel, 1.0)
    mantissa = np.clip(round_half_even(scale / channel[:, None]), 0, SCALE_TOP)
    return _matrix(groups, chosen, codes, select, mantissa, channel)


def quantize_mixture(w: ArrayLike, mixture: Mixture | str, group_size: int = 128,
                     scale_bits: int = 8, ratios: Sequence[float] = (1.0,),
                     candidates: Sequence[int] | None = None) -> QuantizedMatrix:
    """Candidate of least squared error after all rounding, for each group of ``w`` [N, K].

    Scales are those of :func:`models.rtn.quantize_weights` for each candidate: near
    ``max|w| / max|value|`` times a ratio, ``mantissa * channel_scale`` with mantissa 1 to
    ``2**scale_bits - 1``, the channel scale that of the candidate with the least greatest value.
    Codes are the nearest under the scale so rounded. The first candidate and ratio win a tie.

    ``candidates`` are those that may be chosen; all of them if None.
    """
    chosen = _mixture(mixture)
    groups = Groups.of(w, group_size)
    allowed = range(len(chosen.datatypes)) if candidates is None else candidates
    least = min(chosen.datatypes[index].max_abs for index in allowed)
    base, top = two_level(groups.absmax / least, scale_bits)
    channel = base
    best = np.full(groups.absmax.shape, np.inf)
    mantissa = np.zeros(best.shape, dtype=np.int64)
    select = np.zeros(best.shape, dtype=np.uint8)
    codes = np.zeros(groups.x.shape, dtype=np.uint8)
    for ratio in ratios:
        for index in allowed:
            dt = chosen.datatypes[index]
            ideal = groups.absmax * (ratio / dt.max_abs)
            # A lone group's mantissa is 1: its scale is the channel's.
            trial = np.where(ideal > 0, ideal, 1.0)[:, 0] if groups.count == 1 else base
            m = mantissas(ideal, trial, top)
            step = m.astype(np.float64) * trial[:, None]
            found = nearest_codes(groups.x / step[:, :, None], dt)
            error = groups.error(lookup(dt, found), step)
            better = error < best
            best, mantissa = np.where(better, error, best), np.where(better, m, mantissa)
            select = np.where(better, np.uint8(index), select)
            np.copyto(codes, found, where=better[:, :, None])
            if groups.count == 1:
                channel = np.where(better[:, 0], trial, channel)
    return _matrix(groups, chosen, codes, select, mantissa, channel)
