"""Quantizes to 8-bit outlier groups beside groups of 3 or 4 bits, in one matrix.

An outlier K-group is stored as two groups of ``int4`` codes over the same input features:
``weight = 16 * hi + lo`` with ``hi`` and ``lo`` -8…7, so -136…119. The scale of the ``hi`` group is
that of the ``lo`` group shifted by 4. Nothing but ``columns`` tells the two groups apart from
others: an array that runs ``int4``, or a mixture with it, runs them.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.datatypes.catalog import DATATYPES, datatype
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.quantization.bitmod import quantize_mixture
from bitwright.models.quantization.groups import Groups
from bitwright.models.quantization.quantized_matrix import MANTISSA_BITS, QuantizedMatrix
from bitwright.models.quantization.rounding import round_half_even
from bitwright.models.quantization.rtn import CLIP_RATIOS, quantize_weights

HIGH_SHIFT = 4
WEIGHT_MIN, WEIGHT_MAX = -136, 119
OUTLIER_FRACTION = 1 / 16
SCALE_BITS_MIN = 5
_INT4 = DATATYPES["int4"]


def regular_candidates(mixture: Mixture) -> tuple[int, ...]:
    """Candidates for groups that are no outliers. Among types of at most eight codes ``int4`` is
    for outliers only: it would win every group, and the rest is meant to be three bits."""
    others = [i for i, d in enumerate(mixture.datatypes) if d != _INT4]
    narrow = max(len(mixture.datatypes[i].codes) for i in others) <= 8
    return tuple(others) if narrow else tuple(range(len(mixture.datatypes)))


def outlier_count(groups: int, outlier_groups: int | float = OUTLIER_FRACTION) -> int:
    """Return how many of ``groups`` K-groups become outliers. Each is stored as one group more."""
    if isinstance(outlier_groups, float):
        if not 0 <= outlier_groups <= 1:
            raise ValueError(f"outlier_groups must be a fraction from 0.0 to 1.0 or a count, "
                             f"not {outlier_groups!r}")
        return math.ceil(outlier_groups * groups)
    if not 0 <= outlier_groups <= groups:
        raise ValueError(f"outlier_groups must be 0 to the {groups} groups there are, "
                         f"not {outlier_groups!r}")
    return outlier_groups


def _base(w: ArrayLike, dt: Datatype | Mixture, group_size: int, scale_bits: int,
          clip_search: bool) -> tuple[QuantizedMatrix, int | None]:
    """All of ``w`` in ``dt``, and the select of ``int4``."""
    if isinstance(dt, Mixture) and _INT4 in dt.datatypes:
        ratios = CLIP_RATIOS if clip_search else (1.0,)
        return (quantize_mixture(w, dt, group_size, scale_bits, ratios, regular_candidates(dt)),
                dt.datatypes.index(_INT4))
    if dt == _INT4:
        return quantize_weights(w, dt, group_size, False, scale_bits, clip_search), None
    raise ValueError(f"outlier groups need int4 or a mixture that holds it, not {dt.name}")


def _worst(groups: Groups, qm: QuantizedMatrix, outlier_groups: int | float) -> NDArray[np.bool_]:
    """[G]: the K-groups of greatest squared error over all channels, the first on a tie."""
    count = outlier_count(groups.count, outlier_groups)
    values = qm.weights.reshape(groups.x.shape)
    error = groups.error(values, qm.scale * qm.channel_scale[:, None]).sum(axis=0)
    worst = np.zeros(groups.count, dtype=bool)
    worst[np.argsort(-error, kind="stable")[:count]] = True
    return worst


def quantize_outliers(w: ArrayLike, base: Datatype | Mixture | str, group_size: int = 128,
                      outlier_groups: int | float = OUTLIER_FRACTION, scale_bits: int = 8,
                      clip_search: bool = False) -> QuantizedMatrix:
    """``w`` [N, K] in ``base``, but its worst groups in 8 bits.

    All of ``w`` is quantized in ``base`` (:func:`quantize_weights`, or
    :func:`quantize_mixture` for a mixture). The K-groups of greatest squared error,
    summed over the channels, become outliers, for every channel alike. An outlier's weights are
    the nearest of -136…119 under a scale that clips none: mantissa and shift 0 in the same
    channel scale for ``lo``, shift 4 for ``hi``. In the result its two groups, ``hi`` first, stand
    where the one would have been.

    Parameters
    ----------
    base : Datatype, Mixture or str
        ``int4``, or a mixture with ``int4`` among its candidates (``fp4mix_o8``, ``fp3mix_o8``).
    outlier_groups : int or float
        A count of K-groups, or a fraction of them, rounded up.
    scale_bits : int
        Bits of a base group's mantissa, 5 to 11: an outlier's steps are sixteenths of the base's,
        and its mantissa that much less.
    """
    if scale_bits < SCALE_BITS_MIN:
        raise ValueError(f"scale_bits must be {SCALE_BITS_MIN} to {MANTISSA_BITS - 1} beside "
                         f"outlier groups, whose steps are finer, not {scale_bits!r}")
    dt = datatype(base) if isinstance(base, str) else base
    groups = Groups.of(w, group_size)
    qm, int4 = _base(w, dt, group_size, scale_bits, clip_search)
    worst = _worst(groups, qm, outlier_groups)
    if not worst.any():
        return qm
    high, low = groups.x.max(axis=2), groups.x.min(axis=2)
    ideal = np.maximum(high / WEIGHT_MAX, low / WEIGHT_MIN)
    channel = qm.channel_scale
    if groups.count == 1:  # no other group's scale to keep
        channel = np.where(ideal > 0, ideal, 1.0)[:, 0]
    # Clip nothing: the scale is rounded up.
    mantissa = np.maximum(np.ceil(ideal / channel[:, None]), 1).astype(np.int16)
    step = mantissa * channel[:, None]
    weight = np.clip(round_half_even(groups.x / step[:, :, None]), WEIGHT_MIN, WEIGHT_MAX)
    lo = ((weight + 8) & 15) - 8
    hi = (weight - lo) >> HIGH_SHIFT

    # Two copies of every group; of an outlier both stay, of any other the first.
    keep = np.stack([np.ones_like(worst), worst], axis=1).ravel()

    def both(plain: NDArray, first: NDArray, second: NDArray) -> NDArray:
        """[N, G, …] of plain groups, and of outliers' hi and lo, as [N, G', …]."""
        mask = worst.reshape(1, -1, *(1,) * (plain.ndim - 2))
        pairs = np.stack([np.where(mask, first, plain), second], axis=2)
        return pairs.reshape(plain.shape[0], -1, *plain.shape[2:])[:, keep].astype(plain.dtype)

    shape = groups.x.shape
    features = np.where(groups.inside[0], np.arange(shape[1] * shape[2]).reshape(shape[1:]), -1)
    scale_shift = both(qm.scale_shift, np.full(shape[:2], HIGH_SHIFT), np.zeros(shape[:2]))
    return QuantizedMatrix(
        datatype=dt, group_size=groups.size, k_logical=groups.k_logical,
        codes=both(qm.codes.reshape(shape), hi & 15, lo & 15).reshape(shape[0], -1),
        scale_mantissa=both(qm.scale_mantissa, mantissa, mantissa), scale_shift=scale_shift,
        channel_scale=channel,
        select=None if qm.select is None else both(
            qm.select, np.full(shape[:2], int4), np.full(shape[:2], int4)),
        columns=np.repeat(features, 1 + worst, axis=0).ravel())
