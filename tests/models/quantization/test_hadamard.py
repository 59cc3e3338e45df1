"""Hadamard matrices by their definition; rotated networks against plain ones."""

import numpy as np
import pytest

from bitwright.models.architectures.families import transformer
from bitwright.models.evaluation.activation_study import WatchedArithmetic, label, rounded
from bitwright.models.inference.arithmetic import FloatArithmetic
from bitwright.models.inference.network import Network
from bitwright.models.inference.rotated_arithmetic import RotatedArithmetic, rotated_tensors
from bitwright.models.nonlinear.integer import INTEGER
from bitwright.models.quantization.hadamard import (
    base_order,
    hadamard,
    rotate,
    rotate_weight,
    signs,
)
from bitwright.models.quantization.rounding import quantize_activations

ORDERS = {1: 1, 2: 1, 4: 1, 256: 1, 12: 12, 24: 12, 384: 12, 768: 12, 1536: 12, 20: 20, 40: 20,
          28: 28, 896: 28, 36: 36, 576: 36, 44: 44, 52: None, 60: 60, 68: 68, 76: 76, 84: 84,
          92: None, 108: 108, 124: 124, 140: 140, 148: 148}


@pytest.mark.parametrize("n", [n for n, m in ORDERS.items() if m])
def test_rows_are_orthogonal(n):
    h = hadamard(n).astype(np.float64)
    assert base_order(n) == ORDERS[n]
    assert h.shape == (n, n) and (np.abs(h) == 1).all()
    assert np.array_equal(h @ h.T, n * np.eye(n))


@pytest.mark.parametrize("n", [0, -4, 3, 18, 52, 92, 11008])
def test_orders_that_are_not_known(n):
    with pytest.raises(ValueError, match=f"no Hadamard matrix of order {n} is known here"):
        base_order(n)


@pytest.mark.parametrize("n", [1, 2, 12, 64, 384, 576, 896])
def test_fast_transform_is_the_matrix(n):
    x = np.random.default_rng(seed=1).normal(size=(2, 3, n))
    q = signs(n)[:, None] * hadamard(n) / np.sqrt(n)
    np.testing.assert_allclose(rotate(x), x @ q, atol=1e-12)
    np.testing.assert_allclose(rotate_weight(x[0]), x[0] @ q, atol=1e-12)
    single = rotate(x.astype(np.float32))
    assert single.dtype == np.float32 and rotate_weight(single[0]).dtype == np.float32
    np.testing.assert_allclose(single, x @ q, atol=1e-5)


def test_a_common_mean_is_spread_evenly():
    """The signs: 1, -1 for every pair of neighbouring ones."""
    assert signs(16).tolist() == [(-1) ** sum(a == b == "1" for a, b in zip(
        f"{k:b}", f"{k:b}"[1:], strict=False)) for k in range(16)]
    np.testing.assert_allclose(np.abs(rotate(np.ones((1, 256)))), 1.0)
    for n in (384, 576, 1536):
        assert np.abs(rotate(np.ones((1, n)))).max() < 5


def test_an_outlier_is_spread_evenly():
    x = np.zeros((1, 576))
    x[0, 100] = 24.0
    np.testing.assert_allclose(np.abs(rotate(x)), 1.0)


CONFIG = {"model_type": "gpt2", "n_embd": 24, "n_head": 2, "n_layer": 2, "n_positions": 16,
          "vocab_size": 30}
LLAMA = {"model_type": "llama", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 30,
         "max_position_embeddings": 16, "rms_norm_eps": 1e-5, "hidden_act": "silu",
         "tie_word_embeddings": True}


def tiny(config):
    rng = np.random.default_rng(seed=2)
    model = transformer(config)

    class Tensors(dict):
        def __contains__(self, name):
            return True

        def __missing__(self, name):
            sizes = {linear.tensor: (linear.k, linear.n) if linear.transposed
                     else (linear.n, linear.k) for linear in model.linears()}
            sizes |= {linear.bias_tensor: (linear.n,) for linear in model.linears()}
            shape = sizes.get(name, (30, 24) if name == model.names.token_table else
                              (16, 24) if "wpe" in name else (24,))
            self[name] = rng.normal(size=shape) * 0.4
            return self[name]

    return model, Tensors()


@pytest.mark.parametrize("config", [CONFIG, LLAMA], ids=["gpt2", "llama"])
def test_rotated_network_gives_the_same(config):
    """GPT-2 stores its weights transposed."""
    model, tensors = tiny(config)
    ids = np.array([3, 1, 4, 1, 5])
    plain = Network(model, config, tensors, dtype=np.float64)(ids)
    linears = [linear for linear in model.linears() if linear.role != "lm_head"]
    turned = dict(tensors) | rotated_tensors(linears, tensors)
    names, seen = {linear.name for linear in linears}, []
    inner = WatchedArithmetic(FloatArithmetic(model, turned), names,
                              lambda name, x: (seen.append(name), x)[1])
    found = Network(model, config, tensors, RotatedArithmetic(inner, names),
                    dtype=np.float64)(ids)
    np.testing.assert_allclose(found, plain, atol=1e-9)
    assert sorted(seen) == sorted(names)
    assert not np.allclose(Network(model, config, tensors, RotatedArithmetic(
        FloatArithmetic(model, turned), ()), dtype=np.float64)(ids), plain, atol=1e-3)


def test_integer_functions_in_a_network():
    for config in (CONFIG, LLAMA):
        model, tensors = tiny(config)
        ids = np.arange(16) % 7
        exact = Network(model, config, tensors, dtype=np.float64)(ids)
        found = Network(model, config, tensors, functions=INTEGER, dtype=np.float64)(ids)
        noise = np.square(found - exact).sum() / np.square(exact).sum()
        assert 0 < noise < 1e-6


def test_rounded_activations():
    x = np.random.default_rng(seed=3).normal(size=(4, 8)).astype(np.float32)
    codes, scale = quantize_activations(x, 4)
    y = rounded(x, 4)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, codes * scale[:, None], rtol=1e-6)
    assert label({"act_bits": 4, "rotated": True}) == "weights float, activations int4, rotated"
    assert label({"functions": INTEGER}) == "weights float, activations float, functions int16"
