"""Computes softmax of integer scores."""

import numpy as np

from bitwright.models.nonlinear.exponential import exponential, reciprocal
from bitwright.models.nonlinear.fixed_point import Dyadic, Int, fits, round_half_up

__all__ = ["DISTANCE_BITS", "MOST", "distances", "softmax"]

DISTANCE_BITS = 16
WHOLE = 4                           # bits before the point of a distance
MOST = 1 << 19                      # entries of a row


def distances(scores: Int, scale: Dyadic) -> Int:
    """Return how far each int32 score (value ``score * scale``) is below the greatest of its row.
    The result is unsigned and has 16 bits, 12 of them after the point; greater distances saturate.
    ``scale`` is below ``2**4`` and has a multiplier of up to 16 bits. Widths: difference 32 bits,
    product 48."""
    if not -WHOLE <= scale.shift - scale.multiplier.bit_length():
        raise ValueError(f"scale must be below 2**{WHOLE}, not {scale}")
    below = fits("score", scores, 32, True).max(axis=-1, keepdims=True) - scores
    product = fits("product", below * scale.multiplier, 48)
    shift = scale.shift - (DISTANCE_BITS - WHOLE)
    found = round_half_up(product, min(max(shift, 0), 62)) << max(-shift, 0)
    result: Int = np.minimum(found, (1 << DISTANCE_BITS) - 1)
    return result


def softmax(distance: Int, bits: int = DISTANCE_BITS) -> tuple[Int, Int]:
    """Softmax along the last axis of ``distance`` below the greatest score of its row.

    Parameters
    ----------
    distance : [..., n], unsigned, ``bits`` (8 to 16) wide, 4 before the point; 0 at the greatest.
        The greatest code there is (all ones) gives exactly 0 if ``bits`` is 16. ``n`` up to 2**19.

    Returns ``code`` [..., n] from 0 to 2**15 and ``shift`` [..., 1], 15 to 34: a weight is
    ``code / 2**shift``. Greatest code of a row: at least 2**14.

    With ``p`` the exact weight for these distances and ``top`` the greatest of its row, the error
    is at most ``(2.7e-4 + n * top / 2**20) * p + (2**-15 + 2**-20) * top``; ``n * top`` is 1 for
    equal scores and counts the exponentials that were rounded. Widths: exponentials 21 bits, their
    sum 40, reciprocal 21, product 42.
    """
    fits("distance", distance, bits)
    e = exponential(distance << 16 + WHOLE - bits)
    r, k = reciprocal(fits("sum", e.sum(axis=-1, keepdims=True), 40))
    return fits("weight", round_half_up(fits("product", e * r, 42), 26), 16), k + 15
