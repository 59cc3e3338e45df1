import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES, datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.inference.golden import (
    accumulator_bound,
    dequantize_output,
    mpgemm,
    mpgemm_reference,
)
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.models.quantization.rounding import quantize_activations
from bitwright.models.quantization.rtn import quantize_weights
from bitwright.models.quantization.schemes import SCHEMES, quantize

EVERY = [*DATATYPES, *MIXTURES]


def random_matrix(rng, name, n, k_logical, group, *, offsets=True, columns=False, act_bits=8):
    """Not what a quantizer would make: every field takes any value it may, as far as sums of
    ``act_bits`` activations stay within int64."""
    dt = datatype(name)
    groups = -(-k_logical // group) + columns
    size, scaled = (n, groups), name.startswith("bcq")
    reach = 18 if scaled else dt.max_abs.bit_length()
    room = 61 - act_bits - reach - (groups * group).bit_length()
    mantissa_bits = min(11, room)
    shift_max = min(15, room - mantissa_bits)
    fields = dict(scale_shift=rng.integers(0, shift_max + 1, size).astype(np.uint8))
    if offsets:
        fields |= dict(
            offset_mantissa=rng.integers(-1 << mantissa_bits, 1 << mantissa_bits, size
                                         ).astype(np.int16),
            offset_shift=rng.integers(0, shift_max + 1, size).astype(np.uint8))
    if scaled:
        shifts = rng.integers(0, 16, (*size, dt.planes))
        fields |= dict(scale_shift=(15 - shifts.max(axis=2)).astype(np.uint8),
                       plane_shift=shifts.astype(np.uint8))
    if isinstance(dt, Mixture):
        select = rng.integers(0, len(dt.datatypes), size).astype(np.uint8)
        codes = np.array([[rng.choice(dt.datatypes[select[i, k // group]].codes)
                           for k in range(groups * group)] for i in range(n)])
        fields["select"] = select
    else:
        codes = rng.choice(np.array(dt.codes), (n, groups * group))
    if columns:
        fields["columns"] = rng.integers(-1, k_logical, groups * group)
    return QuantizedMatrix(
        datatype=dt, group_size=group, k_logical=k_logical, codes=codes.astype(np.uint8),
        scale_mantissa=rng.integers(0, 1 << mantissa_bits, size).astype(np.int16),
        channel_scale=rng.uniform(0.1, 2, n), **fields)


def column_weight(qm, n, k):
    """What column ``k`` multiplies by, in Python integers, from the stored fields."""
    g, code = k // qm.group_size, int(qm.codes[n, k])
    if qm.plane_shift is not None:
        value = sum((1 if code >> p & 1 else -1) * 2 ** int(qm.plane_shift[n, g, p])
                    for p in range(qm.datatype.planes))
    elif qm.select is not None:
        value = qm.datatype.datatypes[qm.select[n, g]].values[code]
    else:
        value = qm.datatype.values[code]
    value *= int(qm.scale_mantissa[n, g]) * 2 ** int(qm.scale_shift[n, g])
    if qm.offset_mantissa is not None:
        value += int(qm.offset_mantissa[n, g]) * 2 ** int(qm.offset_shift[n, g])
    return value


def by_hand(a, qm):
    """The formula in Python integers, one element at a time."""
    feature = range(qm.k_logical) if qm.columns is None else qm.columns.tolist()
    return [[sum(column_weight(qm, n, k) * int(row[f]) for k, f in enumerate(feature) if f >= 0)
             for n in range(qm.n)] for row in a]


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(EVERY), m=st.integers(1, 4), n=st.integers(1, 4),
       k=st.integers(1, 12), group=st.integers(1, 12), offsets=st.booleans(),
       columns=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_both_paths_follow_the_definition(name, m, n, k, group, offsets, columns, seed):
    rng = np.random.default_rng(seed)
    qm = random_matrix(rng, name, n, k, group, offsets=offsets, columns=columns)
    a = rng.integers(-128, 128, (m, k))
    expected = by_hand(a, qm)
    assert mpgemm_reference(a, qm).tolist() == expected
    y = mpgemm(a, qm)
    assert y.tolist() == expected and y.dtype == np.int64 and y.shape == (m, n)
    np.testing.assert_allclose(a @ qm.dequantize().T, y * qm.channel_scale, rtol=1e-12,
                               atol=1e-12 * np.abs(a).max() * np.abs(qm.dequantize()).sum())
    if columns:
        return
    padded = np.pad(a, ((0, 0), (0, qm.k - k)))
    assert mpgemm(padded, qm).tolist() == expected


@pytest.mark.parametrize("name", dict.fromkeys((*DATATYPES, *SCHEMES)))
def test_paths_agree_on_a_layer(name):
    rng = np.random.default_rng(seed=1)
    qm = quantize(rng.normal(size=(96, 200)), name)
    a = rng.integers(-128, 128, (17, 200), dtype=np.int8)
    assert np.array_equal(mpgemm(a, qm), mpgemm_reference(a, qm))


def test_beyond_float64_the_integer_path_answers():
    rng = np.random.default_rng(seed=2)
    qm = random_matrix(rng, "int8", 2, 96, 32)
    for field, value in (("scale_mantissa", 2047), ("scale_shift", 15), ("offset_mantissa", 2047),
                         ("offset_shift", 15), ("codes", 127)):
        getattr(qm, field)[:] = value
    for field, value in (("scale_mantissa", 1), ("scale_shift", 0), ("offset_mantissa", 0)):
        getattr(qm, field)[:, 0] = value  # the first group's sum is odd
    a = np.full((1, 96), 32767, dtype=np.int16)
    a[0, 0] = 32766
    expected = (127 * (32766 + 31 * 32767)) + 64 * 32767 * (2047 * 128 << 15)
    assert expected > 2**53 and expected % 2
    assert mpgemm(a, qm).tolist() == [[expected] * 2]


def test_beyond_int64_is_an_overflow_error():
    n, k = 1, 1 << 15
    ones = np.ones((n, 1))
    qm = QuantizedMatrix(
        datatype=datatype("int8"), group_size=k, codes=np.full((n, k), 128, np.uint8),
        scale_mantissa=(ones * 2047).astype(np.int16), scale_shift=(ones * 15).astype(np.uint8),
        channel_scale=np.ones(n))
    a = np.full((1, k), -32768, dtype=np.int16)
    for run in (mpgemm, mpgemm_reference):
        with pytest.raises(OverflowError, match="do not fit int64"):
            run(a, qm)
    with pytest.raises(OverflowError, match="does not fit int64"):
        accumulator_bound(qm, 16)
    assert mpgemm(a[:, :] // 4096, qm).tolist() == [[-8 * -128 * (2047 << 15) * k]]


def test_no_tokens():
    qm = quantize_weights(np.ones((3, 4)), "int4")
    assert mpgemm(np.zeros((0, 4), np.int8), qm).shape == (0, 3)


@pytest.mark.parametrize("a, error, message", [
    (np.zeros((1, 4)), TypeError, "must be integers, not float64"),
    (np.zeros((1, 4), bool), TypeError, "must be integers, not bool"),
    (np.zeros((1, 5), int), ValueError, r"must be \[M, 4\], not \(1, 5\)"),
    (np.zeros(4, int), ValueError, r"must be \[M, 4\], not \(4,\)"),
    (np.ones((1, 6), int), ValueError, "from column 4 on are padding"),
    (np.full((1, 4), 32768), ValueError, "must fit 16 bits"),
    (np.full((1, 4), -32769), ValueError, "must fit 16 bits"),
])
def test_refused_activations(a, error, message):
    qm = quantize_weights(np.ones((2, 4)), "int4", group_size=3)
    for run in (mpgemm, mpgemm_reference):
        with pytest.raises(error, match=message):
            run(a, qm)


def adversary(qm, n, act_bits, sign):
    """The activations that drive channel ``n`` furthest in one direction."""
    low, high = -(1 << (act_bits - 1)), (1 << (act_bits - 1)) - 1
    return np.where(sign * qm.effective[n, :qm.k_logical] > 0, high, low)[None]


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(EVERY), n=st.integers(1, 4), k=st.integers(1, 12),
       group=st.integers(1, 12), offsets=st.booleans(), act_bits=st.sampled_from([1, 4, 8, 16]),
       seed=st.integers(0, 2**32 - 1))
def test_accumulator_bound_is_reached_and_never_passed(
        name, n, k, group, offsets, act_bits, seed):
    rng = np.random.default_rng(seed)
    qm = random_matrix(rng, name, n, k, group, offsets=offsets, act_bits=act_bits)
    bound = accumulator_bound(qm, act_bits)
    assert bound.dtype == np.int64 and bound.shape == (n,)
    for i in range(n):
        extremes = [abs(by_hand(adversary(qm, i, act_bits, sign), qm)[0][i]) for sign in (1, -1)]
        assert max(extremes) == bound[i]
    low = -(1 << (act_bits - 1))
    a = rng.integers(low, -low, (6, k))
    a[0], a[1] = low, -low - 1
    for stop in range(group, qm.k + 1, group):  # partial sums, group after group
        assert (np.abs(mpgemm(np.where(np.arange(k) < stop, a, 0), qm)) <= bound).all()


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from(EVERY), k=st.integers(1, 6), group=st.integers(1, 6),
       act_bits=st.sampled_from([4, 8]), seed=st.integers(0, 2**32 - 1))
def test_bound_holds_for_partial_sums_of_shared_features(name, k, group, act_bits, seed):
    rng = np.random.default_rng(seed)
    qm = random_matrix(rng, name, 1, k, group, columns=True, act_bits=act_bits)
    bound = accumulator_bound(qm, act_bits)[0]
    low, high = -(1 << (act_bits - 1)), (1 << (act_bits - 1)) - 1
    used = [c for c in range(qm.k) if qm.features[c] >= 0]
    for _ in range(8):
        groups = rng.random(qm.groups) < 0.6
        a = rng.choice([low, high], k)
        partial = sum(column_weight(qm, 0, c) * int(a[qm.features[c]])
                      for c in used if groups[c // group])
        assert abs(partial) <= bound
    alone = sum(abs(column_weight(qm, 0, c)) for c in used)
    assert bound <= alone << act_bits - 1


def test_bound_counts_shared_columns_apart():
    """16 * 7 - 8 * 14 = 0, but the first group alone reaches 112 times the activation."""
    qm = QuantizedMatrix(
        datatype=datatype("int4"), group_size=1, codes=np.array([[7, 8]], np.uint8),
        scale_mantissa=np.array([[16, 14]], np.int16), scale_shift=np.zeros((1, 2), np.uint8),
        channel_scale=np.ones(1), columns=np.array([0, 0]), k_logical=1)
    assert mpgemm([[-128]], qm).tolist() == [[0]]
    assert accumulator_bound(qm).tolist() == [112 * 128 + 112 * 127]


def test_bound_beyond_int64_is_noticed():
    """The sum of 64 weights of 2^57 wraps in int64."""
    qm = QuantizedMatrix(
        datatype=datatype("fp8_e5m2"), group_size=64,
        codes=np.full((1, 64), 0x7b, np.uint8), scale_mantissa=np.full((1, 1), 2047, np.int16),
        scale_shift=np.full((1, 1), 15, np.uint8), channel_scale=np.ones(1))
    with pytest.raises(OverflowError, match="does not fit int64"):
        accumulator_bound(qm, 1)
    with pytest.raises(OverflowError, match="do not fit int64"):
        mpgemm(np.ones((1, 64), np.int8), qm)


def test_bound_by_hand():
    qm = quantize_weights([[-8.0, 7.0]], "int4")
    assert accumulator_bound(qm, 8).tolist() == [8 * 128 + 7 * 127]
    assert accumulator_bound(qm, 4).tolist() == [8 * 8 + 7 * 7]
    for bits in (0, 17):
        with pytest.raises(ValueError, match=f"act_bits must be 1 to 16, not {bits}"):
            accumulator_bound(qm, bits)


def test_dequantized_output_is_the_product_of_the_dequantized():
    rng = np.random.default_rng(seed=3)
    qm = quantize_weights(rng.normal(size=(5, 30)), "int4", group_size=8, asymmetric=True)
    a, sx = quantize_activations(rng.normal(size=(4, 30)))
    bias = rng.normal(size=5)
    out = dequantize_output(mpgemm(a, qm), qm, sx, bias)
    expected = (a * sx[:, None]) @ qm.dequantize().T + bias
    assert out.dtype == np.float64
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    assert np.array_equal(dequantize_output(mpgemm(a, qm), qm, sx, np.zeros(5)),
                          dequantize_output(mpgemm(a, qm), qm, sx))


def test_output_order_of_operations():
    qm = quantize_weights([[1.0]], "int8")
    y, sx, sw = np.array([[12345]]), np.array([0.1]), float(qm.channel_scale[0])
    assert dequantize_output(y, qm, sx, [0.3])[0, 0] == (0.1 * sw) * 12345 + 0.3
