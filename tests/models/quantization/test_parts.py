"""Matrices some channels at a time: the numbers and the errors are those of the whole."""

import numpy as np
import pytest

from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES
from bitwright.models.inference.golden import accumulator_bound
from bitwright.models.quantization import quantized_matrix as matrix
from bitwright.models.quantization.groups import ScaleUnderflow
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.models.quantization.schemes import SCHEMES, quantize
from tests.models.quantization.test_schemes import same

W = np.random.default_rng(seed=3).normal(size=(21, 300)).astype(np.float32)


@pytest.fixture
def few(monkeypatch):
    """Four channels of 300 at a time."""
    monkeypatch.setattr(matrix, "PART", 1300)


@pytest.mark.parametrize("name", dict.fromkeys((*DATATYPES, *MIXTURES, *SCHEMES)))
def test_same_as_the_whole(name, few, monkeypatch):
    parts = quantize(W, name)
    bounds, quality = accumulator_bound(parts), parts.sqnr_db(W)
    joined = QuantizedMatrix.join([part for _, part in parts.parts()])
    assert len([*parts.parts()]) >= 6
    assert parts.sqnr_db(W.__getitem__) == quality
    monkeypatch.undo()
    whole = quantize(W, name)
    same(parts, whole)
    same(joined, whole)
    assert (bounds == accumulator_bound(whole)).all()
    assert quality == pytest.approx(whole.sqnr_db(W), abs=1e-9)


def test_asymmetric(few, monkeypatch):
    parts = quantize(W, "int4", 16, asymmetric=True, clip_search=True)
    bounds = accumulator_bound(parts)
    monkeypatch.undo()
    whole = quantize(W, "int4", 16, asymmetric=True, clip_search=True)
    same(parts, whole)
    assert (bounds == accumulator_bound(whole)).all()


@pytest.mark.parametrize("name", ["int4", "nvfp4"])
def test_errors_name_the_channel_of_the_whole(name, few):
    bad = W.copy()
    bad[17, 5] = np.nan
    with pytest.raises(ValueError, match=r"weights at \[17, 5\] must be finite"):
        quantize(bad, name)


def test_underflow_is_counted_over_all_parts(few):
    lost = W.copy()
    lost[[6, 7, 19], 32:64] *= 1e-8
    with pytest.raises(ScaleUnderflow) as caught:
        quantize(lost, "mxfp4")
    assert (caught.value.channel, caught.value.group, caught.value.count) == (6, 1, 3)
    assert "scale of channel 6, group 1 " in str(caught.value)
