"""``map --names``: a checkpoint that calls the parts of a known family otherwise."""

import json

import numpy as np
import pytest

from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.models.architectures.families import ConfigError, transformer
from bitwright.models.file_formats.mapped_file import CheckpointError
from bitwright.models.inference.network import Network
from tests.compiler.mapping.test_map_gguf import write_llama_gguf
from tests.compiler.tiny import write_checkpoint
from tests.models.inference.families import CONFIGS, IDS, tensors

# Those of the first Llama files: rotary pairs are neighbours there.
LLAMA = """
family = "llama"
[names]
embedding = "tok_embeddings"
token_table = "tok_embeddings.weight"
layer = "layers.{}"
attention = "attention"
qkv = ["attention.wq", "attention.wk", "attention.wv"]
output = "attention.wo"
inner = ["feed_forward.w1", "feed_forward.w3"]
down = "feed_forward.w2"
norms = ["attention_norm", "ffn_norm"]
final_norm = "norm"
head = "output"
unused = ["rope.freqs"]
neighbours = true
"""
THEIRS = {"self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk",
          "self_attn.v_proj": "attention.wv", "self_attn.o_proj": "attention.wo",
          "mlp.gate_proj": "feed_forward.w1", "mlp.up_proj": "feed_forward.w3",
          "mlp.down_proj": "feed_forward.w2", "input_layernorm": "attention_norm",
          "post_attention_layernorm": "ffn_norm", "model.layers": "layers", "lm_head": "output",
          "model.embed_tokens": "tok_embeddings", "model.norm": "norm"}
CONFIG = CONFIGS["llama"] | {"architectures": ["Transformer"], "model_type": None}


def renamed():
    """The tiny Llama under those names, rows of queries and keys turned to neighbours."""
    found = {"rope.freqs": np.ones(2, np.float32)}
    for name, tensor in tensors("llama").items():
        if "q_proj" in name or "k_proj" in name:
            halves = tensor.reshape(-1, 2, 2, *tensor.shape[1:])
            tensor = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(tensor.shape)
        for ours, theirs in THEIRS.items():
            name = name.replace(ours, theirs)
        found[name] = tensor
    return found


@pytest.fixture
def source(tmp_path):
    return write_checkpoint(tmp_path / "in", renamed(), CONFIG)


def write(tmp_path, text):
    path = tmp_path / "my.toml"
    path.write_text(text)
    return path


def test_it_is_the_same_model(source, tmp_path):
    with open_checkpoint(source, names=write(tmp_path, LLAMA)) as checkpoint:
        assert checkpoint.unused == ("rope.freqs",)
        found = Network(checkpoint.model, checkpoint.config, checkpoint.tensors(),
                        dtype=np.float64)(IDS)
        # What an image holds says all there is to say.
        again = json.loads(json.dumps(checkpoint.config))
        assert transformer(again) == checkpoint.model
    expected = Network(transformer(CONFIGS["llama"]), CONFIGS["llama"], tensors("llama"),
                       dtype=np.float64)(IDS)
    np.testing.assert_allclose(found, expected, atol=1e-10, rtol=0)


def test_it_maps(command, source, tmp_path):
    arguments = ("map", source, "--machine", "tiny", "--tokens", 5, "--group-size", 16, "--out",
                 tmp_path / "out", "--json")
    code, out, err = command(*arguments)
    assert (code, out) == (1, "") and "Transformer" in err
    code, out, err = command(*arguments, "--names", write(tmp_path, LLAMA))
    assert code == 0, err
    names = [row["name"] for row in json.loads(out)["layers"]]
    assert names[:3] == ["layers.0.attention.wq", "layers.0.attention.wk", "layers.0.attention.wv"]
    assert names[-1] == "output" and len(names) == 15


def test_names_that_begin_as_the_familys_do(tmp_path):
    """A map has no prefix that could be left out, unless it says so."""
    found = {name.replace("layers.", "h.").replace("model.h.", "h."): tensor
             for name, tensor in tensors("llama").items()}
    source = write_checkpoint(tmp_path / "in", found, CONFIG)
    text = 'family = "llama"\n[names]\nlayer = "h.{}"\n'
    with open_checkpoint(source, names=write(tmp_path, text)) as checkpoint:
        assert set(checkpoint.tensors()) == set(found)
    with pytest.raises(CheckpointError, match="'embed_tokens.weight' is|'model.embed_tokens"):
        open_checkpoint(source, names=write(tmp_path, text + 'prefix = "model."\n'))


def test_a_name_that_is_not_there(source, tmp_path):
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(source, names=write(tmp_path, LLAMA.replace('"ffn_norm"', '"fnn_norm"')))
    assert "'layers.0.ffn_norm.weight' is unknown" in str(caught.value)
    assert "'layers.0.fnn_norm.weight'" in str(caught.value)


@pytest.mark.parametrize("old, new, words", [
    ('qkv = [', 'qvk = [', "qvk is no name of a model's part; the closest is qkv"),
    ('"attention.wk", ', "", "qkv must be 1 or 3 names, not 2"),
    ('"attention.wk", ', '"attention.wq", ', "qkv must be different names"),
    ('["attention_norm", "ffn_norm"]', '["attention_norm"]', "norms must be 2 names, not 1"),
    ('["attention_norm", "ffn_norm"]', '"norm"', "norms must be a list of strings, not 'norm'"),
    ('"layers.{}"', '"layers"', "layer must hold {} 1 times, not 0"),
    ('"layers.{}"', '"layers.{0}"', "layer must hold {} 1 times"),
    ('"layers.{}"', '3', "layer must be a string, not 3"),
    ('neighbours = true', 'neighbours = 1', "neighbours must be true or false, not 1"),
    ('final_norm = "norm"', 'final_norm = ""', "final_norm must be a name in this family"),
    ('final_norm', 'position_table = "p"\nfinal_norm', "position_table must be left out"),
    ('family = "llama"', 'family = "t5"', "known are bert, llama"),
    ('family = "llama"', 'family = 3', "family must be the name"),
    ('family = "llama"', '', "family must be the name"),
    ('family = "llama"', 'family = "llama"\nmodel = 1', "not 'model'"),
    ('[names]', '[[names]]', "must have a table names"),
    ('[names]', '[names', "my.toml is not TOML"),
])
def test_maps_refused(command, source, tmp_path, old, new, words):
    assert old in LLAMA
    path = write(tmp_path, LLAMA.replace(old, new))
    code, out, err = command("map", source, "--machine", "tiny", "--names", path, "--out",
                             tmp_path / "out")
    assert (code, out) == (1, "") and words in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_files_refused(command, source, tmp_path):
    for path, words in ((tmp_path / "none.toml", "none.toml cannot be opened"),
                        (write(tmp_path, "#" * (1 << 20) + "#"), "at most 1048576 bytes")):
        code, _, err = command("map", source, "--names", path, "--out", tmp_path / "out")
        assert code == 1 and words in err
    gguf = write_llama_gguf(tmp_path / "m.gguf", ["Q8_0"])
    code, _, err = command("map", gguf, "--names", write(tmp_path, LLAMA), "--out",
                           tmp_path / "out")
    assert code == 1 and "has the names of its format" in err


def test_in_a_configuration():
    with pytest.raises(ConfigError, match="^names: inner must be 1 name in a gpt2 model"):
        transformer(CONFIGS["gpt2"] | {"tensor_names": {"inner": ["a", "b"]}})
    for given in (3, [], "names"):
        with pytest.raises(ConfigError, match="^config: tensor_names must be 'gguf' or an object"):
            transformer(CONFIGS["llama"] | {"tensor_names": given})
