"""Quantizes to ternary by the median of magnitudes, in place of BitNet's mean."""

import numpy as np
from numpy.typing import ArrayLike

from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.quantization.groups import Groups
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.models.quantization.rtn import round_to_nearest


def quantize_absmedian(w: ArrayLike, group_size: int = 0, scale_bits: int = 8) -> QuantizedMatrix:
    """``clamp(round(w / median|w|), -1, 1)`` per group of ``w`` [N, K], over logical columns.

    Where the median is 0, since most weights are, the mean takes its place. Scales are rounded as
    :func:`bitwright.models.quantization.rtn.quantize_weights` does.
    """
    groups = Groups.of(w, group_size)
    magnitude = np.abs(groups.x)
    median = np.median(magnitude, axis=2)
    last = groups.k_logical - (groups.count - 1) * groups.size
    median[:, -1] = np.median(magnitude[:, -1, :last], axis=1)
    ideal = np.where(median > 0, median, groups.absmean)
    return round_to_nearest(groups, DATATYPES["ternary"], ideal, scale_bits)
