"""A GGUF Llama from the file to text, against the decoder of
bitwright.models.inference.reference_llama."""

import json

import numpy as np
import pytest

from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.runtime.run_layer import matrix
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.assets.tokenizer import TextTokenizer
from bitwright.models.inference.gguf_llama import GgufModel
from bitwright.models.inference.perplexity import perplexity, windows
from bitwright.models.inference.reference_bert import make_quantized_linear
from bitwright.models.inference.reference_llama import Llama
from tests.models.inference.tiny_llama import CONFIG, tensors, write_gguf

TEXT = "ab abc 12a\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "model.gguf", tensors())


@pytest.fixture(scope="module")
def folder(file, tmp_path_factory):
    out = tmp_path_factory.mktemp("image") / "llama"
    map_checkpoint(file, out, PRESETS["tiny"], Options(weights="native", tokens=1,
                                                       flush_small_scales=True))
    return out


@pytest.fixture(scope="module")
def decoder(file, folder):
    """Quantized layers as the image has them, attention in floats."""
    image, model = open_image(folder), GgufModel(file)
    return Llama(CONFIG, model, make_quantized_linear(
        {op.name: matrix(image, op) for op in image.layers.values()}))


def call(command, *arguments):
    code, out, err = command(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_the_tokenizer_is_the_files(file, folder):
    mine, theirs = TextTokenizer(folder), GgufModel(file).tokenizer()
    for text in (TEXT, "ab12 <|end|>abc", " a  b"):
        ids = mine.encode(text)
        assert ids == theirs.encode(text) and len(ids) > 3
        assert mine.decode(ids) == theirs.decode(ids)


def test_logits(command, folder, file, decoder):
    found = call(command, "run", folder, "--text", TEXT, "--kv", "float", "--checkpoint", file)
    ids = np.array(TextTokenizer(folder).encode(TEXT))
    np.testing.assert_allclose(found["logits"], decoder(ids)[-1], rtol=1e-4, atol=1e-4)
    exact = Llama(CONFIG, GgufModel(file))(ids)[-1].astype(float)
    cosine = exact @ found["logits"] / np.linalg.norm(exact) / np.linalg.norm(found["logits"])
    assert np.isclose(found["cosine"], cosine, atol=1e-6) and found["reference"] == "model.gguf"


def test_text(command, folder, decoder):
    found = call(command, "generate", folder, "--prompt", TEXT, "--tokens", 5, "--kv", "float")
    tokenizer = TextTokenizer(folder)
    ids = tokenizer.encode(TEXT)
    before = len(ids)
    while len(ids) < before + 5:
        ids.append(int(decoder(np.array(ids))[-1].argmax()))
    assert found["ids"] == ids[before:] and found["text"] == tokenizer.decode(ids[before:])


def test_perplexity(command, folder, decoder, tmp_path):
    (tmp_path / "text").write_text(TEXT * 130)
    texts = windows(TextTokenizer(folder).encode(TEXT * 130), 1)
    exact = perplexity(decoder, texts)
    found = call(command, "perplexity", folder, tmp_path / "text", "--windows", 1, "--kv", "float")
    assert np.isclose(found["perplexity"], exact, rtol=1e-4) and found["scored"] == 511
    near = call(command, "perplexity", folder, tmp_path / "text", "--windows", 1)
    assert abs(near["perplexity"] / exact - 1) < 0.05 and near["perplexity"] != exact
    code, out, _ = command("perplexity", folder, tmp_path / "text", "--windows", 1)
    assert code == 0 and out.startswith(f"perplexity {near['perplexity']:.3f} over 511 tokens")
