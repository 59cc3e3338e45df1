"""The encoder against a second evaluation in float64, head by head and element by element."""

import json
import math

import numpy as np
import pytest
from safetensors.numpy import load_file

from bitwright.models.assets.fetch import model_path
from bitwright.models.assets.tokenizer import TextTokenizer
from bitwright.models.inference.golden import mpgemm
from bitwright.models.inference.reference_bert import (
    float_linear,
    forward,
    linear_names,
    make_quantized_linear,
    sentence_embedding,
)
from bitwright.models.quantization.rounding import quantize_activations
from bitwright.models.quantization.rtn import quantize_weights

CONFIG = dict(hidden_size=12, num_attention_heads=3, num_hidden_layers=2, intermediate_size=20,
              max_position_embeddings=9, vocab_size=30, type_vocab_size=2, layer_norm_eps=1e-5,
              hidden_act="gelu")


def oracle(ids, weights, config):
    """Hidden states by the paper's formulas, float64 throughout."""
    get = {name: np.asarray(t, dtype=np.float64) for name, t in weights.items()}

    def norm(v, at):
        out = np.empty_like(v)
        for t, row in enumerate(v):
            mean = math.fsum(row) / len(row)
            var = math.fsum((row - mean) ** 2) / len(row)
            out[t] = (row - mean) / math.sqrt(var + config["layer_norm_eps"])
        return np.einsum("th,h->th", out, get[at + ".weight"]) + get[at + ".bias"]

    def dense(v, at):
        return np.einsum("tk,nk->tn", v, get[at + ".weight"], optimize=True) + get[at + ".bias"]

    h = np.stack([get["embeddings.word_embeddings.weight"][i]
                  + get["embeddings.position_embeddings.weight"][p]
                  + get["embeddings.token_type_embeddings.weight"][0] for p, i in enumerate(ids)])
    h = norm(h, "embeddings.LayerNorm")
    size = config["hidden_size"] // config["num_attention_heads"]
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}."
        q, k, v = (dense(h, f"{at}attention.self.{x}") for x in ("query", "key", "value"))
        mixed = np.zeros_like(h)
        for head in range(config["num_attention_heads"]):
            cut = slice(head * size, (head + 1) * size)
            for t in range(len(ids)):
                e = np.array([math.exp(float(np.dot(q[t, cut], k[u, cut])) / size ** 0.5)
                              for u in range(len(ids))])
                mixed[t, cut] = sum(p * v[u, cut] for u, p in enumerate(e / math.fsum(e)))
        h = norm(h + dense(mixed, at + "attention.output.dense"), at + "attention.output.LayerNorm")
        wide = dense(h, at + "intermediate.dense")
        wide = np.array([[x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in row] for row in wide])
        h = norm(h + dense(wide, at + "output.dense"), at + "output.LayerNorm")
    return h


def random_weights(config, seed=1):
    rng = np.random.default_rng(seed)
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    shapes = {"embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
              "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
              "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden)}
    norms = ["embeddings.LayerNorm"]
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}."
        for part, n, k in (("attention.self.query", hidden, hidden),
                           ("attention.self.key", hidden, hidden),
                           ("attention.self.value", hidden, hidden),
                           ("attention.output.dense", hidden, hidden),
                           ("intermediate.dense", wide, hidden), ("output.dense", hidden, wide)):
            shapes |= {f"{at}{part}.weight": (n, k), f"{at}{part}.bias": (n,)}
        norms += [at + "attention.output.LayerNorm", at + "output.LayerNorm"]
    for at in norms:
        shapes |= {f"{at}.weight": (hidden,), f"{at}.bias": (hidden,)}
    return {name: rng.normal(0.1, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("ids", [[3], [0, 29, 7, 7], list(range(9))])
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_tiny_encoder_matches_the_oracle(ids, dtype, tolerance):
    weights = random_weights(CONFIG)
    hidden = forward(ids, weights, CONFIG, dtype=dtype)
    assert hidden.dtype == dtype and hidden.shape == (len(ids), 12)
    np.testing.assert_allclose(hidden, oracle(ids, weights, CONFIG), atol=tolerance, rtol=0)


def test_linear_sees_every_layer_in_order_and_capture_its_input():
    weights, capture, calls = random_weights(CONFIG), {}, []

    def linear(name, x, weight, bias):
        assert weight is weights[f"{name}.weight"] and bias is weights[f"{name}.bias"]
        calls.append((name, x.copy()))
        return float_linear(name, x, weight, bias)

    hidden = forward([1, 2, 3], weights, CONFIG, linear=linear, capture=capture)
    assert np.array_equal(hidden, forward([1, 2, 3], weights, CONFIG))
    assert [name for name, _ in calls] == linear_names(CONFIG) == list(capture)
    assert len(calls) == 12
    for name, x in calls:
        assert np.array_equal(capture[name], x)
        assert x.shape == (3, weights[f"{name}.weight"].shape[1])
    query, key = "encoder.layer.0.attention.self.query", "encoder.layer.0.attention.self.key"
    assert np.array_equal(capture[query], capture[key])


def test_quantized_linear_is_the_golden_model():
    weights = random_weights(CONFIG)
    name = "encoder.layer.1.output.dense"
    w, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    qm = quantize_weights(w, "int4", 8, asymmetric=True)
    linear = make_quantized_linear({name: qm}, act_bits=6)
    x = np.random.default_rng(seed=2).normal(size=(5, 20)).astype(np.float32)
    a, sx = quantize_activations(x, 6)
    expected = (sx[:, None] * qm.channel_scale) * mpgemm(a, qm) + bias.astype(np.float64)
    out = linear(name, x, w, bias)
    assert out.dtype == np.float32 and np.array_equal(out, expected.astype(np.float32))
    other = "encoder.layer.0.output.dense"
    assert np.array_equal(linear(other, x, w, bias), float_linear(other, x, w, bias))
    with pytest.raises(ValueError, match=r"must be \(12, 19\), not \(12, 20\)"):
        linear(name, x[:, :19], w[:, :19], bias)


def test_encoder_with_8_bit_weights_and_activations_stays_close():
    weights = random_weights(CONFIG)
    matrices = {name: quantize_weights(weights[f"{name}.weight"], "int8")
                for name in linear_names(CONFIG)}
    exact = forward(range(9), weights, CONFIG)
    quantized = forward(range(9), weights, CONFIG, linear=make_quantized_linear(matrices))
    assert 0 < np.abs(quantized - exact).max() < 0.1 * np.abs(exact).max()


def test_sentence_embedding_by_hand():
    embedding = sentence_embedding(np.array([[1.0, 2.0], [5.0, 6.0]], dtype=np.float32))
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, [0.6, 0.8], rtol=1e-6)
    assert sentence_embedding(np.zeros((2, 3))).tolist() == [0, 0, 0]


@pytest.mark.parametrize("ids, change, error, message", [
    ([], {}, ValueError, "must be 1 to 9 tokens"),
    (list(range(10)), {}, ValueError, r"must be 1 to 9 tokens, not \(10,\)"),
    ([[1]], {}, ValueError, "must be 1 to 9 tokens"),
    ([30], {}, ValueError, "must be below vocab_size 30, not 30"),
    ([0, -1], {}, ValueError, "not -1"),
    ([0.5], {}, TypeError, "must be integers, not float64"),
    ([1], dict(hidden_act="relu"), ValueError, "hidden_act must be 'gelu', not 'relu'"),
    ([1], dict(position_embedding_type="relative_key"), ValueError, "must be 'absolute'"),
    ([1], dict(num_attention_heads=5), ValueError, "must divide hidden_size 12, not 5"),
    ([1], dict(num_hidden_layers=3), ValueError, "'encoder.layer.2.attention.self.query.weight'"),
])
def test_refusals(ids, change, error, message):
    with pytest.raises(error, match=message):
        forward(ids, random_weights(CONFIG), {**CONFIG, **change})


@pytest.fixture(scope="module")
def minilm():
    path = model_path("minilm")
    return (load_file(path / "model.safetensors"), json.loads((path / "config.json").read_text()),
            TextTokenizer(path))


def test_minilm_matches_the_oracle(minilm):
    weights, config, tokenizer = minilm
    ids = tokenizer.encode("Low-bit weights look their products up in tables.")
    expected = oracle(ids, weights, config)
    assert np.abs(forward(ids, weights, config) - expected).max() < 1e-4
    assert np.abs(forward(ids, weights, config, dtype=np.float64) - expected).max() < 1e-10


def test_minilm_knows_what_is_alike(minilm):
    weights, config, tokenizer = minilm
    texts = ["A cat sits on the mat.", "A kitten is sitting on a rug.", "Interest rates rose."]
    cat, kitten, rates = (sentence_embedding(forward(tokenizer.encode(t), weights, config))
                          for t in texts)
    assert cat @ kitten > 0.5 > 0.2 > cat @ rates
    assert np.linalg.norm(cat) == pytest.approx(1, abs=1e-6)


# INT8 activations cost this model more than INT8 weights do: a token's greatest entry is up to
# forty times the standard deviation. Measured: 0.9998, 0.997, 0.953.
@pytest.mark.parametrize("name, act_bits, similarity", [("int8", 16, 0.9995), ("int8", 8, 0.995),
                                                        ("int4", 8, 0.93)])
def test_minilm_quantized(minilm, name, act_bits, similarity):
    weights, config, tokenizer = minilm
    ids = tokenizer.encode("The quick brown fox jumps over the lazy dog.")
    matrices = {layer: quantize_weights(weights[f"{layer}.weight"], name, 64)
                for layer in linear_names(config)}
    exact = sentence_embedding(forward(ids, weights, config))
    linear = make_quantized_linear(matrices, act_bits)
    quantized = sentence_embedding(forward(ids, weights, config, linear=linear))
    assert similarity < exact @ quantized < 0.99999
