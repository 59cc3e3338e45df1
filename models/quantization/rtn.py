"""Quantizes by rounding to nearest: scales from the weights' extremes or means, codes by nearest
value."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.datatypes.catalog import datatype
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.quantization.groups import (
    Groups,
    check_scale_bits,
    lookup,
    mantissas,
    offset_form,
    two_level,
)
from bitwright.models.quantization.quantized_matrix import MANTISSA_MAX, SHIFT_MAX, QuantizedMatrix
from bitwright.models.quantization.rounding import nearest_codes

CLIP_RATIOS = tuple(r / 20 for r in (20, *range(26, 20, -1), *range(19, 5, -1)))
"""Tried by the clip search, the unclipped range first."""


class _Fit(NamedTuple):
    """Scales, offsets and codes of every group, [N, G] but for the codes [N, G, group_size]."""
    mantissa: NDArray[np.int64]
    codes: NDArray[np.uint8]
    offset_mantissa: NDArray[np.int16]
    offset_shift: NDArray[np.uint8]

    def offset(self) -> NDArray[np.float64]:
        return np.ldexp(self.offset_mantissa.astype(np.float64), self.offset_shift)

    def improved(self, other: "_Fit", better: NDArray[np.bool_]) -> "_Fit":
        """``other`` for the groups that it is better for."""
        return _Fit(np.where(better, other.mantissa, self.mantissa),
                    np.where(better[:, :, None], other.codes, self.codes),
                    np.where(better, other.offset_mantissa, self.offset_mantissa),
                    np.where(better, other.offset_shift, self.offset_shift))


def ideal_scale(groups: Groups, dt: Datatype) -> NDArray[np.float64]:
    """Group scales [N, G] before rounding; see :func:`quantize_weights`."""
    if dt.name in ("int1", "ternary"):
        return groups.absmean
    largest = groups.absmax / dt.max_abs
    if dt.name.startswith("posit"):
        return np.maximum(groups.absmean * 2.0 ** dt.exponent, largest)
    return largest


def _symmetric(groups: Groups, dt: Datatype, ideal: NDArray[np.float64],
               channel: NDArray[np.float64], top: int) -> _Fit:
    mantissa = mantissas(ideal, channel, top)
    target = groups.x / (mantissa * channel[:, None])[:, :, None]
    return _Fit(mantissa, nearest_codes(target, dt), np.zeros(mantissa.shape, dtype=np.int16),
                np.zeros(mantissa.shape, dtype=np.uint8))


def _asymmetric(groups: Groups, dt: Datatype, low: NDArray[np.float64], high: NDArray[np.float64],
                channel: NDArray[np.float64], top: int) -> _Fit:
    middle, span = (high + low) / 2, high - low
    mantissa = mantissas(span / (dt.wmax - dt.wmin), channel, top)
    # The codes' own middle is (wmin + wmax) / 2 = -1/2; a constant group uses code 0 alone.
    centre = np.where(span > 0, -(dt.wmin + dt.wmax) / 2, 0.0) * mantissa
    offset_mantissa, offset_shift = offset_form(middle / channel[:, None] + centre)
    offset = np.ldexp(offset_mantissa.astype(np.float64), offset_shift)
    target = groups.x / channel[:, None, None] - offset[:, :, None]
    codes = nearest_codes(target / mantissa[:, :, None], dt)
    return _Fit(mantissa, codes, offset_mantissa, offset_shift)


def round_to_nearest(groups: Groups, dt: Datatype, ideal: NDArray[np.float64], scale_bits: int,
                     asymmetric: bool = False, ratios: Sequence[float] = (1.0,)
                     ) -> QuantizedMatrix:
    """Quantize with group scales near ``ideal`` [N, G].

    Of ``ratios``, which shrink or widen the range, each group takes the one of least squared
    error after all rounding, the first on a tie. The channel scale stays that of the first,
    unless there is but one group, so no group is worse off for having a choice.
    """
    floor = low = high = None
    if asymmetric:
        low = np.where(groups.inside, groups.x, np.inf).min(axis=2)
        high = np.where(groups.inside, groups.x, -np.inf).max(axis=2)
        ideal = (high - low) / (dt.wmax - dt.wmin)
        middle = np.abs(high + low).max(axis=1) / 2
        # A constant channel has nothing but offsets: give them all the mantissa's bits.
        floor = middle / np.where(ideal.any(axis=1), (MANTISSA_MAX << SHIFT_MAX) / 2, MANTISSA_MAX)
    channel, top = two_level(ideal, scale_bits, floor)

    def fit(ratio: float, channel: NDArray[np.float64]) -> _Fit:
        if low is not None and high is not None:
            return _asymmetric(groups, dt, low * ratio, high * ratio, channel, top)
        return _symmetric(groups, dt, ideal * ratio, channel, top)

    def squared(found: _Fit, channel: NDArray[np.float64]) -> NDArray[np.float64]:
        offset = found.offset() * channel[:, None] if asymmetric else None
        return groups.error(lookup(dt, found.codes), found.mantissa * channel[:, None], offset)

    best = fit(ratios[0], channel)
    if len(ratios) > 1:
        base, error = channel, squared(best, channel)
        for ratio in ratios[1:]:
            trial = base * ratio if groups.count == 1 and not asymmetric else base
            found = fit(ratio, trial)
            least = squared(found, trial)
            better = least < error
            error = np.where(better, least, error)
            if trial is not base:
                channel = np.where(better[:, 0], trial, channel)
            best = best.improved(found, better)
    mantissa = best.mantissa
    if not dt.has_zero:
        mantissa = np.where(groups.absmax > 0, mantissa, 0)
    return QuantizedMatrix(
        datatype=dt, codes=groups.in_padding(best.codes, int(nearest_codes(0.0, dt))),
        group_size=groups.size, k_logical=groups.k_logical,
        scale_mantissa=mantissa.astype(np.int16),
        scale_shift=np.zeros(mantissa.shape, dtype=np.uint8), channel_scale=channel,
        offset_mantissa=best.offset_mantissa if asymmetric else None,
        offset_shift=best.offset_shift if asymmetric else None)


def quantize_weights(w: ArrayLike, dtype: Datatype | Mixture | str, group_size: int = 0,
                     asymmetric: bool = False, scale_bits: int = 8, clip_search: bool = False
                     ) -> QuantizedMatrix:
    """Round-to-nearest quantization of ``w`` [N, K].

    Ideal group scales, over the logical columns of a group:

    * symmetric: ``max|w| / max_abs`` of the datatype. For two's complement a positive maximum is
      clipped by up to one step; in return every step is finer.
    * ``int1``, ``ternary``: ``mean|w|``.
    * posits: what puts ``mean|w|`` at 1, where they are densest, or the rule above if greater.
    * asymmetric (``int2`` to ``int8``): ``(max - min) / (2**bits - 1)``, and an offset that puts
      the middle of the codes on the middle of the range.

    A group scale is then ``mantissa * channel_scale`` with mantissa 1 to ``2**scale_bits - 1``
    and shift 0; one group per channel has mantissa 1. Codes are those nearest
    (:func:`nearest_codes`) under the scale and offset so rounded. An all-zero group gets codes of
    value zero (a datatype that has none: mantissa 0).

    Parameters
    ----------
    group_size : int
        Columns per group; 0 for the whole channel. ``K`` is padded to a multiple of it.
    scale_bits : int
        Bits of a group scale's mantissa, 1 to 11.
    clip_search : bool
        Try every ratio of :data:`CLIP_RATIOS` and keep, for each group, that of least squared
        error; never worse than without.

    Weights that are not finite, or beyond float32's range, are a ``ValueError`` with their
    position.
    """
    dt = datatype(dtype) if isinstance(dtype, str) else dtype
    if isinstance(dt, Mixture) or dt.plane_scaled:
        raise ValueError(f"round-to-nearest has no rule for {dt.name}; use quantize")
    check_scale_bits(scale_bits)
    if asymmetric and not dt.has_offset_form:
        raise ValueError(f"asymmetric quantization needs int2...int8, not {dt.name}")
    groups = Groups.of(w, group_size)
    return round_to_nearest(groups, dt, ideal_scale(groups, dt), scale_bits, asymmetric,
                            CLIP_RATIOS if clip_search else (1.0,))
