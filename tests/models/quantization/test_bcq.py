"""Binary-coded quantization, and ternary by the median."""

from itertools import product

import numpy as np
import pytest

from bitwright.models.quantization.absmedian import quantize_absmedian
from bitwright.models.quantization.bcq import nearest_power_of_two, quantize_bcq
from bitwright.models.quantization.schemes import quantize

NAMES = ["bcq2", "bcq3", "bcq4"]


def test_nearest_power_of_two():
    x = np.array([1, 1.49, 1.5, 1.51, 2, 2.99, 3, 0.74, 0.75, 2.0**-1074])
    assert nearest_power_of_two(x).tolist() == [0, 0, 1, 1, 1, 1, 2, -1, 0, -1074]
    away = np.random.default_rng(seed=9).uniform(0.01, 100, 500)
    powers = 2.0 ** np.arange(-10, 10)
    best = np.abs(away[:, None] - powers).min(axis=1)
    assert np.array_equal(np.abs(2.0 ** nearest_power_of_two(away) - away), best)


def coded(rng, planes, shifts, n=4, k=64):
    """Weights that ``planes`` planes of these shifts form exactly, every code among them."""
    codes = rng.integers(0, 1 << planes, (n, k))
    codes[:, :1 << planes] = np.arange(1 << planes)
    return sum((2 * (codes >> p & 1) - 1) * 2.0 ** s for p, s in enumerate(shifts)), codes


@pytest.mark.parametrize("shifts", [(0, 1), (0, 2), (0, 4), (0, 1, 2), (0, 2, 3), (0, 1, 4),
                                    (0, 3, 6), (0, 1, 2, 3), (0, 1, 3, 5), (0, 2, 4, 6)])
@pytest.mark.parametrize("unit", [1, 3.7, 2.0**-20])
def test_finds_power_of_two_planes(shifts, unit):
    w, codes = coded(np.random.default_rng(seed=1), len(shifts), shifts)
    qm = quantize_bcq(w * unit, f"bcq{len(shifts)}", 0)
    assert (qm.plane_shift == np.array(shifts)).all()
    assert np.array_equal(qm.codes, codes)
    np.testing.assert_allclose(qm.dequantize(), w * unit, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("group", [0, 5, 16, 64])
def test_codes_are_the_nearest(name, group):
    rng = np.random.default_rng(seed=2)
    w = rng.normal(size=(5, 70)) * rng.uniform(0.2, 3, (5, 1))
    qm = quantize_bcq(w, name, group)
    size = group or 70
    planes = qm.datatype.planes
    assert (qm.plane_shift.min(axis=2) == 0).all() and not qm.scale_shift.any()
    for n in range(5):
        for g in range(qm.groups):
            x = w[n, g * size:(g + 1) * size]
            step = qm.scale[n, g] * qm.channel_scale[n]
            every = [step * sum(s * 2.0 ** e for s, e in zip(signs, qm.plane_shift[n, g],
                                                               strict=True))
                     for signs in product((-1, 1), repeat=planes)]
            best = np.abs(np.array(every)[:, None] - x).min(axis=0)
            found = np.abs(qm.dequantize()[n, g * size:(g + 1) * size] - x)
            assert (found <= best * (1 + 1e-9) + 1e-12).all()


@pytest.mark.parametrize("name, decibels", [("bcq2", 9.2), ("bcq3", 14.3), ("bcq4", 19.4)])
def test_quality_on_normal_weights(name, decibels):
    """The least error of an even quantizer of 4, 8, 16 levels on normal weights is 9.25, 14.27 and
    19.38 dB (Max 1960, table II); groups of 128 that choose for themselves do a little better."""
    w = np.random.default_rng(seed=3).normal(size=(32, 512))
    assert quantize_bcq(w, name, 128).sqnr_db(w) > decibels


def test_two_clusters_take_far_planes():
    """What no even spacing meets: ±9 ±1."""
    rng = np.random.default_rng(seed=4)
    w = rng.choice([-9, -7, 7, 9], (8, 64)) + rng.normal(size=(8, 64)) * 0.05
    qm = quantize_bcq(w, "bcq2", 64)
    assert (qm.plane_shift == [0, 3]).all() and qm.sqnr_db(w) > 40


def test_greatest_shift():
    w, _ = coded(np.random.default_rng(seed=5), 2, (0, 15))
    assert (quantize_bcq(w, "bcq2", 0).plane_shift == [0, 15]).all()
    beyond, _ = coded(np.random.default_rng(seed=5), 2, (0, 20))
    assert quantize_bcq(beyond, "bcq2", 0).sqnr_db(beyond) > 80


@pytest.mark.parametrize("name", NAMES)
def test_zeros_padding_and_one_weight(name):
    w = np.random.default_rng(seed=6).normal(size=(3, 7))
    w[0] = 0
    w[1, 4:] = 0
    qm = quantize_bcq(w, name, 4)
    assert not qm.dequantize()[0].any() and not qm.dequantize()[1, 4:].any()
    assert qm.scale_mantissa[0].tolist() == [0, 0] and qm.scale_mantissa[1, 1] == 0
    np.testing.assert_allclose(quantize_bcq([[-0.375]], name, 16).dequantize(), [[-0.375]],
                               rtol=0.05)
    constant = np.full((2, 32), 0.7)
    np.testing.assert_allclose(quantize_bcq(constant, name, 16).dequantize(), constant, rtol=0.01)


def test_refused():
    with pytest.raises(ValueError, match="needs bcq2...bcq4, not int4"):
        quantize_bcq(np.ones((1, 2)), "int4")
    with pytest.raises(ValueError, match="scale_bits must be 1 to 11, not 12"):
        quantize_bcq(np.ones((1, 2)), "bcq2", scale_bits=12)


def test_deterministic():
    w = np.random.default_rng(seed=7).normal(size=(8, 96))
    one, two = (quantize_bcq(w, "bcq3", 32) for _ in range(2))
    assert np.array_equal(one.codes, two.codes) and np.array_equal(one.scale, two.scale)


@pytest.mark.parametrize("group", [0, 4, 7])
def test_absmedian(group):
    rng = np.random.default_rng(seed=8)
    w = rng.laplace(size=(4, 18))
    w[3, :16] = 0  # the median of most of its groups is 0: the mean serves
    qm = quantize_absmedian(w, group)
    size = group or 18
    for n in range(4):
        ideal = []
        for g in range(qm.groups):
            x = np.abs(w[n, g * size:(g + 1) * size])
            ideal.append(float(np.median(x)) or x.mean())
        for g in range(qm.groups):
            x = w[n, g * size:(g + 1) * size]
            step = qm.scale[n, g] * qm.channel_scale[n]
            assert abs(step - ideal[g]) <= max(ideal) / 255 * (1 if ideal[g] < step else 0.5 + 1e-9)
            assert (qm.weights[n, g * size:(g + 1) * size][:len(x)]
                    == np.clip(np.rint(x / step), -1, 1)).all()
    assert quantize(w, "ternary_absmedian", group).codes.tolist() == qm.codes.tolist()
