"""Quantizes to mixtures: each group takes the candidate datatype that suits it best (BitMoD)."""

from collections.abc import Sequence
from functools import reduce
from itertools import product, starmap
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.datatypes.catalog import datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.quantization.groups import Groups, lookup, mantissas, two_level
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.models.quantization.rounding import nearest_codes, nearest_codes_down

SCALE_TOP = 255


def _mixture(mixture: Mixture | str) -> Mixture:
    found = datatype(mixture) if isinstance(mixture, str) else mixture
    if not isinstance(found, Mixture):
        raise ValueError(f"a choice per group needs a mixture, not {found.name}")
    return found


class _Choice(NamedTuple):
    """Squared errors, scales and selects [N, G] and codes [N, G, group_size]. ``scale`` is a
    mantissa in units of ``channel`` [N], or the scale itself before there is a channel scale."""
    error: NDArray[np.float64]
    scale: NDArray[np.float64]
    select: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    channel: NDArray[np.float64]

    def take(self, other: "_Choice", groups: NDArray[np.bool_]) -> "_Choice":
        """``other`` in the ``groups`` [N, G] given, or channels [N, 1]."""
        return _Choice(np.where(groups, other.error, self.error),
                       np.where(groups, other.scale, self.scale),
                       np.where(groups, other.select, self.select),
                       np.where(groups[:, :, None], other.codes, self.codes),
                       np.where(groups[:, 0], other.channel, self.channel))

    def better(self, other: "_Choice") -> "_Choice":
        """For each group what has less error, this one on a tie."""
        return self.take(other, other.error < self.error)


def _matrix(groups: Groups, mixture: Mixture, choice: _Choice) -> QuantizedMatrix:
    zero = np.array([d.encode(0) for d in mixture.datatypes])[choice.select][:, :, None]
    return QuantizedMatrix(
        datatype=mixture, codes=np.where(groups.inside, choice.codes, zero).reshape(groups.n, -1),
        group_size=groups.size, k_logical=groups.k_logical, select=choice.select,
        scale_mantissa=choice.scale.astype(np.int16),
        scale_shift=np.zeros(choice.scale.shape, dtype=np.uint8), channel_scale=choice.channel)


def _published(groups: Groups, mixture: Mixture, candidates: Sequence[int]) -> _Choice:
    """Algorithm 1, scales as they are."""
    absmax = np.where(groups.absmax > 0, groups.absmax, 1.0)

    def one(index: int) -> _Choice:
        dt = mixture.datatypes[index]
        step = absmax / dt.max_abs
        codes = nearest_codes_down(groups.x / step[:, :, None], dt)
        return _Choice(groups.error(lookup(dt, codes), step), step,
                       np.full(step.shape, index, dtype=np.uint8), codes, np.ones(groups.n))

    best = reduce(_Choice.better, map(one, candidates))
    scale = np.where(groups.absmax > 0, best.scale, 0.0)
    channel = scale.max(axis=1) / SCALE_TOP
    return best._replace(scale=scale, channel=np.where(channel > 0, channel, 1.0))


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
    best = _published(groups, chosen, range(len(chosen.datatypes)))
    mantissa = np.clip(np.rint(best.scale / best.channel[:, None]), 0, SCALE_TOP)
    return _matrix(groups, chosen, best._replace(scale=mantissa))


def _rounded(groups: Groups, mixture: Mixture, candidates: Sequence[int],
             ratios: Sequence[float], channel: NDArray[np.float64], top: int) -> _Choice:
    """Return the best of all candidates and ratios, with scales rounded to integers of ``channel``.
    """
    def one(ratio: float, index: int) -> _Choice:
        dt = mixture.datatypes[index]
        ideal = groups.absmax * (ratio / dt.max_abs)
        # A lone group's mantissa is 1: its scale is the channel's.
        unit = np.where(ideal > 0, ideal, 1.0)[:, 0] if groups.count == 1 else channel
        mantissa = mantissas(ideal, unit, top).astype(np.float64)
        step = mantissa * unit[:, None]
        codes = nearest_codes(groups.x / step[:, :, None], dt)
        return _Choice(groups.error(lookup(dt, codes), step), mantissa,
                       np.full(step.shape, index, dtype=np.uint8), codes, unit)

    return reduce(_Choice.better, starmap(one, product(ratios, candidates)))


def quantize_mixture(w: ArrayLike, mixture: Mixture | str, group_size: int = 128,
                     scale_bits: int = 8, ratios: Sequence[float] = (1.0,),
                     candidates: Sequence[int] | None = None) -> QuantizedMatrix:
    """Candidate of least squared error after all rounding, for each group of ``w`` [N, K].

    Scales are near ``max|w| / max|value|`` of the candidate, times a ratio: ``mantissa *
    channel_scale`` with mantissa 1 to ``2**scale_bits - 1``. The channel scale is the one that
    :func:`quantize_weights` would take for the candidate with the least greatest value,
    or the one of :func:`algorithm_1`, whichever leaves the channel less error at ratio 1. Codes
    are the nearest under the scale so rounded. The first candidate and ratio win a tie.

    So no channel fares worse than by :func:`algorithm_1` (at 8 scale bits), nor than by
    round-to-nearest to ``fp4`` or to one of ``bitmod4``'s ``er`` candidates (likewise with 3 bits).

    ``candidates`` are those that may be chosen; all of them if None.
    """
    chosen = _mixture(mixture)
    groups = Groups.of(w, group_size)
    allowed = range(len(chosen.datatypes)) if candidates is None else candidates
    least = min(chosen.datatypes[index].max_abs for index in allowed)
    channel, top = two_level(groups.absmax / least, scale_bits)
    best = _rounded(groups, chosen, allowed, ratios[:1], channel, top)
    if groups.count > 1:
        other = _published(groups, chosen, allowed).channel * (SCALE_TOP / top)
        second = _rounded(groups, chosen, allowed, ratios[:1], other, top)
        less = second.error.sum(axis=1) < best.error.sum(axis=1)
        best = best.take(second, less[:, None])
        channel = best.channel
    if len(ratios) > 1:
        best = best.better(_rounded(groups, chosen, allowed, ratios[1:], channel, top))
    return _matrix(groups, chosen, best)
