"""8-bit groups beside 3- and 4-bit ones."""

import numpy as np
import pytest

from bitwright.models.datatypes.catalog import datatype
from bitwright.models.inference.golden import accumulator_bound, mpgemm, mpgemm_reference
from bitwright.models.quantization.bitmod import quantize_mixture
from bitwright.models.quantization.outliers import quantize_outliers, regular_candidates
from bitwright.models.quantization.rtn import quantize_weights
from bitwright.models.quantization.schemes import quantize

BASES = ["int4", "fp4mix_o8", "fp3mix_o8"]


def weights(rng, n=12, k=110, loud=(2, 5)):
    """Groups of 16, the last one ragged; the loud ones ten times the others."""
    w = rng.normal(size=(n, k))
    for g in loud:
        w[:, g * 16:g * 16 + 16] *= 10
    return w


def plain(w, base, group):
    if base == "int4":
        return quantize_weights(w, base, group)
    return quantize_mixture(w, base, group, candidates=regular_candidates(datatype(base)))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("loud", [(2, 5), (0, 6)])
def test_outliers_become_eight_bits(base, loud):
    rng = np.random.default_rng(seed=1)
    w = weights(rng, loud=loud)
    qm = quantize_outliers(w, base, 16, 2)
    four = plain(w, base, 16)
    assert (qm.n, qm.k_logical, qm.groups, qm.k) == (12, 110, 9, 144)

    expected, group = [], []  # columns: loud groups twice, in order
    for g in range(7):
        features = [f if f < 110 else -1 for f in range(16 * g, 16 * g + 16)]
        for part in ("hi", "lo") if g in loud else ("",):
            expected += features
            group.append((g, part))
    assert qm.columns.tolist() == expected
    for at, (g, part) in enumerate(group):
        cut, there = slice(16 * at, 16 * at + 16), slice(16 * g, 16 * g + 16)
        if not part:
            assert np.array_equal(qm.codes[:, cut], four.codes[:, there])
            assert np.array_equal(qm.scale[:, at], four.scale[:, g])
            assert qm.select is None or np.array_equal(qm.select[:, at], four.select[:, g])
            continue
        if qm.select is not None:
            assert (qm.select[:, at] == 3).all()
        if part == "lo":
            assert np.array_equal(qm.scale[:, at] * 16, qm.scale[:, at - 1])
            assert (qm.scale_shift[:, at - 1] == 4).all() and not qm.scale_shift[:, at].any()
            whole = 16 * qm.weights[:, 16 * at - 16:16 * at] + qm.weights[:, cut]
            assert whole.min() >= -136 and whole.max() <= 119
            step = qm.scale[:, at] * qm.channel_scale
            inside = [f for f in range(16) if 16 * g + f < 110]
            error = np.abs(whole[:, inside] * step[:, None] - w[:, there])
            assert (error <= step[:, None] / 2 * (1 + 1e-9)).all()  # nearest, and nothing clipped
            peak = np.maximum(w[:, there].max(axis=1) / 119, w[:, there].min(axis=1) / -136)
            assert (step - peak < qm.channel_scale * (1 + 1e-9)).all()  # no coarser than need be


@pytest.mark.parametrize("base", BASES)
def test_products(base):
    rng = np.random.default_rng(seed=2)
    w = weights(rng)
    qm = quantize_outliers(w, base, 16, 3)
    a = rng.integers(-128, 128, (5, 110))
    y = mpgemm(a, qm)
    assert np.array_equal(y, mpgemm_reference(a, qm))
    np.testing.assert_allclose(a @ qm.dequantize().T, y * qm.channel_scale, rtol=1e-10, atol=1e-9)
    assert (np.abs(y) <= accumulator_bound(qm)).all()


def test_quality():
    """As good as INT8 if all groups are outliers; 8 dB better if the loud ones are."""
    rng = np.random.default_rng(seed=3)
    w = weights(rng, 32, 112)
    everywhere = quantize_outliers(w, "int4", 16, 1.0)
    assert (everywhere.k, everywhere.groups) == (224, 14)
    assert everywhere.sqnr_db(w) > quantize_weights(w, "int8", 16).sqnr_db(w) - 1.5
    for base in BASES:
        assert quantize_outliers(w, base, 16, 2).sqnr_db(w) > plain(w, base, 16).sqnr_db(w) + 8


@pytest.mark.parametrize("outlier_groups, count", [
    (0, 0), (3, 3), (7, 7), (0.0, 0), (0.01, 1), (2 / 7, 2), (0.3, 3), (1.0, 7)])
def test_how_many(outlier_groups, count):
    w = weights(np.random.default_rng(seed=4))
    qm = quantize_outliers(w, "int4", 16, outlier_groups)
    assert qm.groups == 7 + count
    assert (qm.columns is None) == (count == 0)


def test_those_of_greatest_error_over_all_channels():
    w = weights(np.random.default_rng(seed=5), loud=())
    w[:, 48:64] *= 3
    w[0, 20] = 40  # loud in one channel alone, and so are that channel's other groups
    qm = quantize_outliers(w, "int4", 16, 1)
    twice = [f for f in range(110) if (qm.columns == f).sum() == 2]
    error = np.square(quantize_weights(w, "int4", 16).dequantize() - w).sum(axis=0)
    sums = [error[g * 16:g * 16 + 16].sum() for g in range(7)]
    first = int(np.argmax(sums)) * 16
    assert twice == list(range(first, first + 16))


def test_zero_and_even_groups():
    """All-zero weights, and equal errors: the first groups go."""
    qm = quantize_outliers(np.zeros((2, 8)), "int4", 2, 2)
    assert not qm.dequantize().any() and qm.columns.tolist() == [0, 1] * 2 + [2, 3] * 2 + [
        4, 5, 6, 7]


def test_whole_channel_as_one_group():
    w = weights(np.random.default_rng(seed=6))
    qm = quantize_outliers(w, "int4", 0, 1)
    assert (qm.groups, qm.k) == (2, 220)
    assert (qm.scale_mantissa == 1).all()
    assert qm.sqnr_db(w) > quantize_weights(w, "int8").sqnr_db(w) - 1


@pytest.mark.parametrize("name", ["int4_o8", "fp4mix_o8", "fp3mix_o8"])
def test_schemes(name):
    w = np.random.default_rng(seed=7).normal(size=(4, 20 * 16))
    qm = quantize(w, name, 16)
    assert qm.groups == 22  # 1/16 of 20, rounded up
    assert quantize(w, name).group_size == 128
    assert quantize(w, name, 16, clip_search=True).sqnr_db(w) > qm.sqnr_db(w)


def test_three_bits_keep_to_three_bit_codes():
    assert regular_candidates(datatype("fp3mix_o8")) == (0, 1, 2)
    assert regular_candidates(datatype("fp4mix_o8")) == (0, 1, 2, 3)
    w = np.random.default_rng(seed=8).normal(size=(4, 64))
    qm = quantize_outliers(w, "fp3mix_o8", 16, 1)
    plain_groups = qm.select[:, [g for g in range(5) if (
        qm.columns == qm.columns[16 * g]).sum() == 1]]
    assert plain_groups.max() < 3


@pytest.mark.parametrize("scale_bits", [5, 6, 11])
def test_few_scale_bits_still_leave_seven_bits(scale_bits):
    w = np.random.default_rng(seed=10).normal(size=(16, 256))
    qm = quantize_outliers(w, "int4", 16, 1.0, scale_bits)
    assert qm.sqnr_db(w) > quantize_weights(w, "int7", 16).sqnr_db(w)


def test_too_few_scale_bits():
    with pytest.raises(ValueError, match="scale_bits must be 5 to 11 beside outlier .* not 4"):
        quantize_outliers(np.ones((1, 2)), "int4", 1, 1, 4)


@pytest.mark.parametrize("base, outlier_groups, message", [
    ("int8", 1, "need int4 or a mixture that holds it, not int8"),
    ("bitmod4", 1, "need int4 or a mixture that holds it, not bitmod4"),
    ("int4", 8, "outlier_groups must be 0 to the 7 groups there are, not 8"),
    ("int4", -1, "not -1"),
    ("int4", 1.5, "a fraction from 0.0 to 1.0 or a count, not 1.5"),
    ("int4", float("nan"), "not nan"),
])
def test_refused(base, outlier_groups, message):
    with pytest.raises(ValueError, match=message):
        quantize_outliers(weights(np.random.default_rng(seed=9)), base, 16, outlier_groups)
