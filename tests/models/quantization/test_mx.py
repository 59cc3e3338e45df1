"""Block-scaled formats against their definitions."""

import math

import ml_dtypes
import numpy as np
import pytest

from bitwright.models.quantization.mx import floor_log2, quantize_mx, quantize_nvfp4
from bitwright.models.quantization.schemes import quantize

ELEMENTS = {  # cast, emax, greatest
    "mxfp4": (ml_dtypes.float4_e2m1fn, 2, 6),
    "mxfp6_e3m2": (ml_dtypes.float6_e3m2fn, 4, 28),
    "mxfp6_e2m3": (ml_dtypes.float6_e2m3fn, 2, 7.5),
    "mxfp8_e4m3": (ml_dtypes.float8_e4m3fn, 8, 448),
    "mxfp8_e5m2": (ml_dtypes.float8_e5m2, 15, 57344),
    "mxint8": (None, 0, 127 / 64),
}


def mx_block(block, name):
    """One block by the specification: powers of two by search, elements by ml_dtypes' casts."""
    cast, emax, greatest = ELEMENTS[name]
    top = max(abs(v) for v in block)
    if top == 0:
        return [0.0] * len(block)
    exponent = next(e for e in range(127, -160, -1) if 2.0 ** e <= top)
    scale = 2.0 ** min(max(exponent - emax, -127), 127)
    saturated = np.clip(np.array(block) / scale, -greatest, greatest)
    if cast is None:
        return (np.rint(saturated * 64) / 64 * scale).tolist()
    return (saturated.astype(cast).astype(np.float64) * scale).tolist()


@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("kind", ["normal", "powers", "spread", "ties"])
def test_mx_by_the_specification(name, kind):
    rng = np.random.default_rng(seed=1)
    w = rng.normal(size=(5, 80)).astype(np.float32).astype(float)
    if kind == "powers":  # just below, at and just above powers of two
        near = 2.0 ** rng.integers(-4, 5, (5, 80))
        w = near * rng.choice([1, -1, 1 - 2.0**-23, 1 + 2.0**-23, 1.75, 1.9999999], (5, 80))
    if kind == "spread":
        w *= 2.0 ** rng.integers(-6, 6, (5, 80))
    if kind == "ties":
        w = rng.integers(-64, 65, (5, 80)) / 16
    w[3, 32:64] = 0
    qm = quantize(w, name)
    assert (qm.group_size, qm.k, qm.k_logical) == (32, 96, 80)
    expected = [sum((mx_block(row[g:g + 32].tolist(), name) for g in (0, 32, 64)), [])
                for row in w]
    assert qm.dequantize().tolist() == expected
    assert (qm.scale_mantissa == 1).all()
    assert (qm.scale_shift.min(axis=1) == 0).all()


def test_mxint8_is_symmetric():
    qm = quantize(np.full((1, 32), -1.9999), "mxint8")
    assert (qm.weights == -127).all()


@pytest.mark.parametrize("e", range(-149, 128))
def test_floor_log2_next_to_powers_of_two(e):
    """Where floor(log2(x)) of float32 is one too high, or of float64."""
    power = 2.0 ** e
    x = np.array([power, np.nextafter(power, 0), np.nextafter(power, np.inf)])
    assert floor_log2(x).tolist() == [e, e - 1, e]
    assert math.floor(math.log2(np.nextafter(2.0**100, 0))) == 100  # what is avoided


@pytest.mark.parametrize("name", ["mxfp4", "mxint8", "mxfp8_e5m2"])
def test_e8m0_ends(name):
    tiny = quantize(np.full((1, 32), 2.0**-149), name)  # the scale ends at 2^-127
    _, emax, _ = ELEMENTS[name]
    assert tiny.channel_scale[0] == 2.0 ** (max(-149 - emax, -127) + tiny.datatype.exponent)
    huge = np.full((1, 32), float(np.finfo(np.float32).max))
    assert quantize(huge, name).dequantize()[0, 0] <= huge[0, 0]


def spread(exponents):
    """A channel with one power of two per block of 32."""
    return np.repeat([[2.0 ** e for e in exponents]], 32, axis=1)


def test_shifts_span_fifteen():
    qm = quantize(spread([0, -15, -7]), "mxfp4")
    assert qm.scale_shift.tolist() == [[15, 0, 8]]
    assert np.array_equal(qm.dequantize(), spread([0, -15, -7]))


def test_scale_underflow():
    w = np.vstack([spread([0, 0, 0]), spread([0, -16, -40])])
    with pytest.raises(ValueError, match="scale of channel 1, group 1 underflows the mantissa: .* "
                                         "2\\^-15 .* pass underflow='flush'"):
        quantize(w, "mxfp4")
    qm = quantize(w, "mxfp4", underflow="flush")
    assert qm.scale_shift.tolist() == [[0, 0, 0], [15, 0, 0]]
    assert np.array_equal(qm.dequantize()[:, :64], w[:, :64])  # half of the least scale's numbers
    assert not qm.dequantize()[1, 64:].any()
    error = np.abs(qm.dequantize() - w)
    assert error.max() <= 2.0**-15 * 2.0**-2 * 0.25  # half the least step of the least scale
    with pytest.raises(ValueError, match="underflow must be 'error' or 'flush', not 'drop'"):
        quantize(w, "mxfp4", underflow="drop")


def test_zero_blocks_do_not_underflow():
    w = spread([0, -3, 0])
    w[:, 32:64] = 0
    for name in ("mxfp4", "nvfp4", "mxint8"):
        qm = quantize(w, name)
        assert not qm.dequantize()[:, 32:64].any()
        assert np.allclose(qm.dequantize()[:, :32], 1, rtol=0.07)
        assert not quantize(np.zeros((2, 40)), name).dequantize().any()


def nvfp4_block(block, tensor):
    amax = max(abs(v) for v in block)
    scale = float(np.array(min(amax / 6 / tensor, 448)).astype(ml_dtypes.float8_e4m3fn))
    if scale == 0:
        return [0.0] * len(block)
    scaled = np.clip(np.array(block) / (tensor * scale), -6, 6)
    return (scaled.astype(ml_dtypes.float4_e2m1fn).astype(float) * (tensor * scale)).tolist()


@pytest.mark.parametrize("spread_bits", [0, 4, 8])
def test_nvfp4_by_the_definition(spread_bits):
    rng = np.random.default_rng(seed=2)
    w = rng.normal(size=(6, 40)) * 2.0 ** -rng.integers(0, spread_bits + 1, (6, 40 // 8)).repeat(
        8, axis=1)
    w[2] = 0
    qm = quantize_nvfp4(w)
    tensor = float(np.float32(np.abs(w).max() / (6 * 448)))
    expected = [sum((nvfp4_block(row[g:g + 16].tolist(), tensor) for g in (0, 16, 32)), [])
                for row in w]
    np.testing.assert_allclose(qm.dequantize(), expected, rtol=1e-14)
    assert (qm.group_size, qm.k) == (16, 48)
    assert (qm.scale_mantissa < 16).all()
    odd = np.bitwise_or.reduce(qm.scale, axis=1)
    assert ((odd & 1 == 1) | (odd == 0)).all()  # common powers of two are in the channel scale


def test_nvfp4_scales_reach_from_end_to_end():
    """448 and the subnormals of E4M3 side by side."""
    w = np.repeat([[6 * 448.0, 6 * 2.0**-9, 6 * 2.0**-7 * 1.75, 6 * 15 * 2.0**-9]], 16, axis=1)
    qm = quantize_nvfp4(w)
    assert np.array_equal(qm.dequantize(), w)
    assert qm.scale[0].tolist() == [448 << 9, 1, 7, 15]
    assert qm.scale_shift[0].tolist() == [14, 0, 0, 0]


def test_nvfp4_underflow():
    w = np.repeat([[6 * 448.0, 6 * 2.0**-10]], 16, axis=1)
    with pytest.raises(ValueError, match="scale of channel 0, group 1 underflows the mantissa: .*"
                                         "E4M3's least number, 2\\^-9"):
        quantize_nvfp4(w)  # a tie with zero, which is even
    qm = quantize_nvfp4(w, "flush")
    assert qm.scale[0].tolist() == [448 << 9, 1]
    assert np.allclose(qm.dequantize(), w)


def test_mx_functions_take_an_element():
    w = np.random.default_rng(seed=3).normal(size=(2, 32))
    assert np.array_equal(quantize_mx(w, "fp6_e2m3").codes, quantize(w, "mxfp6_e2m3").codes)
