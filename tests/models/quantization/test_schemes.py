"""Quantizers by name."""

import numpy as np
import pytest

from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES, datatype
from bitwright.models.quantization.absmedian import quantize_absmedian
from bitwright.models.quantization.bcq import quantize_bcq
from bitwright.models.quantization.bitmod import algorithm_1, quantize_mixture
from bitwright.models.quantization.mx import quantize_mx, quantize_nvfp4
from bitwright.models.quantization.outliers import quantize_outliers
from bitwright.models.quantization.rtn import quantize_weights
from bitwright.models.quantization.schemes import SCHEMES, quantize, scheme

EVERY = list(dict.fromkeys((*DATATYPES, *MIXTURES, *SCHEMES)))
W = np.random.default_rng(seed=1).normal(size=(5, 300))


def same(one, two):
    for name in ("codes", "scale", "channel_scale", "select", "plane_shift", "columns", "offset"):
        a, b = getattr(one, name), getattr(two, name)
        assert (a is None) == (b is None) and (a is None or np.array_equal(a, b)), name
    assert one.datatype == two.datatype and one.group_size == two.group_size


@pytest.mark.parametrize("name, expected", [
    ("int4", lambda: quantize_weights(W, "int4", 64)),
    ("int1", lambda: quantize_weights(W, "int1", 64)),
    ("nf4", lambda: quantize_weights(W, "nf4", 64)),
    ("bcq3", lambda: quantize_bcq(W, "bcq3", 128)),
    ("bitmod4", lambda: algorithm_1(W, "bitmod4", 128)),
    ("bitmod3_mse", lambda: quantize_mixture(W, "bitmod3", 128)),
    ("mxfp4", lambda: quantize_mx(W, "fp4")),
    ("mxint8", lambda: quantize_mx(W, "mxint8")),
    ("nvfp4", lambda: quantize_nvfp4(W)),
    ("ternary_absmedian", lambda: quantize_absmedian(W, 64)),
    ("fp4mix_o8", lambda: quantize_outliers(W, "fp4mix_o8", 128)),
    ("int4_o8", lambda: quantize_outliers(W, "int4", 128)),
])
def test_dispatch(name, expected):
    same(quantize(W, name), expected())


def test_arguments_reach_the_quantizer():
    same(quantize(W, "int4", 32, True, 6, True), quantize_weights(W, "int4", 32, True, 6, True))
    same(quantize(W, "bcq2", 16, scale_bits=5), quantize_bcq(W, "bcq2", 16, 5))
    same(quantize(W, "bitmod4", 64), algorithm_1(W, "bitmod4", 64))
    same(quantize(W, "bitmod4_mse", 64, scale_bits=4), quantize_mixture(W, "bitmod4", 64, 4))
    same(quantize(W, "ternary_absmedian", 0, scale_bits=3), quantize_absmedian(W, 0, 3))
    same(quantize(W, "int4_o8", 64, scale_bits=6),
         quantize_outliers(W, "int4", 64, scale_bits=6))


@pytest.mark.parametrize("name", EVERY)
def test_every_name_says_what_it_gives(name):
    found = scheme(name)
    qm = quantize(W, name)
    assert found.name == name and qm.datatype == found.datatype
    assert qm.group_size == (found.block or found.group_size)
    assert qm.k_logical == 300 and qm.sqnr_db(W) > 4
    assert not quantize(np.zeros((2, 20)), name).dequantize().any()


@pytest.mark.parametrize("name", [name for name in EVERY if not scheme(name).block])
@pytest.mark.parametrize("group", [16, 32, 64, 128, 256, 0])
def test_group_sizes(name, group):
    qm = quantize(W[:2, :150], name, group)
    assert qm.group_size == (group or 150) and qm.k % qm.group_size == 0
    assert qm.dequantize().shape == (2, 150)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("name", EVERY)
def test_weights_must_be_finite(name, bad):
    w = np.ones((3, 40))
    w[1, 2] = bad
    with pytest.raises(ValueError, match=r"weights at \[1, 2\] must be finite .* not "):
        quantize(w, name)


@pytest.mark.parametrize("name", EVERY)
def test_deterministic(name):
    same(quantize(W[:, :70], name), quantize(W[:, :70].copy(), name))


@pytest.mark.parametrize("name, arguments, message", [
    ("mxfp4", dict(group_size=64), "group size of mxfp4 must be 32, .* not 64; leave it out"),
    ("nvfp4", dict(group_size=32), "group size of nvfp4 must be 16, .* not 32"),
    ("mxint8", dict(group_size=0), "group size of mxint8 must be 32, .* not 0"),
    ("mxfp4", dict(asymmetric=True), "needs int2...int8, not mxfp4"),
    ("mxint8", dict(asymmetric=True), "needs int2...int8, not mxint8"),
    ("int4_o8", dict(asymmetric=True), "needs int2...int8, not int4_o8"),
    ("bitmod4", dict(asymmetric=True), "needs int2...int8, not bitmod4"),
    ("bcq2", dict(asymmetric=True), "needs int2...int8, not bcq2"),
    ("ternary", dict(asymmetric=True), "needs int2...int8, not ternary"),
    ("mxfp4", dict(scale_bits=6), "scale bits of mxfp4 must stay 8: its scales are powers of two"),
    ("nvfp4", dict(scale_bits=9), "scale bits of nvfp4 must stay 8: its scales are E4M3 numbers"),
    ("bitmod3", dict(scale_bits=4), "scale bits of bitmod3 must stay 8: it is BitMoD's"),
    ("mxfp4", dict(clip_search=True), "mxfp4 has no clip search: its scales are powers of two"),
    ("bitmod4", dict(clip_search=True), "bitmod4 has no clip search: it is BitMoD's algorithm"),
    ("bcq3", dict(clip_search=True), "bcq3 has no clip search: it searches"),
    ("ternary_absmedian", dict(clip_search=True), "no clip search"),
    ("int4", dict(scale_bits=0), "scale_bits must be 1 to 11, not 0"),
    ("bitmod4_mse", dict(scale_bits=12), "scale_bits must be 1 to 11, not 12"),
    ("bcq2", dict(scale_bits=12), "scale_bits must be 1 to 11, not 12"),
    ("int4_o8", dict(scale_bits=12), "scale_bits must be 1 to 11, not 12"),
    ("int4", dict(group_size=-1), "must be 0 .* or positive, not -1"),
    ("bitmod4", dict(group_size=-1), "must be 0 .* or positive, not -1"),
    ("int9", {}, "weights must be one of int1, .*, mxfp4, .*, or a .toml file, not 'int9'"),
    ("", {}, "weights must be one of"),
    ("none.toml", {}, "datatype file none.toml cannot be read"),
])
def test_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        quantize(W, name, **arguments)
    assert "\n" not in str(error.value)


def test_asymmetric_is_for_every_integer_type():
    for bits in range(2, 9):
        qm = quantize(W + 5, f"int{bits}", asymmetric=True)
        assert qm.asymmetric and qm.sqnr_db(W + 5) > quantize(W + 5, f"int{bits}").sqnr_db(W + 5)


def test_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nvalues = [-2, -1, -0.5, 0, 0.5, 1, 2]\n')
    qm = quantize(W, str(path), clip_search=True)
    assert qm.datatype == datatype(str(path)) and qm.group_size == 64
    with pytest.raises(ValueError, match="needs int2...int8, not .*mine.toml"):
        quantize(W, str(path), asymmetric=True)


def test_quality():
    """Squared errors in dB on normal weights: the order that the literature gives them."""
    w = np.random.default_rng(seed=2).normal(size=(64, 1024))
    found = {name: quantize(w, name, None if scheme(name).block else 128).sqnr_db(w)
             for name in EVERY}
    for better, worse in [
            ("nvfp4", "mxfp4"), ("mxfp6_e2m3", "mxfp6_e3m2"), ("mxfp8_e4m3", "mxfp8_e5m2"),
            ("mxint8", "mxfp8_e4m3"), ("bitmod4", "fp4_er_neg"), ("bitmod4", "int4"),
            ("bitmod3", "int3"), ("nf4", "fp4"), ("nf4", "int4"), ("int2star", "int2"),
            ("posit8_es0", "fp8_e4m3"), ("bcq4", "bcq3"), ("bcq3", "bcq2"), ("bcq2", "ternary"),
            ("fp4", "pot4"), ("fp6_e2m3", "fp6_e3m2"), ("fp5_e2m2", "fp5_e3m1")]:
        assert found[better] > found[worse], (better, worse)
