"""BitMoD's choice, to the letter and improved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.models.datatypes.catalog import MIXTURES, datatype
from bitwright.models.quantization.bitmod import algorithm_1, quantize_mixture
from bitwright.models.quantization.rtn import quantize_weights
from bitwright.models.quantization.schemes import quantize

FP4 = (-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6)
FP3 = (-4, -2, -1, 0, 1, 2, 4)
PUBLISHED = {"bitmod4": [(*FP4, s) for s in (-5, 5, -8, 8)],
             "bitmod3": [(*FP3, s) for s in (-3, 3, -6, 6)]}
SPECIALS = ("er_neg", "er_pos", "ea_neg", "ea_pos")


def published(group, codebooks):
    """Algorithm 1 on one group, a weight at a time: select, scale, values."""
    best = None
    for select, codebook in enumerate(codebooks):
        values = sorted(codebook)
        scale = max(abs(w) for w in group) / max(abs(v) for v in values)
        chosen = []
        for w in group:
            index = 0
            while index < len(values) - 1 and w / scale > (values[index] + values[index + 1]) / 2:
                index += 1
            chosen.append(values[index])
        error = sum((v * scale - w) ** 2 for v, w in zip(chosen, group, strict=True))
        if best is None or error < best[0]:
            best = error, select, scale, chosen
    return best[1:]


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("seed", range(4))
def test_algorithm_1_as_published(name, seed):
    rng = np.random.default_rng(seed)
    w = rng.standard_t(4, size=(6, 60)) * rng.uniform(0.1, 1, (6, 1))
    if seed == 3:  # multiples of 1/4 up to 6 meet many ties
        w = rng.integers(-24, 25, (6, 60)) / 4
        w[:, ::20] = 6
    qm = algorithm_1(w, name, 20)
    for n in range(6):
        found = [published(w[n, g * 20:g * 20 + 20].tolist(), PUBLISHED[name]) for g in range(3)]
        top = max(scale for _, scale, _ in found)
        for g, (select, scale, chosen) in enumerate(found):
            assert qm.select[n, g] == select
            assert qm.scale_mantissa[n, g] == min(max(round(scale / (top / 255)), 0), 255)
            real = qm.weights[n, g * 20:g * 20 + 20] * 2.0 ** qm.datatype.exponent
            assert real.tolist() == chosen
        assert qm.channel_scale[n] == pytest.approx(top / 255 * 2.0 ** qm.datatype.exponent)


def test_ties_go_down():
    w = np.array([[6, 0.25, -0.25, 0.75, -0.75, 2.5, -2.5, 5] + [-5] * 20])
    qm = algorithm_1(w, "bitmod4", 0)
    assert qm.select.tolist() == [[0]]
    assert (qm.weights[0] / 2).tolist() == [6, 0, -0.5, 0.5, -1, 2, -3, 4] + [-5] * 20


def test_the_first_candidate_wins_a_tie():
    w = np.array([[6, 4, -3, 0.5] * 2, [6, 4, 5, 0.5] * 2, [-8, 6, -6, 4] * 2])
    assert algorithm_1(w, "bitmod4", 4).select.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert quantize_mixture(w[:2], "bitmod4", 4).select.tolist() == [[0, 0], [1, 1]]
    assert not algorithm_1(np.zeros((1, 4)), "bitmod4", 4).select.any()


def test_second_level_scale_may_vanish():
    w = np.repeat([[510.0, 1.0, 0.9, 3.0]], 4, axis=0).reshape(4, 4)
    qm = algorithm_1(w, "bitmod3", 1)
    assert qm.scale_mantissa[0].tolist() == [255, 0, 0, 2]   # 0.5 goes to even, 1.5 too
    assert (quantize_mixture(w, "bitmod3", 1).scale_mantissa >= 1).all()


@pytest.mark.parametrize("run", [algorithm_1, quantize_mixture])
@pytest.mark.parametrize("group", [0, 1, 5, 7, 128])
@pytest.mark.parametrize("name", MIXTURES)
def test_shapes_padding_and_zeros(run, group, name):
    w = np.random.default_rng(seed=1).normal(size=(3, 7))
    w[1] = 0
    w[2, 5:] = 0
    qm = run(w, name, group)
    assert (qm.n, qm.k_logical, qm.group_size) == (3, 7, group or 7)
    assert not qm.weights[:, 7:].any() and not qm.dequantize()[1].any()
    assert not qm.dequantize()[2, 5:].any()
    assert qm.sqnr_db(w) > 8
    if group == 0:
        assert (qm.scale_mantissa[[0, 2]] == (255 if run is algorithm_1 else 1)).all()


@settings(deadline=None, max_examples=80)
@given(bits=st.sampled_from([3, 4]), seed=st.integers(0, 2**32 - 1), group=st.integers(1, 9),
       special=st.sampled_from(["", "_er_neg", "_er_pos"]),
       scale_bits=st.sampled_from([1, 4, 8, 11]))
def test_never_worse_than_a_candidate_of_the_same_scale(bits, seed, group, special, scale_bits):
    """In every channel: these have a channel scale and mantissas that the mixture tries."""
    w = np.random.default_rng(seed).standard_cauchy(size=(3, 20))

    def errors(qm):
        return np.square(qm.dequantize() - w).sum(axis=1)

    mixture = errors(quantize_mixture(w, f"bitmod{bits}", group, scale_bits))
    alone = errors(quantize_weights(w, f"fp{bits}{special}", group, scale_bits=scale_bits))
    assert (mixture <= alone * (1 + 1e-9)).all()
    if scale_bits == 8:
        assert (mixture <= errors(algorithm_1(w, f"bitmod{bits}", group)) * (1 + 1e-9)).all()


def draw(kind, rng, shape):
    if kind == "normal":
        return rng.normal(size=shape)
    if kind == "laplace":
        return rng.laplace(size=shape)
    if kind == "student":
        return rng.standard_t(5, size=shape)
    w = rng.normal(size=shape) * np.exp(rng.normal(size=(shape[0], 1)))
    w[:, rng.integers(0, shape[1], 4)] *= 6
    return w


@pytest.mark.parametrize("kind", ["normal", "laplace", "student", "outliers"])
@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("run", [algorithm_1, quantize_mixture])
def test_no_worse_than_every_alternative(run, bits, kind):
    """Squared error of a matrix at group 128, after the rounding of scales; alternatives have
    scales of 8 bits as well. Holds for weights shaped like those of networks, not for any: evenly
    spread ones suit integers better."""
    for seed in range(3):
        w = draw(kind, np.random.default_rng(seed), (32, 384))
        error = np.square(run(w, f"bitmod{bits}", 128).dequantize() - w).sum()
        for other in (f"int{bits}", f"fp{bits}", *(f"fp{bits}_{s}" for s in SPECIALS)):
            assert error <= np.square(quantize_weights(w, other, 128).dequantize() - w).sum()


def test_clip_search_gains():
    w = np.random.default_rng(seed=2).normal(size=(16, 256))
    for name in ("bitmod4_mse", "bitmod3_mse"):
        plain, searched = quantize(w, name), quantize(w, name, clip_search=True)
        assert searched.sqnr_db(w) > plain.sqnr_db(w) + 0.2
        assert plain.sqnr_db(w) >= quantize(w, name.removesuffix("_mse")).sqnr_db(w) - 0.01


def test_candidates_may_be_restricted():
    w = np.random.default_rng(seed=3).normal(size=(8, 256))
    qm = quantize_mixture(w, "fp4mix_o8", 64, candidates=(1, 2))
    assert set(np.unique(qm.select)) == {1, 2}
    alone = quantize_mixture(w, "fp4mix_o8", 64, candidates=(3,))
    plain = quantize_weights(w, "int4", 64)
    assert np.array_equal(alone.codes, plain.codes)
    np.testing.assert_allclose(alone.dequantize(), plain.dequantize(), rtol=1e-12)


def test_needs_a_mixture():
    for run in (algorithm_1, quantize_mixture):
        with pytest.raises(ValueError, match="needs a mixture, not int4"):
            run(np.ones((1, 2)), datatype("int4"))
