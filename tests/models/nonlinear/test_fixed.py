"""Entry, rounding and roots of the integer functions, against Python's own integers."""

import math
from fractions import Fraction

import numpy as np
import pytest

from bitwright.models.nonlinear.exponential import ONE, exponential, logistic, reciprocal
from bitwright.models.nonlinear.fixed_point import (
    Dyadic,
    bit_length,
    dyadic,
    fits,
    fixed_point,
    round_half_up,
    shift_left,
)
from bitwright.models.nonlinear.norms import square_root


def test_round_half_up_at_ties_and_ends():
    x = np.arange(-40, 41)
    for shift in range(0, 5):
        expected = [math.floor(Fraction(int(v), 1 << shift) + Fraction(1, 2)) for v in x]
        assert round_half_up(x, shift).tolist() == expected
    assert round_half_up(np.array([-3, -1, 1, 3]), 1).tolist() == [-1, 0, 1, 2]
    top = np.array([2 ** 61, -2 ** 61])
    assert round_half_up(top, [62, 62]).tolist() == [1, 0]


def test_fits_names_what_does_not():
    assert fits("x", np.array([0, 255]), 8).tolist() == [0, 255]
    fits("x", np.array([-128, 127]), 8, True)
    for bad, bits, signed in ((256, 8, False), (-1, 8, False), (128, 8, True), (-129, 8, True)):
        with pytest.raises(OverflowError, match="^x must be within"):
            fits("x", np.array([bad]), bits, signed)


def test_shift_left_saturates():
    for shift in range(-70, 1100):
        x = [0, 1, 5, 32768]
        exact = [min(math.floor(v * Fraction(2) ** shift + Fraction(1, 2)), 2 ** 20 - 1) for v in x]
        assert shift_left(np.array(x), shift, 20).tolist() == exact, shift


def test_bit_length():
    near = {v for k in range(63) for v in (2 ** k - 1, 2 ** k, 2 ** k + 1)}
    x = sorted(v for v in near if v < 2 ** 63)
    assert bit_length(np.array(x)).tolist() == [v.bit_length() for v in x]


def test_dyadic():
    assert dyadic(1.0) == Dyadic(1 << 15, 15) and dyadic(0.1, 4) == Dyadic(13, 7)
    assert dyadic(1 - 2 ** -30, 8) == Dyadic(128, 7)
    for value in (1e-12, 0.3, 17.0, 1e30):
        d = dyadic(value, 24)
        assert d.multiplier.bit_length() == 24
        assert abs(Fraction(d.multiplier) / Fraction(2) ** d.shift / Fraction(value) - 1) < 2 ** -23
    assert Dyadic(3, 1).times(np.array([1, -1, 2])).tolist() == [2, -1, 3]
    for bad in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="positive and finite"):
            dyadic(bad)


@pytest.mark.parametrize("bits", [8, 13, 16])
def test_fixed_point_is_the_finest_that_fits(bits):
    rng = np.random.default_rng(seed=3)
    x = rng.normal(size=(200, 5)) * 2.0 ** rng.integers(-60, 60, (200, 1))
    x[0], x[1] = 0, [2 ** 9 - 1e-9, 0, 0, 0, 0]
    code, f = fixed_point(x, bits)
    step = 2.0 ** -f
    assert (np.abs(code * step - x) <= step / 2).all()
    assert np.abs(code).max() < 2 ** (bits - 1)
    finer = np.rint(np.abs(x[1:]).max(axis=1, keepdims=True) * 2.0 ** (f[1:] + 1))
    assert (finer >= 2 ** (bits - 1)).all() and f[0, 0] == bits - 1
    assert fixed_point(x, bits, most=2)[1].max() == 2
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"x at \[1, 2\] must be finite"):
            fixed_point(np.array([[0.0, 0, 0], [0, 0, bad]]), bits)


def test_exponential_everywhere():
    t = np.arange(1 << 20)
    e, exact = exponential(t), np.exp(-t / 65536)
    assert (np.abs(e / ONE - exact) <= 1.36e-4 * exact + 0.7 / ONE).all()
    assert e[0] == ONE and e[-1] == 0 and (np.diff(e) <= 0).all()
    for bad in (-1, 1 << 20):
        with pytest.raises(OverflowError, match="^t must be within"):
            exponential(np.array([bad]))


def test_logistic_everywhere():
    z = np.arange(1 << 20)
    for negative in (0, 1):
        exact = 1 / (1 + np.exp((2 * negative - 1) * z / 65536))
        found = logistic(z, np.full_like(z, negative)) / 2 ** 21
        assert np.abs(found - exact).max() <= 4e-5
    assert logistic(np.array([0, 0]), np.array([0, 1])).tolist() == [1 << 20, 1 << 20]


def test_reciprocal():
    rng = np.random.default_rng(seed=4)
    x = np.concatenate([[ONE, ONE + 1, 2 * ONE - 1, 2 * ONE, 2 ** 40 - 1],
                        (2 ** rng.uniform(20, 40, 2000)).astype(np.int64)])
    r, k = reciprocal(x)
    for one, mine, shift in zip(x.tolist(), r.tolist(), k.tolist(), strict=True):
        assert abs(Fraction(mine * one, 1 << 41 + shift) - 1) <= Fraction(1, 2 ** 20)
    with pytest.raises(OverflowError):
        reciprocal(np.array([2 ** 40]))


def test_square_root_is_the_floor():
    rng = np.random.default_rng(seed=5)
    roots = [2 ** 30, 2 ** 30 + 1, 2 ** 31 - 1, *rng.integers(2 ** 30, 2 ** 31, 2000).tolist()]
    x = sorted({v for r in roots for v in (r * r - 1, r * r, r * r + 2 * r)
                if 2 ** 60 <= v < 2 ** 62})
    assert square_root(np.array(x)).tolist() == [math.isqrt(v) for v in x]
