import math

import numpy as np
import pytest

from bitwright.models.inference.perplexity import (
    losses,
    make_integer_activations,
    perplexity,
    windows,
)
from bitwright.models.inference.reference_llama import Llama
from bitwright.models.quantization.rounding import quantize_activations
from tests.models.inference.tiny_llama import CONFIG, tensors


def test_uniform_decoder_has_the_vocabulary_for_perplexity():
    assert perplexity(lambda w: np.zeros((len(w), 50), np.float32),
                      windows(list(range(40)), 2, 20)) == pytest.approx(50)


def test_losses_by_hand():
    table = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]))
    window = np.array([0, 1, 2, 0])
    found = losses(lambda w: table[w] + 1000.0, window)   # a shift of logits does not matter
    np.testing.assert_allclose(found, -np.log([0.25, 0.7, 0.3]))
    both = perplexity(lambda w: table[w], [window, np.array([1, 1])])
    assert both == pytest.approx(math.exp(-np.log([0.25, 0.7, 0.3, 0.2]).mean()))


def test_tiny_model_token_by_token():
    llama, text = Llama(CONFIG, tensors(), dtype=np.float64), np.arange(24) * 7 % 11
    total = []
    for window in windows(text.tolist(), 2, 12):
        for t in range(1, 12):
            e = np.exp(llama(window[:t])[-1])
            total.append(-math.log(e[window[t]] / e.sum()))
    found = perplexity(llama, windows(text.tolist(), 2, 12))
    assert len(total) == 22 and found == pytest.approx(math.exp(math.fsum(total) / 22), rel=1e-10)


def test_windows():
    found = windows(range(25), 2, 12)
    assert found.tolist() == [list(range(12)), list(range(12, 24))]
    with pytest.raises(ValueError, match="must have 1024 tokens for 2 windows of 512, not 25"):
        windows(range(25), 2)
    with pytest.raises(ValueError, match="not 0 of 512"):
        windows([], 0)


@pytest.mark.parametrize("bits", [8, 4])
def test_integer_activations(bits):
    rng = np.random.default_rng(seed=3)
    x, w, bias = (rng.normal(size=s).astype(np.float32) for s in ((5, 16), (7, 16), 7))
    x[2] = 0
    codes, scale = quantize_activations(x, bits)
    expected = np.einsum("tk,nk->tn", codes * scale[:, None], w.astype(float))
    linear = make_integer_activations(bits)
    assert linear("", x, w, None).dtype == np.float32
    np.testing.assert_allclose(linear("", x, w, None), expected, atol=1e-4)
    np.testing.assert_allclose(linear("", x, w, bias), expected + bias, atol=1e-4)
