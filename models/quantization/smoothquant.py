"""Moves outliers of activations into weights by SmoothQuant (Xiao et al., ICML 2023).

A layer's inputs are multiplied by ``scale`` [k] before they become integers, and its weights
divided by it: the product is the same, and activations of few large features lose less.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["input_scale"]

_RANGE = 32       # features further below the greatest than this count as no smaller
_LEAST = 1e-5


def _limited(maxima: NDArray[np.floating]) -> NDArray[np.float64]:
    """So that a feature which the text hardly used cannot become the greatest of another text."""
    found: NDArray[np.float64] = np.maximum(maxima, max(float(maxima.max()) / _RANGE, _LEAST))
    return found


def input_scale(maxima: NDArray[np.floating], weight: NDArray[np.floating],
                strength: float) -> NDArray[np.float32]:
    """``max|w| ** (1 - strength) / max|x| ** strength`` of each input feature, float32 [k].

    ``maxima`` [k] are the greatest magnitudes of activations, ``weight`` is [n, k]; neither counts
    as less than 1/32 of its greatest. ``strength`` 0 to 1: how much of the difference between
    features goes to the weights.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be 0 to 1, not {strength!r}")
    x = _limited(maxima.astype(np.float64))
    w = _limited(np.abs(weight).max(axis=0).astype(np.float64))
    return (w ** (1 - strength) / x ** strength).astype(np.float32)
