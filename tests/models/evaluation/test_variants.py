import numpy as np
import pytest

from bitwright.models.evaluation.variants import Variant, bits_per_weight, textbook, variant
from bitwright.models.quantization.schemes import quantize

W = np.random.default_rng(seed=5).laplace(size=(6, 256))


@pytest.mark.parametrize("text, size, expected", [
    ("int4", None, Variant("int4", 64)), ("int4", 0, Variant("int4", 0)),
    ("int4:asym", 32, Variant("int4", 32, asymmetric=True)),
    ("fp4:clip", None, Variant("fp4", 64, clip_search=True)),
    ("bitmod4", None, Variant("bitmod4", 128)), ("mxfp4", None, Variant("mxfp4", 32)),
    ("rtn5", None, Variant("rtn5", 64)),
])
def test_names(text, size, expected):
    found = variant(text, size)
    assert found == expected and found.label == text


@pytest.mark.parametrize("text, size, message", [
    ("int9", None, "must be one of int1"), ("int4:wide", None, "must be asym or clip, not 'wide'"),
    ("fp4:asym", None, "needs int2...int8, not fp4"), ("rtn4:clip", None, "rtn4 has no options"),
    ("mxfp4", 64, "group size of mxfp4 must be 32"),
])
def test_names_refused(text, size, message):
    with pytest.raises(ValueError, match=message):
        variant(text, size)


@pytest.mark.parametrize("text, size, bits", [
    ("int4", 64, 4 + 8 / 64 + 32 / 256), ("int4", 0, 4 + 32 / 256),
    ("int3:asym", 64, 3 + 24 / 64 + 32 / 256), ("bitmod4", 128, 4 + 10 / 128 + 32 / 256),
    ("mxfp4", None, 4 + 8 / 32 + 32 / 6 / 256), ("nvfp4", None, 4 + 8 / 16 + 32 / 6 / 256),
    ("bcq3", 128, 3 + (8 + 12) / 128 + 32 / 256), ("rtn4", 64, 4 + 32 / 64),
    ("int4_o8", 16, 4 * 17 / 16 + 8 * 17 / 256 + 32 / 256),   # one group of 16 stands twice
])
def test_bits_per_weight(text, size, bits):
    values, found = variant(text, size).dequantized(W)
    assert values.shape == W.shape and found == pytest.approx(bits)


def test_padding_is_not_counted():
    found = quantize(W[:, :200], "int4", 128)
    assert bits_per_weight(found, "int4") == pytest.approx(4 + (2 * 8 + 32) / 200)


def test_dequantized_is_the_quantizer():
    for text, options in (("int4", {}), ("int4:asym", dict(asymmetric=True)),
                          ("int4:clip", dict(clip_search=True))):
        expected = quantize(W, "int4", 32, **options).dequantize()
        assert np.array_equal(variant(text, 32).dequantized(W)[0], expected)


@pytest.mark.parametrize("bits, size", [(2, 64), (4, 48), (8, 0)])
def test_textbook_by_hand(bits, size):
    top, found = 2 ** (bits - 1) - 1, textbook(W, bits, size)
    step = size or 256
    for row, out in zip(W, found, strict=True):
        for start in range(0, 256, step):
            group = row[start:start + step]
            scale = np.abs(group).max() / top
            assert np.allclose(out[start:start + step], [round(x / scale) * scale for x in group])
    assert not textbook(np.zeros((2, 8)), 4, 4).any()
