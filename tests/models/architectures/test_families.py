"""Sizes of known models: one layer of each written by hand, parameters as they are published."""

import json

import pytest

from bitwright.models.architectures.families import (
    EXAMPLES,
    FAMILIES,
    ConfigError,
    families_table,
    read_config,
    transformer,
)

# Of the whole model, as counted from its published checkpoint.
PARAMETERS = {
    "bert-base": 109_482_240, "gpt2": 124_439_808, "opt-125m": 125_239_296,
    "opt-1.3b": 1_315_758_080, "llama-2-7b": 6_738_415_616, "llama-2-13b": 13_015_864_320,
    "llama-3-8b": 8_030_261_248, "yi-6b": 6_061_035_520, "mixtral-8x7b": 46_702_792_704,
    "qwen2.5-0.5b": 494_032_768, "bitnet-b1.58-2b4t": 2_412_820_480, "phi-2": 2_779_683_840,
    "phi-3-mini-4k": 3_821_079_552, "vit-b-16": 86_567_656,
}
MLP = {"mlp.gate_proj": (11008, 4096), "mlp.up_proj": (11008, 4096), "mlp.down_proj": (4096, 11008)}
LAYERS = {  # name: (outputs, inputs)
    "bert-base": {
        "attention.self.query": (768, 768), "attention.self.key": (768, 768),
        "attention.self.value": (768, 768), "attention.output.dense": (768, 768),
        "intermediate.dense": (3072, 768), "output.dense": (768, 3072)},
    "llama-2-7b": {
        "self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (4096, 4096),
        "self_attn.v_proj": (4096, 4096), "self_attn.o_proj": (4096, 4096), **MLP},
    "yi-6b": {
        "self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (512, 4096),
        "self_attn.v_proj": (512, 4096), "self_attn.o_proj": (4096, 4096), **MLP},
    "llama-3-8b": {
        "self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (1024, 4096),
        "self_attn.v_proj": (1024, 4096), "self_attn.o_proj": (4096, 4096),
        "mlp.gate_proj": (14336, 4096), "mlp.up_proj": (14336, 4096),
        "mlp.down_proj": (4096, 14336)},
    "mixtral-8x7b": {
        "self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (1024, 4096),
        "self_attn.v_proj": (1024, 4096), "self_attn.o_proj": (4096, 4096),
        **{f"block_sparse_moe.experts.{expert}.{name}": shape for expert in range(8)
           for name, shape in (("w1", (14336, 4096)), ("w3", (14336, 4096)),
                               ("w2", (4096, 14336)))}},
    "qwen2.5-0.5b": {
        "self_attn.q_proj": (896, 896), "self_attn.k_proj": (128, 896),
        "self_attn.v_proj": (128, 896), "self_attn.o_proj": (896, 896),
        "mlp.gate_proj": (4864, 896), "mlp.up_proj": (4864, 896), "mlp.down_proj": (896, 4864)},
    "bitnet-b1.58-2b4t": {
        "self_attn.q_proj": (2560, 2560), "self_attn.k_proj": (640, 2560),
        "self_attn.v_proj": (640, 2560), "self_attn.o_proj": (2560, 2560),
        "mlp.gate_proj": (6912, 2560), "mlp.up_proj": (6912, 2560), "mlp.down_proj": (2560, 6912)},
    "phi-2": {
        "self_attn.q_proj": (2560, 2560), "self_attn.k_proj": (2560, 2560),
        "self_attn.v_proj": (2560, 2560), "self_attn.dense": (2560, 2560),
        "mlp.fc1": (10240, 2560), "mlp.fc2": (2560, 10240)},
    "phi-3-mini-4k": {
        "self_attn.qkv_proj": (9216, 3072), "self_attn.o_proj": (3072, 3072),
        "mlp.gate_up_proj": (16384, 3072), "mlp.down_proj": (3072, 8192)},
    "gpt2": {
        "attn.c_attn": (2304, 768), "attn.c_proj": (768, 768), "mlp.c_fc": (3072, 768),
        "mlp.c_proj": (768, 3072)},
    "opt-1.3b": {
        "self_attn.q_proj": (2048, 2048), "self_attn.k_proj": (2048, 2048),
        "self_attn.v_proj": (2048, 2048), "self_attn.out_proj": (2048, 2048),
        "fc1": (8192, 2048), "fc2": (2048, 8192)},
    "vit-b-16": {
        "attention.attention.query": (768, 768), "attention.attention.key": (768, 768),
        "attention.attention.value": (768, 768), "attention.output.dense": (768, 768),
        "intermediate.dense": (3072, 768), "output.dense": (768, 3072)},
}
BIASED = {"bert-base": "all", "gpt2": "all", "opt-1.3b": "all", "phi-2": "all", "vit-b-16": "all",
          "qwen2.5-0.5b": "qkv"}
AROUND = {  # linear layers before and after the stack
    "bert-base": {"pooler.dense": (768, 768)}, "llama-2-7b": {"lm_head": (32000, 4096)},
    "mixtral-8x7b": {"lm_head": (32000, 4096)}, "bitnet-b1.58-2b4t": {"lm_head": (128256, 2560)},
    "qwen2.5-0.5b": {"lm_head": (151936, 896)}, "gpt2": {"lm_head": (50257, 768)},
    "opt-1.3b": {"lm_head": (50272, 2048)}, "phi-2": {"lm_head": (51200, 2560)},
    "vit-b-16": {"vit.embeddings.patch_embeddings.projection": (768, 768),
                 "classifier": (1000, 768)}}


@pytest.mark.parametrize("name", EXAMPLES)
def test_parameters_are_those_of_the_checkpoint(name):
    assert transformer(read_config(name)).parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", LAYERS)
def test_one_layer_by_hand(name):
    model = transformer(read_config(name))
    found = list(model.layer(3))
    prefix = model.names.layer.format(3) + "."
    assert {one.name.removeprefix(prefix): (one.n, one.k) for one in found} == LAYERS[name]
    assert [one.name.removeprefix(prefix) for one in found] == list(LAYERS[name])
    for one in found:
        assert one.bias == (BIASED.get(name) == "all" or BIASED.get(name) == "qkv"
                            and one.role in ("query", "key", "value"))
    assert {one.expert for one in found if one.expert is not None} == (
        set(range(8)) if name == "mixtral-8x7b" else set())


@pytest.mark.parametrize("name", AROUND)
def test_what_is_around_the_layers(name):
    model = transformer(read_config(name))
    prefix = model.names.layer.partition("{")[0]
    assert {one.name: (one.n, one.k) for one in model.linears()
            if not one.name.startswith(prefix)} == AROUND[name]
    assert len(list(model.linears())) == model.layers * len(LAYERS[name]) + len(AROUND[name])


def test_every_family_has_an_example_but_mistral():
    used = {transformer(read_config(name)).family for name in EXAMPLES}
    assert used | {"mistral"} == set(FAMILIES)
    config = {**read_config("llama-3-8b"), "architectures": ["MistralForCausalLM"],
              "model_type": "mistral"}
    assert list(transformer(config).linears()) == list(
        transformer(read_config("llama-3-8b")).linears())


def test_the_table_has_a_row_for_every_family():
    rows = [row.split(" | ") for row in families_table().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"| `{name}`" for name in FAMILIES]
    assert [row[0] for row in rows if row[2] != "no |"] == ["| `llama`"]


def test_tokens_of_experts_are_even():
    model = transformer(read_config("mixtral-8x7b"))
    assert model.expert_tokens(2048) == (512,) * 8
    assert model.expert_tokens(1) == (1, 1, 0, 0, 0, 0, 0, 0)
    assert model.expert_tokens(5) == (2, 2, 1, 1, 1, 1, 1, 1)
    assert transformer(read_config("gpt2")).expert_tokens(5) == (5,)


def test_width_of_heads_may_be_given():
    config = {**read_config("llama-3-8b"), "head_dim": 64}
    shapes = {one.role: (one.n, one.k) for one in transformer(config).layer(0)}
    assert shapes["query"] == (2048, 4096) and shapes["key"] == (512, 4096)
    assert shapes["attention_output"] == (4096, 2048)


@pytest.mark.parametrize("config", [
    {"model_type": "t5"}, {"architectures": ["MambaForCausalLM"]}, {}, {"model_type": 3},
    {"architectures": ["LlamaForCausalLM", "LlamaModel"]}, {"architectures": [["x"]]},
    {"architectures": ["LlamaForCausalLM"], "model_type": "gpt2"}])
def test_unknown_models_are_told_what_is_known(config):
    with pytest.raises(ConfigError) as error:
        transformer({**read_config("llama-2-7b"), "model_type": None, "architectures": None,
                     **config})
    text = str(error.value)
    assert "\n" not in text and all(family in text for family in FAMILIES)


@pytest.mark.parametrize("name, changes, words", [
    ("llama-2-7b", {"hidden_size": None}, "hidden_size is missing"),
    ("llama-2-7b", {"hidden_size": 4096.0}, "hidden_size must be an integer from 1"),
    ("llama-2-7b", {"num_hidden_layers": True}, "num_hidden_layers must be an integer"),
    ("llama-2-7b", {"num_hidden_layers": 1025}, "to 1024, not 1025"),
    ("llama-2-7b", {"num_key_value_heads": 5}, "must divide num_attention_heads 32, not 5"),
    ("llama-2-7b", {"num_attention_heads": 3, "num_key_value_heads": 3}, "must divide hidden_size"),
    ("llama-2-7b", {"tie_word_embeddings": 1}, "true or false"),
    ("mixtral-8x7b", {"num_experts_per_tok": 9}, "at most num_local_experts 8, not 9"),
    ("opt-1.3b", {"ffn_dim": None}, "ffn_dim is missing"),
    ("opt-1.3b", {"word_embed_proj_dim": 512}, "word_embed_proj_dim must be 2048, not 512"),
    ("gpt2", {"n_embd": None}, "n_embd is missing"),
    ("vit-b-16", {"patch_size": 15}, "patch_size must divide image_size 224, not 15"),
    ("vit-b-16", {"num_labels": None}, "num_labels is missing"),
    ("phi-2", {"qk_layernorm": True}, "qk_layernorm must be False"),
])
def test_bad_values(name, changes, words):
    with pytest.raises(ConfigError, match=words):
        transformer({**read_config(name), **changes})


def test_files_that_are_no_configuration(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(ConfigError, match="cannot be read: .*llama-2-7b"):
        read_config(str(path))
    for text, words in (("[1]", "JSON object, not list"), ("{", "not JSON"), ("\xff", "not JSON"),
                        ("[" * 100_000, "not JSON"), (" " * (1 << 20) + "{}", "at most 1048576")):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(ConfigError, match=words):
            read_config(str(path))
    path.write_text(json.dumps(read_config("gpt2")))
    assert read_config(str(path)) == read_config("gpt2")
