import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint, read_config
from bitwright.compiler.checkpoints.tensor_inventory import architecture
from bitwright.models.assets.fetch import model_path
from bitwright.models.file_formats.mapped_file import CheckpointError

BERT = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": 11, "hidden_size": 6,
        "intermediate_size": 10, "num_hidden_layers": 2, "num_attention_heads": 3,
        "max_position_embeddings": 7, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu"}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 11,
         "hidden_size": 8, "intermediate_size": 10, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 7,
         "rms_norm_eps": 1e-5, "hidden_act": "silu"}


def bert_shapes(h=6, f=10):
    """Every tensor of BERT, written out on its own; the pooler is left out."""
    shapes = {"embeddings.word_embeddings.weight": (11, h),
              "embeddings.position_embeddings.weight": (7, h),
              "embeddings.token_type_embeddings.weight": (2, h),
              "embeddings.LayerNorm.weight": (h,), "embeddings.LayerNorm.bias": (h,)}
    for layer in "01":
        for name, shape in {
                "attention.self.query.weight": (h, h), "attention.self.query.bias": (h,),
                "attention.self.key.weight": (h, h), "attention.self.key.bias": (h,),
                "attention.self.value.weight": (h, h), "attention.self.value.bias": (h,),
                "attention.output.dense.weight": (h, h), "attention.output.dense.bias": (h,),
                "attention.output.LayerNorm.weight": (h,), "attention.output.LayerNorm.bias": (h,),
                "intermediate.dense.weight": (f, h), "intermediate.dense.bias": (f,),
                "output.dense.weight": (h, f), "output.dense.bias": (h,),
                "output.LayerNorm.weight": (h,), "output.LayerNorm.bias": (h,)}.items():
            shapes[f"encoder.layer.{layer}.{name}"] = shape
    return shapes


def llama_shapes(h=8, f=10, kv=4):
    shapes = {"model.embed_tokens.weight": (11, h), "model.norm.weight": (h,),
              "lm_head.weight": (11, h)}
    for layer in "01":
        for name, shape in {
                "input_layernorm": (h,), "post_attention_layernorm": (h,),
                "self_attn.q_proj": (h, h), "self_attn.k_proj": (kv, h),
                "self_attn.v_proj": (kv, h), "self_attn.o_proj": (h, h),
                "mlp.gate_proj": (f, h), "mlp.up_proj": (f, h),
                "mlp.down_proj": (h, f)}.items():
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    return shapes


@pytest.fixture
def save(tmp_path):
    """Write a checkpoint of those shapes and its config; returns the folder and the arrays."""
    def write(shapes, config):
        rng = np.random.default_rng(seed=1)
        arrays = {name: shape if isinstance(shape, np.ndarray)
                  else rng.standard_normal(shape).astype(np.float32)
                  for name, shape in shapes.items()}
        save_file(arrays, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path, arrays
    return write


@pytest.fixture
def refuses(save):
    def check(shapes, config, *words):
        folder, _ = save(shapes, config)
        with pytest.raises(CheckpointError) as caught:
            open_checkpoint(folder)
        for word in words:
            assert word in str(caught.value)
        assert "\n" not in str(caught.value)
    return check


@pytest.mark.parametrize("config, shapes", [(BERT, bert_shapes()), (LLAMA, llama_shapes())],
                         ids=["bert", "llama"])
def test_every_tensor_is_named(config, shapes, save):
    assert architecture(config).shapes == shapes
    folder, arrays = save(shapes, config)
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.architecture == config["model_type"]
        assert checkpoint.unused == ()
        read = checkpoint.tensors()
        assert set(read) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)
        for linear in checkpoint.linears:
            assert checkpoint.weight(linear).shape == (linear.n, linear.k)
            bias = checkpoint.bias(linear)
            assert (bias is None) == (config is LLAMA)
        with pytest.raises(KeyError):
            checkpoint.read("absent")


def test_order_and_roles():
    found = architecture(BERT).linears
    assert [linear.role for linear in found[:6]] == ["query", "key", "value", "attention_output",
                                                    "ffn_up", "ffn_down"]
    assert len(found) == 12
    assert found[7].name == "encoder.layer.1.attention.self.key"
    found = architecture(LLAMA).linears
    assert [linear.name.removeprefix("model.layers.0.") for linear in found[:7]] == [
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    assert (found[-1].name, found[-1].tensor) == ("lm_head", "lm_head.weight")


def test_pooler_is_optional(save, refuses):
    whole = bert_shapes() | {"pooler.dense.weight": (6, 6), "pooler.dense.bias": (6,)}
    folder, _ = save(whole, BERT)
    with open_checkpoint(folder / "model.safetensors") as checkpoint:
        assert checkpoint.linears[-1].role == "pooler"
    del whole["pooler.dense.bias"]
    refuses(whole, BERT, "'pooler.dense.bias'", "missing")


def test_prefix_head_and_buffers(save):
    shapes = {f"bert.{name}": shape for name, shape in bert_shapes().items()}
    shapes |= {"bert.embeddings.position_ids": np.arange(7)[None], "classifier.weight": (2, 6),
               "classifier.bias": (2,)}
    folder, arrays = save(shapes, BERT | {"architectures": ["BertForSequenceClassification"]})
    with open_checkpoint(folder) as checkpoint:
        assert set(checkpoint.unused) == {"embeddings.position_ids", "classifier.weight",
                                          "classifier.bias"}
        name = "embeddings.LayerNorm.bias"
        np.testing.assert_array_equal(checkpoint.read(name), arrays[f"bert.{name}"])


@pytest.mark.parametrize("stored_twice", [False, True])
def test_tied_lm_head(save, stored_twice):
    shapes = llama_shapes()
    if not stored_twice:
        del shapes["lm_head.weight"]
    shapes["model.layers.0.self_attn.rotary_emb.inv_freq"] = (1,)
    folder, arrays = save(shapes, LLAMA | {"tie_word_embeddings": True})
    with open_checkpoint(folder) as checkpoint:
        head = checkpoint.linears[-1]
        assert (head.name, head.tensor, head.n, head.k) == ("lm_head", "model.embed_tokens.weight",
                                                            11, 8)
        np.testing.assert_array_equal(checkpoint.weight(head), arrays[head.tensor])
        assert ("lm_head.weight" in checkpoint.unused) == stored_twice


def test_llama_options():
    found = architecture(LLAMA | {"head_dim": 16, "attention_bias": True, "mlp_bias": True})
    assert found.shapes["model.layers.1.self_attn.k_proj.weight"] == (32, 8)
    assert found.shapes["model.layers.1.self_attn.o_proj.weight"] == (8, 64)
    assert found.shapes["model.layers.1.self_attn.k_proj.bias"] == (32,)
    assert found.shapes["model.layers.1.mlp.down_proj.bias"] == (8,)
    without = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    assert architecture(without).shapes["model.layers.0.self_attn.v_proj.weight"] == (8, 8)


@pytest.mark.parametrize("shapes, config", [(bert_shapes(), BERT), (llama_shapes(), LLAMA)],
                         ids=["bert", "llama"])
def test_missing_unknown_misshapen(shapes, config, refuses):
    for name, shape in shapes.items():
        rest = {other: s for other, s in shapes.items() if other != name}
        refuses(rest, config, repr(name), "missing", str(list(shape)))
        wrong = (*shape[:-1], shape[-1] + 1)
        refuses(rest | {name: wrong}, config, repr(name), str(list(shape)), str(list(wrong)))
    name = list(shapes)[-1]
    refuses(shapes | {name + "t": (3,)}, config, repr(name + "t"), "unknown", repr(name))


def test_more_layers_than_configured(refuses):
    refuses(bert_shapes(), BERT | {"num_hidden_layers": 1}, "encoder.layer.1.", "unknown")
    refuses(bert_shapes(), BERT | {"num_hidden_layers": 3}, "encoder.layer.2.", "missing")


def test_quantized_tensor(refuses):
    name = "encoder.layer.0.output.dense.weight"
    refuses(bert_shapes() | {name: np.zeros((6, 10), np.int8)}, BERT,
            f"dtype I8 of tensor {name!r} is not read")


def test_name_with_and_without_prefix(refuses):
    name = "embeddings.LayerNorm.bias"
    refuses(bert_shapes() | {f"bert.{name}": (6,)}, BERT, repr(name), repr(f"bert.{name}"))


@pytest.mark.parametrize("change, words", [
    ({"architectures": ["GPT2LMHeadModel"]}, ["GPT2LMHeadModel", "'gpt2'", "'bert'"]),
    ({"architectures": ["T5Model"]}, ["T5Model", "bert", "llama", "mixtral"]),
    ({"architectures": None, "model_type": "t5"}, ["t5", "bert", "llama"]),
    ({"architectures": None, "model_type": None}, ["without architectures", "llama"]),
    ({"architectures": []}, ["architectures"]), ({"architectures": "BertModel"}, ["architectures"]),
    ({"architectures": [[]]}, ["architectures"]), ({"model_type": []}, ["model_type"]),
    ({"model_type": "llama"}, ["model_type", "'bert'", "'llama'"]),
    ({"hidden_act": "relu"}, ["hidden_act", "'gelu'", "'relu'"]),
    ({"hidden_act": 3}, ["hidden_act"]),
    ({"position_embedding_type": "relative_key"}, ["position_embedding_type"]),
    ({"num_attention_heads": 4}, ["num_attention_heads", "hidden_size", "6", "4"]),
    ({"layer_norm_eps": 0.0}, ["layer_norm_eps", "0.0"]),
    ({"layer_norm_eps": "x"}, ["layer_norm_eps"]), ({"layer_norm_eps": None}, ["layer_norm_eps"]),
])
def test_config_of_bert(change, words, refuses):
    refuses(bert_shapes(), BERT | change, "config", *words)


@pytest.mark.parametrize("config, key", [(config, key) for config in (BERT, LLAMA)
                                         for key, value in config.items() if type(value) is int])
def test_sizes_are_positive_integers(config, key):
    for value in (0, -1, True, 2.0, "2", [2], 2**40, 10**5000):
        with pytest.raises(CheckpointError, match=f"config: {key} must be an integer from 1"):
            architecture(config | {key: value})
    without = {other: value for other, value in config.items() if other != key}
    if key != "num_key_value_heads":
        with pytest.raises(CheckpointError, match=f"config: {key} is missing"):
            architecture(without)


@pytest.mark.parametrize("change, word", [
    ({"num_key_value_heads": 3}, "num_key_value_heads"), ({"num_attention_heads": 6}, "divide"),
    ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"), ({"attention_bias": 1}, "bias"),
    ({"mlp_bias": 1}, "mlp_bias"), ({"rms_norm_eps": 1.5}, "rms_norm_eps"),
    ({"head_dim": 0}, "head_dim"), ({"hidden_act": "gelu"}, "silu"),
])
def test_config_of_llama(change, word):
    with pytest.raises(CheckpointError, match=word):
        architecture(LLAMA | change)


@pytest.mark.parametrize("raw, word", [
    (b"", "not JSON"), (b"{", "not JSON"), (b"\xff", "not JSON"), (b"[1]", "JSON object"),
    (b'{"a": 1, "a": 1}', "twice"), (b"[" * 100_000, "nested"), (b" " * (1 << 20) + b"{}", "bytes"),
])
def test_config_file(raw, word, save):
    folder, _ = save(bert_shapes(), BERT)
    (folder / "config.json").write_bytes(raw)
    with pytest.raises(CheckpointError, match=word) as caught:
        open_checkpoint(folder)
    assert "config.json" in str(caught.value)


def test_where_the_config_comes_from(save, tmp_path):
    folder, _ = save(bert_shapes(), BERT)
    other = folder / "other.json"
    (folder / "config.json").rename(other)
    with pytest.raises(CheckpointError, match="config.json cannot be opened"):
        open_checkpoint(folder)
    for config in (other, str(other), BERT, read_config(other)):
        open_checkpoint(folder, config).close()


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="model.safetensors cannot be opened"):
        open_checkpoint(tmp_path, BERT)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="index.json: weight_map must be an object"):
        open_checkpoint(tmp_path, BERT)


def test_real_model():
    with open_checkpoint(model_path("minilm")) as checkpoint:
        assert checkpoint.architecture == "bert"
        assert checkpoint.unused == ("embeddings.position_ids",)
        encoder = [linear for linear in checkpoint.linears if linear.role != "pooler"]
        assert len(encoder) == 36
        assert sum(linear.n * linear.k for linear in encoder) == 6 * (4 * 384**2 + 2 * 384 * 1536)
        weight = checkpoint.weight(encoder[0])
        assert weight.shape == (384, 384) and np.isfinite(weight).all() and weight.std() > 0
