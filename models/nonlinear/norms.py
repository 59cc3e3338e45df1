"""Computes LayerNorm and RMSNorm in integers.

Mean and variance are not rounded at all: with ``n`` values, ``n*x - sum`` and ``n*sum(x**2) -
sum**2`` are exact. Only the root (Newton's iteration, as in I-BERT, arXiv 2101.01321, algorithm 4),
its reciprocal and the result are rounded.
"""

from dataclasses import dataclass

import numpy as np

from bitwright.models.nonlinear.fixed_point import Dyadic, Int, bit_length, fits, round_half_up

__all__ = ["MOST", "Epsilon", "Gain", "layer_norm", "normalize", "rms_norm", "square_root"]

CODE_BITS = 16
FRACTION = 16                       # of a normalized value, which has 9 bits with sign before it
MOST = 1 << 14                      # values of a row
NEWTON_STEPS = 6
EPSILON_BITS = 24


def square_root(x: Int) -> Int:
    """``floor(sqrt(x))`` for ``2**60 <= x < 2**62``, 31 bits: six steps of Newton's iteration from
    ``2**31``, each one division of 62 bits by 32, and a correction by one."""
    fits("x", x, 62)
    root = np.full_like(x, 1 << 31)
    for _ in range(NEWTON_STEPS):
        root = root + x // root >> 1
    return fits("root", root - (root * root > x), 31)


@dataclass(frozen=True)
class Epsilon:
    """The epsilon added to the variance: ``value``, or nothing if that is None."""
    value: Dyadic | None

    def added(self, n: int, fraction: Int) -> Int:
        """``value * n**2 * 2**(2 * fraction)``, rounded half up: 60 bits. The product of multiplier
        and ``n**2`` has 53 bits."""
        if self.value is None:
            return fraction * 0
        product, up = self.value.multiplier * n * n, 2 * fraction - self.value.shift
        assert product < 1 << 53
        least = round_half_up(fraction * 0 + product, np.clip(-up, 0, 62))
        return fits("epsilon", least << np.clip(up, 0, 60 - product.bit_length()), 60)

    def most(self, n: int) -> int | None:
        """The greatest ``fraction`` for which :meth:`added` has 60 bits; None for any."""
        if self.value is None:
            return None
        spare = 60 - (self.value.multiplier * n * n).bit_length()
        return (spare + self.value.shift) // 2


@dataclass(frozen=True)
class Gain:
    """``weight`` [n], signed 16 bits with ``fraction`` bits after the point, and ``bias`` [n],
    signed 41 bits with ``fraction + 16``, or None."""
    weight: Int
    fraction: int
    bias: Int | None = None

    def __call__(self, y: Int) -> Int:
        """``y * weight + bias`` for normalized ``y``: signed 42 bits, ``fraction + 16`` after the
        point. Exact."""
        product = fits("product", y * fits("weight", self.weight, CODE_BITS, True), 40, True)
        if self.bias is None:
            return product
        return fits("sum", product + fits("bias", self.bias, 41, True), 42, True)


def normalize(c: Int, v: Int) -> Int:
    """``c / sqrt(v)`` with 16 bits after the point, signed 25 bits (up to 128.0); 0 where ``v`` is
    0.

    ``c`` [..., n] is signed 32 bits, ``v`` [..., 1] has 61 bits and ``c**2 <= n * v``, ``n`` up to
    2**14. The error is at most ``2**-19.4 * |y| + 2**-17``. Widths: ``v`` shifted 62 bits, root
    31, reciprocal 21 (one division of 51 bits by 31), product 52 with sign.
    """
    v = np.maximum(fits("v", v, 61), 1)                     # where it is 0, c is 0
    k = (62 - bit_length(v)) // 2
    root = square_root(v << 2 * k)
    inverse = fits("reciprocal", ((1 << 50) + (root >> 1)) // root, 21)
    product = fits("product", fits("c", c, 32, True) * inverse, 52, True)
    return fits("result", round_half_up(product, 50 - FRACTION - k), 25, True)


def layer_norm(x: Int, fraction: Int, epsilon: Epsilon, gain: Gain) -> Int:
    """``(x - mean) / sqrt(variance + epsilon) * weight + bias`` along the last axis.

    ``x`` [..., n] is signed 16 bits with ``fraction`` [..., 1] bits after the point; ``n`` up to
    2**14. Returns what :class:`Gain` does. Widths: sum 30 bits with sign, sum of squares 44, ``n``
    times it 58, difference 32 with sign.
    """
    n = _check(x)
    total = fits("sum", x.sum(axis=-1, keepdims=True), 30, True)
    squares = fits("sum of squares", np.square(x).sum(axis=-1, keepdims=True), 45)
    variance = fits("variance", n * squares - total * total, 59)
    y = normalize(n * x - total, variance + epsilon.added(n, fraction))
    return gain(y)


def rms_norm(x: Int, fraction: Int, epsilon: Epsilon, gain: Gain) -> Int:
    """``x / sqrt(mean(x**2) + epsilon) * weight`` along the last axis; otherwise as
    :func:`layer_norm`."""
    n = _check(x)
    squares = fits("sum of squares", np.square(x).sum(axis=-1, keepdims=True), 45)
    return gain(normalize(n * x, n * squares + epsilon.added(n, fraction)))


def _check(x: Int) -> int:
    n = fits("x", x, CODE_BITS, True).shape[-1]
    if not 1 <= n <= MOST:
        raise ValueError(f"a row must have 1 to {MOST} values, not {n}")
    return n
