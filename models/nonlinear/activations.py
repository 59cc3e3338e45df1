"""Computes GELU, SiLU and squared ReLU in integers.

As in I-ViT (arXiv 2207.01405) GELU is ``x`` times a logistic function, with integer exponential
and division; but where I-ViT has ``1.702 * x`` inside (greatest error 2.0e-2; I-BERT's square for
erf 1.8e-2), there is an odd polynomial: ``x`` itself for SiLU, the definition's cubic for GELU by
tanh, and one of degree 5 fitted to ``log(Phi(x) / Phi(-x))`` for GELU by erf (2.6e-5).
"""

from dataclasses import dataclass

import numpy as np

from bitwright.models.nonlinear.exponential import T_BITS, logistic
from bitwright.models.nonlinear.fixed_point import Int, fits, round_half_up, shift_left

__all__ = ["CURVES", "Curve", "relu", "squared_relu", "times_logistic"]

CODE_BITS = 16


@dataclass(frozen=True)
class Curve:
    """An odd polynomial ``P(t) = c1*t + c3*t**3 + c5*t**5``: coefficients times 2**20; ``t`` counts
    up to ``2**t_bits / 2**16``, beyond which ``P`` is above 16."""
    coefficients: tuple[int, ...]
    t_bits: int

    def __call__(self, t: Int) -> Int:
        """``P(t)`` for ``t`` >= 0, both with 16 bits after the point; at most ``16 - 2**-16``.
        Widths: square 22 bits (``t`` 19), sums 24 with sign, products 45 with sign."""
        if len(self.coefficients) == 1:
            return t
        square = fits("square", round_half_up(t * t, 16), 22)
        p = t * 0 + self.coefficients[-1]
        for c in self.coefficients[-2::-1]:
            p = c + round_half_up(fits("product", p * square, 45, True), 16)
            fits("polynomial", p, 24, True)
        product = round_half_up(fits("product", p * t, 43), 20)
        result: Int = np.minimum(product, (1 << T_BITS) - 1)
        return result


CURVES = {
    "gelu": Curve((1672495, 77606, -737), 19),
    "gelu_tanh": Curve((1673285, 74821), 19),
    "silu": Curve((1 << 20,), 20),
}


def times_logistic(x: Int, fraction: Int, curve: Curve) -> Int:
    """``x * logistic(P(x))``, rounded to a code of the same kind as ``x``: signed 16 bits with
    ``fraction`` bits after the point (any integer, negative too; one per row or for all).

    The error is at most half a step of ``x`` plus 4e-5 (the sum of what logistic and curve leave).
    Widths: logistic 22 bits, product 38 with sign.
    """
    fits("x", x, CODE_BITS, True)
    t = shift_left(np.abs(x), 16 - fraction, curve.t_bits)
    part = logistic(curve(t), (x < 0).astype(np.int64))
    return fits("result", round_half_up(fits("product", x * part, 38, True), 21), CODE_BITS, True)


def relu(x: Int) -> Int:
    """``max(x, 0)``, a code of the same kind as ``x``. Exact."""
    result: Int = np.maximum(x, 0)
    return result


def squared_relu(x: Int) -> Int:
    """``max(x, 0)**2`` of a signed 16-bit code: 30 bits, twice as many after the point. Exact."""
    return fits("square", relu(fits("x", x, CODE_BITS, True)) ** 2, 30)
