"""Whole models against the first implementations of two of them, and what all have in common."""

import dataclasses
import json

import networkx as nx
import numpy as np
import pytest
from safetensors.numpy import load_file

from bitwright.models.architectures.families import transformer
from bitwright.models.architectures.operators import LinearOperator
from bitwright.models.assets.fetch import model_path
from bitwright.models.assets.tokenizer import TextTokenizer
from bitwright.models.inference import reference_bert as bert
from bitwright.models.inference import reference_llama as llama
from bitwright.models.inference.arithmetic import FloatArithmetic
from bitwright.models.inference.network import Network
from bitwright.models.nonlinear.floating_point import FLOAT, FloatFunctions
from tests.models.inference import tiny_llama
from tests.models.inference.test_bert import CONFIG, random_weights

BERT = CONFIG | {"model_type": "bert"}
C = tiny_llama.CONFIG
GGUF = {"model_type": "llama", "hidden_size": C.hidden, "intermediate_size": 64,
        "num_hidden_layers": C.layers, "num_attention_heads": C.heads,
        "num_key_value_heads": C.kv_heads, "vocab_size": C.vocabulary,
        "max_position_embeddings": 20, "rms_norm_eps": C.eps, "rope_theta": C.rope_base,
        "tie_word_embeddings": True, "tensor_names": "gguf"}
HF = GGUF | {"tensor_names": None}
IDS = np.array([3, 0, 10, 7, 7, 1, 9, 2])
PARTS = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
         "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def hf_tensors(weights):
    """The same model as other checkpoints have it: halves of heads, not neighbours, are pairs."""
    found = {"model.embed_tokens.weight": weights["token_embd.weight"],
             "model.norm.weight": weights["output_norm.weight"]}
    for name, tensor in weights.items():
        if name.startswith("blk."):
            _, layer, part, _ = name.split(".")
            if part in ("attn_q", "attn_k"):
                heads = tensor.reshape(-1, C.head // 2, 2, C.hidden)
                tensor = heads.transpose(0, 2, 1, 3).reshape(tensor.shape)
            found[f"model.layers.{layer}.{PARTS[part]}.weight"] = tensor
    return found


def network(config, tensors, **more):
    return Network(transformer(config), config, tensors, **more)


@pytest.mark.parametrize("ids", [[3], [0, 29, 7, 7], list(range(9))])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_encoder_is_bert(ids, dtype):
    weights = random_weights(CONFIG)
    hidden = network(BERT, weights, dtype=dtype)(ids)
    assert hidden.dtype == dtype
    assert np.array_equal(hidden, bert.forward(ids, weights, CONFIG, dtype=dtype))


def test_minilm_is_bert():
    path = model_path("minilm")
    config, weights = json.loads((path / "config.json").read_text()), load_file(
        path / "model.safetensors")
    ids = TextTokenizer(path).encode("Low-bit weights look their products up in tables.")
    np.testing.assert_allclose(network(config, weights)(ids),
                               bert.forward(ids, weights, config), atol=1e-6, rtol=0)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_decoder_is_llama(tied, dtype, tolerance):
    weights = tiny_llama.tensors(tied=tied)
    logits = network(GGUF | {"tie_word_embeddings": tied}, weights, dtype=dtype)(IDS)
    assert logits.dtype == dtype and logits.shape == (8, 12)
    np.testing.assert_allclose(logits, llama.Llama(C, weights, dtype=dtype)(IDS), atol=tolerance,
                               rtol=0)


@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (4, 1), (1, 1)])
def test_head_groups(heads, kv_heads):
    sizes = dataclasses.replace(C, heads=heads, kv_heads=kv_heads)
    weights = tiny_llama.tensors(2, sizes)
    config = GGUF | {"num_attention_heads": heads, "num_key_value_heads": kv_heads,
                     "head_dim": C.head}
    np.testing.assert_allclose(network(config, weights, dtype=np.float64)(IDS),
                               llama.Llama(sizes, weights, dtype=np.float64)(IDS), atol=1e-12,
                               rtol=0)


def test_either_order_of_rotary_rows():
    weights = tiny_llama.tensors()
    np.testing.assert_allclose(network(HF, hf_tensors(weights), dtype=np.float64)(IDS),
                               network(GGUF, weights, dtype=np.float64)(IDS), atol=1e-12, rtol=0)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("cuts", [[1] * 8, [3, 1, 4], [7, 1]])
def test_cache_gives_the_logits_of_a_full_pass(cuts, window):
    model = network(GGUF | {"sliding_window": window}, tiny_llama.tensors(), dtype=np.float64)
    cache, parts, at = model.arithmetic.cache(), [], 0
    for cut in cuts:
        parts.append(model(IDS[at:at + cut], cache))
        at += cut
        assert cache.tokens == at
    np.testing.assert_allclose(np.concatenate(parts), model(IDS), atol=1e-12, rtol=0)


def test_later_tokens_do_not_matter_to_decoders_alone():
    decoder = network(GGUF, tiny_llama.tensors(), dtype=np.float64)
    np.testing.assert_allclose(decoder(IDS)[:5], decoder(IDS[:5]), atol=1e-12, rtol=0)
    encoder = network(BERT, random_weights(CONFIG))
    assert np.abs(encoder([1, 2, 3])[:2] - encoder([1, 2])).max() > 1e-2


def test_a_window_hides_what_is_before_it():
    near = network(GGUF | {"num_hidden_layers": 1, "sliding_window": 3}, tiny_llama.tensors(),
                   dtype=np.float64)
    changed = IDS.copy()
    changed[4] = 2
    before, after = near(IDS), near(changed)
    same = [bool(np.allclose(a, b, atol=1e-12, rtol=0)) for a, b in zip(before, after, strict=True)]
    assert same == [True] * 4 + [False] * 3 + [True]


def test_last_only():
    model = network(GGUF, tiny_llama.tensors(), dtype=np.float64)
    np.testing.assert_allclose(model(IDS, last_only=True), model(IDS)[-1:], atol=1e-12, rtol=0)


class Watched(FloatArithmetic):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.calls = []

    def linear(self, name, x):
        self.calls.append(name)
        return super().linear(name, x)


@pytest.mark.parametrize("config, weights", [(BERT, random_weights(CONFIG)),
                                             (GGUF, tiny_llama.tensors())])
def test_arithmetic_runs_every_layer_in_order(config, weights):
    model = transformer(config)
    arithmetic = Watched(model, weights)
    host = {name: tensor for name, tensor in weights.items()
            if name not in {linear.tensor for linear in model.linears()}
            or name == "token_embd.weight"}
    given = Network(model, config, host, arithmetic)(IDS)
    assert np.array_equal(given, network(config, weights)(IDS))
    assert arithmetic.calls == [linear.name for linear in model.linears()
                                if linear.role != "pooler"]


def test_functions_are_those_given():
    class Doubled(FloatFunctions):
        def activation(self, name, x):
            assert name == "silu"
            return 2 * FLOAT.activation(name, x)

    weights = tiny_llama.tensors()
    doubled = weights | {f"blk.{layer}.ffn_up.weight": 2 * weights[f"blk.{layer}.ffn_up.weight"]
                         for layer in range(2)}
    np.testing.assert_allclose(network(GGUF, weights, functions=Doubled())(IDS),
                               network(GGUF, doubled)(IDS), rtol=1e-4)


@pytest.mark.parametrize("config, weights", [(BERT, random_weights(CONFIG)),
                                             (GGUF, tiny_llama.tensors())])
def test_the_graph_is_in_order_of_execution(config, weights):
    graph = network(config, weights).graph
    seen = set()
    for name, op in graph.nodes(data="op"):
        assert name == op.name and set(op.inputs) == set(graph.predecessors(name)) <= seen
        seen.add(name)
    assert nx.is_directed_acyclic_graph(graph)
    assert [op.shape for _, op in graph.nodes(data="op") if isinstance(op, LinearOperator)] == [
        linear for linear in transformer(config).linears() if linear.role != "pooler"]


@pytest.mark.parametrize("config, weights, inputs, error, words", [
    (GGUF, tiny_llama.tensors(), [], ValueError, "one or more"),
    (GGUF, tiny_llama.tensors(), [[1]], ValueError, r"not of shape \(1, 1\)"),
    (GGUF, tiny_llama.tensors(), [12], ValueError, "within 0...11, not 12"),
    (GGUF, tiny_llama.tensors(), [0, -1], ValueError, "not -1"),
    (GGUF, tiny_llama.tensors(), [0.5], TypeError, "integers, not float64"),
    (GGUF, tiny_llama.tensors(), [1] * 21, ValueError, "at most 20.* not 21"),
])
def test_inputs_refused(config, weights, inputs, error, words):
    with pytest.raises(error, match=words):
        network(config, weights)(inputs)


def test_encoders_take_no_cache():
    model = network(BERT, random_weights(CONFIG))
    with pytest.raises(ValueError, match="takes no cache"):
        model([1], model.arithmetic.cache())


def test_a_cache_counts_towards_the_positions():
    model = network(GGUF, tiny_llama.tensors())
    cache = model.arithmetic.cache()
    model([1] * 20, cache)
    with pytest.raises(ValueError, match="at most 20.* not 21"):
        model([1], cache)


@pytest.mark.parametrize("name", ["blk.1.ffn_up.weight", "blk.0.attn_norm.weight",
                                  "token_embd.weight"])
def test_missing_tensor(name):
    weights = tiny_llama.tensors()
    del weights[name]
    with pytest.raises(ValueError, match=f"tensor {name} is missing"):
        network(GGUF, weights)


def test_misshapen_weight():
    weights = tiny_llama.tensors() | {"blk.1.ffn_up.weight": np.zeros((3, 4))}
    with pytest.raises(ValueError, match="blk.1.ffn_up.weight must be 64 x 32, not 3 x 4"):
        network(GGUF, weights)(IDS)


@pytest.mark.parametrize("config, change, words", [
    (HF, {"hidden_act": "gelu"}, "hidden_act must be 'silu'"),
    (HF, {"rms_norm_eps": 2.0}, "rms_norm_eps must be a number between 0 and 1, not 2.0"),
    (HF, {"rope_theta": "x"}, "rope_theta must be a number"),
    (HF, {"rope_scaling": {"type": "dynamic"}}, "type of rope_scaling must be .* not 'dynamic'"),
    (HF, {"sliding_window": 0}, "sliding_window must be a positive integer"),
    (HF, {"head_dim": 7}, "must be even, not 7"),
    (HF, {"tensor_names": "x"}, "tensor_names must be 'gguf' or .*, not 'x'"),
    (BERT, {"position_embedding_type": "relative_key"}, "must be 'absolute', not 'relative_key'"),
])
def test_variants_refused(config, change, words):
    with pytest.raises(ValueError, match=f"^config: .*{words}"):
        network(config | change, {})
