import struct

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from bitwright.models.inference.gguf_llama import GgufError, GgufModel
from bitwright.models.inference.reference_llama import Llama
from tests.models.inference.tiny_llama import CONFIG, tensors, write_gguf


@pytest.fixture
def weights():
    return tensors()


def test_reads_what_was_written(tmp_path, weights):
    model = GgufModel(write_gguf(tmp_path / "m.gguf", weights))
    assert model.config() == pytest.approx(CONFIG) or vars(model.config()) == pytest.approx(
        vars(CONFIG))
    assert set(model) == set(weights) and len(model) == len(weights)
    for name, tensor in weights.items():
        kind = (GGMLQuantizationType.F32 if tensor.ndim == 1 else GGMLQuantizationType.Q8_0
                if name == "token_embd.weight" else GGMLQuantizationType.Q4_1)
        expected = tensor if tensor.ndim == 1 else dequantize(quantize(tensor, kind), kind)
        assert model[name].dtype == np.float32 and np.array_equal(model[name], expected)
    assert model.matrices() == [name for name in weights if name.startswith("blk.")
                                and "norm" not in name]
    assert Llama(model.config(), model)(np.array([1, 2])).shape == (2, 12)


def test_tokenizer(tmp_path, weights):
    tokenizer = GgufModel(write_gguf(tmp_path / "m.gguf", weights)).tokenizer()
    assert tokenizer.encode("abc ab12\n<|end|>ba") == [9, 8, 5, 6, 10, 0, 2, 1]
    assert tokenizer.decode([9, 8, 5, 6, 10, 0, 2, 1]) == "abc ab12\nba"
    assert tokenizer.encode("") == []


def test_rule_of_the_other_kind_keeps_digits_together(tmp_path, weights):
    path = write_gguf(tmp_path / "m.gguf", weights, rule="gpt-2")
    assert GgufModel(path).tokenizer().encode("12 2") == [11, 4, 6]


@pytest.mark.parametrize("keep", [0, 3, 100, 1000, -100])
def test_cut_short(tmp_path, weights, keep):
    path = write_gguf(tmp_path / "m.gguf", weights)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(GgufError, match="m.gguf is not a GGUF file, or is cut short: ") as caught:
        GgufModel(path)
    assert "\n" not in str(caught.value)


def test_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="GGUF file '.*none.gguf' is not there"):
        GgufModel(tmp_path / "none.gguf")


@pytest.mark.parametrize("options, use, message", [
    (dict(architecture="phi3"), "config", "architecture 'phi3'; only llama is read"),
    (dict(leave_out=["freq_base"]), "config", "no metadata key llama.rope.freq_base"),
    (dict(kind="llama"), "tokenizer", "tokenizer of kind 'llama'; only gpt2 is read"),
    (dict(rule="qwen2"), "tokenizer", "rule must be one of smollm, gpt-2, not 'qwen2'"),
])
def test_refused(tmp_path, weights, options, use, message):
    model = GgufModel(write_gguf(tmp_path / "m.gguf", weights, **options))
    with pytest.raises(GgufError, match=message):
        getattr(model, use)()


def edited(path, key, value):
    """The number of a metadata key overwritten in place."""
    raw = bytearray(path.read_bytes())
    at = raw.index(key.encode() + b"\4\0\0\0") + len(key) + 4
    raw[at:at + 4] = struct.pack("<I", value)
    path.unlink()
    path.write_bytes(raw)
    return GgufModel(path)


@pytest.mark.parametrize("key", ["attention.head_count", "block_count", "embedding_length"])
def test_sizes_that_cannot_be(tmp_path, weights, key):
    model = edited(write_gguf(tmp_path / "m.gguf", weights), f"llama.{key}", 0)
    with pytest.raises(GgufError, match="sizes in the metadata of .*m.gguf are damaged: "):
        model.config()
