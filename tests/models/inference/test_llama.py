"""The decoder against a second evaluation in float64, token by token and head by head."""

import dataclasses
import math

import numpy as np
import pytest

from bitwright.models.inference.reference_bert import float_linear
from bitwright.models.inference.reference_llama import KvCache, Llama, LlamaConfig, rotate
from tests.models.inference.tiny_llama import CONFIG, tensors

IDS = np.array([3, 0, 10, 7, 7, 1, 9, 2])


def oracle(ids, weights, config):
    """Logits by the published formulas, float64, with complex numbers for rotary positions."""
    get = {name: np.asarray(t, dtype=np.float64) for name, t in weights.items()}
    size, per_key = config.head, config.heads // config.kv_heads

    def norm(v, at):
        return np.array([row / math.sqrt(math.fsum(row ** 2) / len(row) + config.eps)
                         for row in v]) * get[at + ".weight"]

    def dense(v, at):
        return np.einsum("tk,nk->tn", v, get[at + ".weight"])

    def turn(vector, position):
        out = np.empty(size)
        for i in range(size // 2):
            z = complex(vector[2 * i], vector[2 * i + 1])
            z *= np.exp(1j * position * config.rope_base ** (-2 * i / size))
            out[2 * i], out[2 * i + 1] = z.real, z.imag
        return out

    h = np.array([get["token_embd.weight"][i] for i in ids])
    for layer in range(config.layers):
        at = f"blk.{layer}."
        x = norm(h, at + "attn_norm")
        q, k, v = (dense(x, f"{at}attn_{part}") for part in "qkv")
        mixed = np.zeros_like(q)
        for head in range(config.heads):
            cut = slice(head * size, (head + 1) * size)
            shared = head // per_key
            key_cut = slice(shared * size, (shared + 1) * size)
            for t in range(len(ids)):
                e = np.array([math.exp(turn(q[t, cut], t) @ turn(k[u, key_cut], u) / size ** 0.5)
                              for u in range(t + 1)])
                mixed[t, cut] = sum(p * v[u, key_cut] for u, p in enumerate(e / math.fsum(e)))
        h = h + dense(mixed, at + "attn_output")
        x = norm(h, at + "ffn_norm")
        gate = dense(x, at + "ffn_gate")
        h = h + dense(gate / (1 + np.exp(-gate)) * dense(x, at + "ffn_up"), at + "ffn_down")
    head = "output" if "output.weight" in weights else "token_embd"
    return dense(norm(h, "output_norm"), head)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-11), (np.float32, 1e-3)])
def test_matches_the_oracle(tied, dtype, tolerance):
    weights = tensors(tied=tied)
    logits = Llama(CONFIG, weights, dtype=dtype)(IDS)
    assert logits.dtype == dtype and logits.shape == (8, 12)
    np.testing.assert_allclose(logits, oracle(IDS, weights, CONFIG), atol=tolerance, rtol=0)


@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (4, 1), (1, 1)])
def test_head_groups(heads, kv_heads):
    config = dataclasses.replace(CONFIG, heads=heads, kv_heads=kv_heads)
    weights = tensors(2, config)
    np.testing.assert_allclose(Llama(config, weights, dtype=np.float64)(IDS),
                               oracle(IDS, weights, config), atol=1e-11, rtol=0)


@pytest.mark.parametrize("cuts", [[1] * 8, [3, 1, 4], [7, 1]])
def test_cache_gives_the_logits_of_a_full_pass(cuts):
    llama = Llama(CONFIG, tensors(), dtype=np.float64)
    cache, parts, at = KvCache(CONFIG, np.float64), [], 0
    for cut in cuts:
        parts.append(llama(IDS[at:at + cut], cache))
        at += cut
        assert cache.tokens == at
    np.testing.assert_allclose(np.concatenate(parts), llama(IDS), atol=1e-11, rtol=0)


def test_later_tokens_do_not_matter():
    llama = Llama(CONFIG, tensors(), dtype=np.float64)
    np.testing.assert_allclose(llama(IDS)[:5], llama(IDS[:5]), atol=1e-12, rtol=0)


def test_rotate_by_hand():
    x = np.array([[[1.0, 0.0, 0.0, 2.0]]] * 3)
    turned = rotate(x, np.array([0, 1, 5]), 100.0)
    for t, position in enumerate((0, 1, 5)):
        slow = position / 10  # 100 ** (-2 / 4)
        np.testing.assert_allclose(
            turned[t, 0], [math.cos(position), math.sin(position), -2 * math.sin(slow),
                           2 * math.cos(slow)], atol=1e-15)


def test_linear_sees_every_layer_in_order():
    weights, calls = tensors(), []

    def linear(name, x, weight, bias):
        tensor = "token_embd.weight" if name == "output" else f"{name}.weight"
        assert weight is weights[tensor] and bias is None
        calls.append(name)
        return float_linear(name, x, weight, bias)

    logits = Llama(CONFIG, weights, linear)(IDS)
    assert np.array_equal(logits, Llama(CONFIG, weights)(IDS))
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    assert calls == [f"blk.{i}.{part}" for i in range(2) for part in parts] + ["output"]


def test_gates_far_out_do_not_overflow():
    weights = tensors()
    weights["blk.0.ffn_gate.weight"] = weights["blk.0.ffn_gate.weight"] * 1e4
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(Llama(CONFIG, weights)(IDS)).all()


@pytest.mark.parametrize("ids, message", [
    ([], "tokens must be one or more"), ([[1]], r"not of shape \(1, 1\)"),
    ([12], "within 0...11, not 12...12"), ([0, -1], "not -1...0"),
])
def test_tokens_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        Llama(CONFIG, tensors())(np.array(ids, dtype=int))


def test_missing_tensor():
    weights = tensors()
    del weights["blk.1.ffn_up.weight"]
    with pytest.raises(ValueError, match="blk.1.ffn_up.weight is missing: 2 layers need 20"):
        Llama(CONFIG, weights)


@pytest.mark.parametrize("change, message", [
    (dict(layers=0), "layers must be positive, not 0"),
    (dict(kv_heads=3), "multiple of the 3 key heads, not 4"), (dict(head=7), "even .* not 7"),
])
def test_config_refused(change, message):
    with pytest.raises(ValueError, match=message):
        LlamaConfig(**dataclasses.asdict(CONFIG) | change)
