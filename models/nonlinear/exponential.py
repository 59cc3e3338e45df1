"""Computes ``exp(-t)``, and the quotients made of it, in integers.

As in I-BERT (arXiv 2101.01321, algorithm 2) the exponent is split into a whole number of halvings
and a rest, whose exponential is a polynomial. Here the base is 2, as in I-ViT (arXiv 2207.01405),
so that the rest is the low bits of one product, and the polynomial is cubic and exact at both ends,
so that the function is continuous and never rises. Greatest error 8.3e-5, where I-BERT's square has
2.1e-3 and I-ViT's straight line 4.4e-2 (``bitwright models integer-errors``).
"""

from bitwright.models.nonlinear.fixed_point import Dyadic, Int, bit_length, fits, round_half_up

__all__ = ["ONE", "exponential", "logistic", "reciprocal"]

FRACTION = 16                       # of t
T_BITS = 20                         # t is below 16
ONE = 1 << 20                       # 1.0 among the results
LOG2_E = Dyadic(1512775, 20)
# 2**-f for 0 <= f <= 1, interpolated at the zeros of a Chebyshev polynomial stretched to reach the
# ends.
CUBIC = (ONE, -725225, 242381, -41444)
assert sum(CUBIC) == ONE // 2


def exponential(t: Int) -> Int:
    """``exp(-t / 2**16) * 2**20`` for ``t`` of 20 bits (below 16.0): 0 to ``2**20``.

    Absolute error at most ``1.36e-4 * exp(-t) + 0.7 * 2**-20``; exact at 0; never rises with ``t``.
    Widths: product by log2(e) 41 bits, its result 21 (5 whole); Horner's products 37 with sign.
    """
    fits("t", t, T_BITS)
    y = fits("t * log2(e)", LOG2_E.times(t), 21)
    f = y & (1 << FRACTION) - 1
    p = f * 0 + CUBIC[3]
    for c in CUBIC[2::-1]:
        p = fits("polynomial", c + round_half_up(fits("product", p * f, 37, True), FRACTION),
                 22, True)
    return round_half_up(p, y >> FRACTION)


def reciprocal(x: Int) -> tuple[Int, Int]:
    """``r`` of 21 bits and ``k`` with ``1 / x`` about ``r / 2**(41 + k)``, for ``2**20 <= x <
    2**40``; relative error at most ``2**-20``. One division: 42 bits by 21."""
    k = bit_length(fits("x", x, 40)) - 21
    short = round_half_up(x, k)                             # up to 2**21
    return fits("reciprocal", ((1 << 41) + (short >> 1)) // short, 22), k


def logistic(z: Int, negative: Int) -> Int:
    """``2**21 / (1 + exp(-z / 2**16))``, or with ``+z`` where ``negative`` is set, for ``z`` of 20
    bits: 0 to ``2**21``. Absolute error at most 4e-5. One division: 42 bits by 22; product 42."""
    e = exponential(z)
    r, k = reciprocal(ONE + e)
    r = round_half_up(r, k)                                 # k is 1 for z = 0
    small = round_half_up(fits("product", e * r, 42), 20)
    return negative * small + (1 - negative) * r
