"""Rounding, activations and nearest codes: ties above all."""

import ml_dtypes
import numpy as np
import pytest

from bitwright.models.datatypes.catalog import DATATYPES, datatype
from bitwright.models.quantization.rounding import (
    nearest_codes,
    nearest_codes_down,
    quantize_activations,
    round_half_even,
)

NAMES = list(DATATYPES)
INTS = [f"int{b}" for b in range(2, 9)]


def test_round_half_even():
    x = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999999999999994, 2**52 + 1.0, -3.2]
    assert round_half_even(x).tolist() == [0, 2, 2, 0, -2, -2, 0, 2**52 + 1, -3]


@pytest.mark.parametrize("bits, dtype", [(2, np.int8), (4, np.int8), (8, np.int8), (9, np.int16),
                                         (16, np.int16)])
def test_activation_range_and_dtype(bits, dtype):
    rng = np.random.default_rng(seed=1)
    x = rng.normal(size=(7, 50)).astype(np.float32)
    q, sx = quantize_activations(x, bits)
    top = 2 ** (bits - 1) - 1
    assert q.dtype == dtype and q.shape == x.shape and sx.dtype == np.float64 and sx.shape == (7,)
    assert (np.abs(q.astype(int)).max(axis=1) == top).all()
    np.testing.assert_allclose(sx, np.abs(x).max(axis=1) / top, rtol=1e-6)
    assert (np.abs(q * sx[:, None] - x) <= sx[:, None] * (0.5 + 1e-9)).all()


def test_activation_ties_go_to_even():
    q, sx = quantize_activations([[127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -127]])
    assert sx.tolist() == [1.0]
    assert q.tolist() == [[127, 0, 2, 2, 0, -2, -2, -127]]


def test_activation_floor():
    q, sx = quantize_activations([[0, 0], [1e-6, -1e-5]])
    assert sx.tolist() == pytest.approx([1e-5 / 127] * 2)
    assert q.tolist() == [[0, 0], [13, -127]]


def test_tokens_are_independent():
    x = np.random.default_rng(seed=2).normal(size=(5, 8)) * [[1], [10], [0.1], [1e3], [1e-3]]
    q, sx = quantize_activations(x)
    for m in range(5):
        one, s = quantize_activations(x[m:m + 1])
        assert np.array_equal(one[0], q[m]) and s[0] == sx[m]


@pytest.mark.parametrize("bits", [1, 17, 0])
def test_activation_bits(bits):
    with pytest.raises(ValueError, match=f"bits must be 2 to 16, not {bits}"):
        quantize_activations([[1.0]], bits)


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_its_own_nearest(name):
    dt = datatype(name)
    assert (dt.decode(nearest_codes(dt.decode(dt.codes), dt)) == dt.decode(dt.codes)).all()


@pytest.mark.parametrize("name", NAMES)
def test_nearest_by_search(name):
    dt = datatype(name)
    if dt.max_abs <= 16:
        x = np.arange(-4 * dt.max_abs - 8, 4 * dt.max_abs + 9) / 4  # all middles, past the ends
    else:
        values = np.unique(dt.decode(dt.codes))
        middles = (values[1:] + values[:-1]) / 2
        x = np.concatenate([values, middles, middles + 2.0**-9, middles - 2.0**-9,
                            [-2.0**40, 2.0**40]])
    down = nearest_codes_down(x, dt)
    for value, code, lower in zip(x, nearest_codes(x, dt), down, strict=True):
        distance = {c: abs(dt.values[c] - value) for c in dt.codes}
        least = min(distance.values())
        values = {dt.values[c] for c, d in distance.items() if d == least}
        assert dt.values[code] in values
        if len(values) == 2:
            even = min(c for c in distance if dt.values[c] == dt.values[code])
            assert code == 1 if name == "int1" else code == even and (code % 2 == 0 or not any(
                c % 2 == 0 for c, d in distance.items() if d == least))
        assert dt.values[lower] == min(values)


@pytest.mark.parametrize("name, cast", [
    ("fp4", ml_dtypes.float4_e2m1fn), ("fp6_e2m3", ml_dtypes.float6_e2m3fn),
    ("fp6_e3m2", ml_dtypes.float6_e3m2fn), ("fp8_e4m3", ml_dtypes.float8_e4m3fn),
    ("fp8_e5m2", ml_dtypes.float8_e5m2)])
def test_minifloats_are_the_casts_of_ml_dtypes(name, cast):
    dt = datatype(name)
    values = np.unique(dt.decode(dt.codes)) * 2.0 ** dt.exponent
    middles = (values[1:] + values[:-1]) / 2
    x = np.concatenate([np.linspace(values[0], values[-1], 4097), values, middles])
    expected = x.astype(cast).view(np.uint8)
    negative_zero = 1 << dt.bits - 1
    codes = nearest_codes(x * 2.0 ** -dt.exponent, dt)
    assert np.array_equal(codes, np.where(expected == negative_zero, 0, expected))


@pytest.mark.parametrize("name", INTS)
def test_integers_round_half_even(name):
    dt = datatype(name)
    x = np.arange(-2 * dt.max_abs - 6, 2 * dt.max_abs + 7) / 2
    expected = np.clip(np.rint(x), dt.wmin, dt.wmax)
    assert (dt.decode(nearest_codes(x, dt)) == expected).all()
