"""A real decoder on real text: figures that other programs give too."""

import numpy as np
import pytest

from bitwright.models.assets.fetch import model_path
from bitwright.models.evaluation.subjects import Decoder
from bitwright.models.evaluation.variants import variant
from bitwright.models.inference.gguf_llama import GgufModel
from bitwright.models.inference.perplexity import make_integer_activations, perplexity
from bitwright.models.inference.reference_llama import KvCache, Llama


@pytest.fixture(scope="module")
def smollm2():
    return Decoder(model_path("smollm2") / "model.gguf",
                   model_path("lee-background") / "lee_background.cor", 4)


def test_sizes(smollm2):
    c = smollm2.config
    assert (c.layers, c.hidden, c.heads, c.kv_heads, c.head) == (30, 576, 9, 3, 64)
    assert (c.vocabulary, c.rope_base) == (49152, 100000)
    assert c.eps == pytest.approx(1e-5)
    assert len(smollm2.layers) == 210 and smollm2.layers["blk.29.ffn_down"].shape == (576, 1536)


def test_tokenizer_on_the_text():
    tokenizer = GgufModel(model_path("smollm2") / "model.gguf").tokenizer()
    text = (model_path("lee-background") / "lee_background.cor").read_text(encoding="utf-8")
    ids = tokenizer.encode(text)
    assert len(ids) == 75_678 and tokenizer.decode(ids) == text
    assert ids[:6] == [56, 3585, 99, 282, 701, 457]      # H und reds _of _people _have
    assert tokenizer.encode("<|im_start|>1066") == [1, 33, 32, 38, 38]


@pytest.mark.slow
def test_perplexity_as_shipped(smollm2):
    assert smollm2.windows.size - len(smollm2.windows) == 2_044
    llama = Llama(smollm2.config, smollm2.weights)
    assert perplexity(llama, smollm2.windows) == pytest.approx(30.885, abs=0.05)


@pytest.mark.slow
def test_perplexity_quantized(smollm2):
    first = smollm2.windows[:1]
    shipped = Llama(smollm2.config, smollm2.weights, make_integer_activations())
    assert perplexity(shipped, first) == pytest.approx(26.23, abs=0.1)     # 25.38 without
    coarse = {f"{name}.weight": variant("rtn4").dequantized(w)[0].astype(np.float32)
              for name, w in smollm2.layers.items()}
    assert perplexity(Llama(smollm2.config, smollm2.weights | coarse), first) == pytest.approx(
        40.157, rel=0.01)


def test_next_token_by_cache(smollm2):
    llama, cache = Llama(smollm2.config, smollm2.weights), KvCache(smollm2.config)
    ids = smollm2.windows[0, :24]
    steps = np.concatenate([llama(ids[:20], cache), *(llama(ids[i:i + 1], cache)
                                                      for i in range(20, 24))])
    np.testing.assert_allclose(steps, llama(ids), atol=2e-3)
