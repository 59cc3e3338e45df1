import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bitwright.models.datatypes.catalog import DATATYPES, datatype
from bitwright.models.quantization.rounding import pad_groups, quantize_activations
from bitwright.models.quantization.rtn import quantize_weights

NAMES = [name for name, d in DATATYPES.items() if not d.plane_scaled]
POSITS = ["posit8_es0", "posit8_es1"]
MEANS = ["int1", "ternary"]
EXTREMES = [name for name in NAMES if name not in (*MEANS, *POSITS)]  # scaled by max|w| / max_abs
# A channel that reaches its greatest magnitude below zero is met exactly there.
LOW = [name for name in NAMES if name not in POSITS
       and datatype(name).wmin == -datatype(name).max_abs]
INTS = [f"int{b}" for b in range(2, 9)]
WEIGHTS = arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 20)),
                 elements=st.floats(-1000, 1000, width=32))


def test_pad_groups():
    assert pad_groups(np.ones((2, 5)), 3).tolist() == [[1, 1, 1, 1, 1, 0]] * 2
    assert pad_groups(np.ones((2, 6)), 3).shape == (2, 6)
    with pytest.raises(ValueError, match="group_size must be positive, not 0"):
        pad_groups(np.ones((2, 6)), 0)


def groups_of(qm, w):
    """Yields ``n, g, codes' values, weights, step, offset`` of each group, padding cut off."""
    for n in range(qm.n):
        for g in range(qm.groups):
            cut = slice(g * qm.group_size, min((g + 1) * qm.group_size, qm.k_logical))
            yield (n, g, qm.weights[n, cut], w[n, cut].astype(float),
                   qm.scale[n, g] * qm.channel_scale[n], qm.offset[n, g] * qm.channel_scale[n])


@settings(deadline=None, max_examples=150)
@given(w=WEIGHTS, name=st.sampled_from(EXTREMES + POSITS), group=st.integers(0, 7),
       scale_bits=st.integers(1, 11), asymmetric=st.booleans(), clip=st.booleans())
def test_codes_are_nearest_under_the_effective_scale(
        w, name, group, scale_bits, asymmetric, clip):
    asymmetric &= name in INTS
    qm = quantize_weights(w, name, group, asymmetric, scale_bits, clip)
    assert qm.asymmetric == asymmetric
    dt = qm.datatype
    values = np.array(sorted({dt.values[c] for c in dt.codes}))
    for _, _, q, x, step, offset in groups_of(qm, w):
        best = np.abs(values[:, None] * step + offset - x).min(axis=0)
        error = np.abs(q * step + offset - x)
        assert (error <= best + 1e-9 * (np.abs(x) + step)).all()
        if name in INTS:  # half a step wherever the codes reach
            reach = (x >= dt.wmin * step + offset) & (x <= dt.wmax * step + offset)
            assert (error[reach] <= step / 2 + 1e-9 * (np.abs(x[reach]) + step)).all()


@settings(deadline=None, max_examples=100)
@given(w=WEIGHTS, name=st.sampled_from(EXTREMES), group=st.integers(0, 7),
       scale_bits=st.integers(1, 11))
def test_symmetric_scales(w, name, group, scale_bits):
    qm = quantize_weights(w, name, group, scale_bits=scale_bits)
    top = 2 ** scale_bits - 1 if qm.groups > 1 else 1
    assert not qm.scale_shift.any()
    assert (qm.scale_mantissa >= qm.datatype.has_zero).all()
    assert (qm.scale_mantissa <= top).all()
    for n, _, q, x, step, _ in groups_of(qm, w):
        ideal = np.abs(x).max() / qm.datatype.max_abs
        assert abs(step - ideal) <= qm.channel_scale[n] * (1 if ideal < step else 0.5 + 1e-9)
        if not x.any() and qm.datatype.has_zero:
            assert not q.any()
    biggest = np.abs(w.astype(float)).max(axis=1) / qm.datatype.max_abs
    np.testing.assert_allclose(qm.channel_scale, np.where(biggest > 0, biggest / top, 1),
                               rtol=1e-12)


@settings(deadline=None, max_examples=100)
@given(w=WEIGHTS, name=st.sampled_from(INTS), group=st.integers(0, 7))
def test_asymmetric_error_bound(w, name, group):
    """Every weight is within a step, plus what rounding the scale and the offset costs."""
    qm = quantize_weights(w, name, group, asymmetric=True)
    levels = qm.datatype.wmax - qm.datatype.wmin
    for n, g, q, x, step, offset in groups_of(qm, w):
        unit = qm.channel_scale[n]
        offset_error = unit * 2.0 ** int(qm.offset_shift[n, g]) / 2
        error = np.abs(q * step + offset - x).max()
        assert error <= step / 2 + offset_error + unit * levels / 4 + 1e-9 * np.abs(x).max()


@settings(deadline=None, max_examples=100)
@given(w=WEIGHTS, name=st.sampled_from(["int1", "ternary"]), group=st.integers(0, 7))
def test_absmean_types(w, name, group):
    qm = quantize_weights(w, name, group, scale_bits=8)
    for n, g, q, x, step, _ in groups_of(qm, w):
        mean = np.abs(x).mean()
        if name == "int1":
            assert q.tolist() == [1 if v >= 0 else -1 for v in x]
            if not x.any():
                assert qm.scale_mantissa[n, g] == 0
                continue
        else:
            assert q.tolist() == np.clip(np.rint(x / step), -1, 1).tolist()
        assert abs(step - mean) <= qm.channel_scale[n] * (1 if mean < step else 0.5 + 1e-9)


def test_ternary_is_absmean():
    w = np.array([[0.3, -0.31, 0.9, -2.0, 0.0, 0.1]])
    qm = quantize_weights(w, "ternary")
    mean = 3.61 / 6
    assert qm.channel_scale[0] == pytest.approx(mean)
    assert qm.weights.tolist() == [[0, -1, 1, -1, 0, 0]]


@settings(deadline=None, max_examples=150)
@given(w=WEIGHTS, name=st.sampled_from(LOW))
def test_idempotent(w, name):
    """What was quantized quantizes to itself, once the greatest code is in use."""
    w[:, 0] = -np.abs(w).max(axis=1)
    once = quantize_weights(w, name)
    again = quantize_weights(once.dequantize(), name)
    if once.datatype.has_zero:
        assert np.array_equal(again.codes, once.codes)
    if name != "ternary":  # its scale is a mean, which the zeros pull down
        np.testing.assert_allclose(again.dequantize(), once.dequantize(), rtol=1e-12)


@settings(deadline=None, max_examples=150)
@given(name=st.sampled_from(LOW), group=st.integers(1, 7), seed=st.integers(0, 2**32 - 1))
def test_idempotent_in_groups(name, group, seed):
    rng = np.random.default_rng(seed)
    w = np.clip(rng.normal(size=(3, 14)), -3, 3)
    w[:, ::group] = -3
    mantissas = rng.integers(1, 256, (3, -(-14 // group)))
    mantissas[:, 0] = 255
    w *= np.repeat(mantissas, group, axis=1)[:, :14] / 255
    once = quantize_weights(w, name, group)
    used = np.abs(once.weights.reshape(3, once.groups, -1)).max(axis=2) == once.datatype.max_abs
    if name != "ternary":
        assert used.all()
        if name != "int1":
            assert np.array_equal(once.scale_mantissa, mantissas)
        np.testing.assert_allclose(quantize_weights(once.dequantize(), name, group).dequantize(),
                                   once.dequantize(), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in POSITS])
@pytest.mark.parametrize("group", [0, 1, 4])
def test_codebook_multiples_are_kept_exactly(name, group):
    """Matrices of codes times a power of two come back as they were."""
    dt = datatype(name)
    rng = np.random.default_rng(seed=3)
    values = rng.choice(dt.decode(dt.codes), (6, 8))
    if name != "int1":
        extreme = dt.wmin if dt.wmin == -dt.max_abs else dt.wmax
        values[:, ::max(group, 1)] = extreme  # every group holds it
    if name == "ternary":
        values[:] = np.where(values == 0, 1, values)
    w = values / 8
    assert np.array_equal(quantize_weights(w, dt, 0 if group == 0 else group).dequantize(), w)


@pytest.mark.parametrize("name", INTS)
def test_asymmetric_full_range_is_exact(name):
    """All levels from a minimum up, which no symmetric scale could meet."""
    dt = datatype(name)
    w = (np.arange(dt.wmin, dt.wmax + 1) + 3 * dt.max_abs)[None] / 16
    qm = quantize_weights(w, dt, asymmetric=True)
    assert np.array_equal(qm.dequantize(), w)
    assert qm.weights[0].tolist() == list(range(dt.wmin, dt.wmax + 1))


def test_asymmetric_beats_symmetric_on_a_shifted_channel():
    w = np.random.default_rng(seed=4).uniform(2, 3, (8, 64))
    assert (quantize_weights(w, "int4", 32, asymmetric=True).sqnr_db(w)
            > quantize_weights(w, "int4", 32).sqnr_db(w) + 15)


def test_constant_channel_needs_only_offsets():
    w = np.full((2, 6), 5.0)
    w[1] = [5, 5, 5, -2.5, -2.5, -2.5]
    qm = quantize_weights(w, "int4", 3, asymmetric=True)
    np.testing.assert_allclose(qm.dequantize(), w, rtol=5e-4)
    assert not qm.offset_shift.any()


def test_offset_takes_the_smallest_shift():
    w = np.random.default_rng(seed=5).uniform(0, 1, (4, 64)) + np.array([[0], [1], [100], [-1e6]])
    qm = quantize_weights(w, "int8", 16, asymmetric=True)
    magnitude = np.abs(qm.offset_mantissa.astype(int))
    assert (magnitude[qm.offset_shift > 0] >= 1023).all()
    assert qm.offset_shift.max() > 10 and (qm.offset_mantissa[3] < 0).all()
    assert np.abs(qm.dequantize() / w - 1)[1:].max() < 1e-2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("asymmetric", [False, True])
def test_all_zero(name, asymmetric):
    if asymmetric and name not in INTS:
        return
    qm = quantize_weights(np.zeros((2, 5)), name, 2, asymmetric)
    assert not qm.dequantize().any()
    assert (qm.scale_mantissa == datatype(name).has_zero).all()
    assert (qm.channel_scale == 1).all()
    w = np.ones((1, 4))
    w[:, 2:] = 0  # one zero group beside another
    assert quantize_weights(w, name, 2, asymmetric).dequantize()[0, 2:].tolist() == [0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_ragged_last_group_is_quantized_as_if_alone(name):
    w = np.random.default_rng(seed=6).normal(size=(3, 7))
    ragged = quantize_weights(w, name, 4)
    assert (ragged.k, ragged.k_logical, ragged.groups) == (8, 7, 2)
    alone = quantize_weights(w[:, 4:], name)
    ideal = ragged.scale[:, 1] * ragged.channel_scale
    assert (np.abs(ideal - alone.channel_scale) <= ragged.channel_scale / 2 + 1e-12).all()
    if ragged.datatype.has_zero:
        assert not ragged.weights[:, 7].any()


@pytest.mark.parametrize("name", INTS)
def test_ragged_asymmetric_range_ignores_the_padding(name):
    w = np.random.default_rng(seed=7).uniform(10, 11, (3, 7))
    qm = quantize_weights(w, name, 4, asymmetric=True)
    assert np.abs(qm.dequantize() - w).max() < 0.7 / (2 ** qm.datatype.bits - 1) + 0.01


@pytest.mark.parametrize("name", LOW)
def test_one_weight(name):
    for group in (0, 1, 16):
        qm = quantize_weights([[-0.375]], name, group)
        assert qm.k == max(group, 1)
        assert qm.dequantize().tolist() == [[-0.375]]


def test_whole_channel_has_mantissa_one():
    qm = quantize_weights(np.random.default_rng(seed=8).normal(size=(4, 32)), "int8")
    assert qm.groups == 1 and (qm.scale == 1).all()


@pytest.mark.parametrize("tiny", [1e-45, 1e-250, 5e-324])
@pytest.mark.parametrize("name", LOW)
def test_tiny_weights(name, tiny):
    """Subnormal floats are weights like others; below every float32 they are zero."""
    w = np.array([[tiny, -tiny, tiny, -tiny]])
    expected = w if tiny > 1e-200 else np.zeros_like(w)
    expected = expected * [[qm_top(name), 1] * 2]  # a positive maximum may clip
    np.testing.assert_allclose(quantize_weights(w, name, 2).dequantize(), expected, rtol=1e-9)


def qm_top(name):
    dt = datatype(name)
    return dt.wmax / dt.max_abs


def test_accepts_narrow_floats():
    w = np.array([[1, -2, 0.5]], dtype=ml_dtypes.bfloat16)
    assert np.array_equal(quantize_weights(w, "int4").dequantize(),
                          quantize_weights(w.astype(float), "int4").dequantize())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_weights_must_be_finite(bad):
    w = np.ones((3, 4))
    w[1, 2] = bad
    for run in (lambda: quantize_weights(w, "int4"), lambda: quantize_activations(w)):
        with pytest.raises(ValueError, match=r"at \[1, 2\] must be finite .* not "):
            run()


@pytest.mark.parametrize("arguments, message", [
    (dict(dtype="int9"), "datatype must be one of"),
    (dict(group_size=-1), r"must be 0 \(whole channel\) or positive, not -1"),
    (dict(scale_bits=0), "scale_bits must be 1 to 11, not 0"),
    (dict(scale_bits=12), "scale_bits must be 1 to 11, not 12"),
    (dict(dtype="int1", asymmetric=True), "needs int2...int8, not int1"),
    (dict(dtype="ternary", asymmetric=True), "needs int2...int8, not ternary"),
    (dict(dtype="fp4", asymmetric=True), "needs int2...int8, not fp4"),
    (dict(dtype="int2star", asymmetric=True), "needs int2...int8, not int2star"),
    (dict(dtype="bcq2"), "no rule for bcq2; use quantize"),
    (dict(dtype="bitmod4"), "no rule for bitmod4; use quantize"),
    (dict(w=np.ones((0, 4))), "both positive"),
    (dict(w=np.ones((4, 0))), "both positive"),
    (dict(w=np.ones(4)), "two dimensions, not 1"),
])
def test_refused_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        quantize_weights(**{"w": np.ones((2, 4)), "dtype": "int4", **arguments})


def test_complex_weights_are_refused():
    with pytest.raises(TypeError, match="must be real, not complex128"):
        quantize_weights(np.ones((2, 2), complex), "int4")


@settings(deadline=None, max_examples=100)
@given(w=WEIGHTS, name=st.sampled_from(NAMES), group=st.integers(0, 7), asymmetric=st.booleans(),
       scale_bits=st.integers(1, 11))
def test_clip_search_is_never_worse_in_any_group(w, name, group, asymmetric, scale_bits):
    asymmetric &= name in INTS
    errors = []
    for clip in (False, True):
        qm = quantize_weights(w, name, group, asymmetric, scale_bits, clip)
        difference = np.square(qm.dequantize() - w.astype(float))
        padded = np.pad(difference, ((0, 0), (0, qm.k - qm.k_logical)))
        errors.append(padded.reshape(qm.n, qm.groups, -1).sum(axis=2))
    assert (errors[1] <= errors[0] * (1 + 1e-9)).all()


@pytest.mark.parametrize("name, gain", [("int3", 0.3), ("int4", 0.2), ("fp4", 0.3), ("nf4", 0.3),
                                        ("int2star", 2), ("ternary", 0.3)])
@pytest.mark.parametrize("group", [0, 64])
def test_clip_search_gains(name, gain, group):
    """In dB, on normal weights."""
    w = np.random.default_rng(seed=9).normal(size=(32, 256))
    assert (quantize_weights(w, name, group, clip_search=True).sqnr_db(w)
            > quantize_weights(w, name, group).sqnr_db(w) + gain)


def test_clip_search_finds_the_scale_that_fits():
    """Steps of 1, and one weight that stretches them to 10 / 8."""
    w = np.array([[1.0, 2, 3, 4, 5, 6, -7, -8] * 4])
    w[0, 7] = -10
    best = quantize_weights(w, "int4", 0, clip_search=True)
    errors = [np.square(w - r * 1.25 * np.clip(np.rint(w / (r * 1.25)), -8, 7)).sum()
              for r in (1, *np.arange(1.05, 1.31, 0.05), *np.arange(0.95, 0.29, -0.05))]
    assert np.square(w - best.dequantize()).sum() == pytest.approx(min(errors))
    assert min(errors) < errors[0]


@pytest.mark.parametrize("name", POSITS)
def test_posits_put_the_mean_at_one(name):
    w = np.random.default_rng(seed=10).normal(size=(4, 256))
    qm = quantize_weights(w, name, 64)
    one = 2.0 ** -qm.datatype.exponent
    mean = np.abs(w).reshape(4, 4, 64).mean(axis=2)
    step = qm.scale * qm.channel_scale[:, None]
    np.testing.assert_allclose(step * one, mean, rtol=0.01)
    assert qm.sqnr_db(w) > 36
    far = quantize_weights([[1e-6] * 999 + [-1.0]], name)  # the greatest weight is still reached
    assert -1.05 < far.dequantize()[0, -1] < -0.95
