"""Checkpoints of every family: all tensors accounted for, mapped, and the same model when read."""

import json

import numpy as np
import pytest

from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.compiler.checkpoints.tensor_inventory import architecture
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.runtime.run_layer import matrix
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.architectures.families import transformer
from bitwright.models.file_formats.mapped_file import CheckpointError
from bitwright.models.inference.network import Network
from tests.compiler.tiny import write_checkpoint
from tests.models.inference.families import CONFIGS, inputs, shapes, tensors

COMPLETE = {family: config if family == "opt" else {"layer_norm_eps": 1e-3, "rms_norm_eps": 1e-3}
            | config for family, config in CONFIGS.items()}
BODIES = {"llama": "model.", "gpt2": "transformer.", "opt": "model.", "vit": "vit."}


@pytest.fixture
def save(tmp_path):
    def write(family, found=None, **changes):
        return write_checkpoint(tmp_path / "in", tensors(family) if found is None else found,
                                COMPLETE[family] | changes)
    return write


@pytest.mark.parametrize("family", CONFIGS)
def test_every_tensor_is_named(family):
    assert architecture(COMPLETE[family]).shapes == shapes(family)


@pytest.mark.parametrize("family", CONFIGS)
def test_what_is_read_is_the_model(family, save):
    with open_checkpoint(save(family)) as checkpoint:
        assert checkpoint.architecture == family and checkpoint.unused == ()
        found = checkpoint.tensors()
        model, config = checkpoint.model, checkpoint.config
        assert {tensor.tensor: tensor.shape for tensor in checkpoint.host}.items() <= \
            shapes(family).items()
    expected = Network(transformer(CONFIGS[family]), CONFIGS[family], tensors(family))
    assert np.array_equal(Network(model, config, found)(inputs(family)),
                          expected(inputs(family)))


@pytest.mark.parametrize("family", CONFIGS)
def test_mapped_matrices_are_the_weights(family, save, tmp_path):
    """By the error of 8-bit weights, so that a transposed or swapped matrix is seen."""
    source = save(family)
    map_checkpoint(source, tmp_path / "out", PRESETS["tiny"],
                   Options(tokens=10, weights="int8", group_size=16))
    image = open_image(tmp_path / "out")
    stored = tensors(family)
    with open_checkpoint(source) as checkpoint:
        names = [linear.name for linear in checkpoint.linears]
        assert list(image.layers) == names
        for linear in checkpoint.linears:
            weight = stored[linear.tensor]
            weight = weight.T if family == "gpt2" and linear.role != "lm_head" else weight
            weight = weight.reshape(len(weight), -1)
            found = matrix(image, image.layer(linear.name)).dequantize()
            assert found.shape == weight.shape
            assert np.abs(found - weight).max() < 0.02


@pytest.mark.parametrize("family", BODIES)
def test_a_body_alone(family, save):
    """Without a head, names lack the prefix of the body, and hidden states come out."""
    kept = {name.removeprefix(BODIES[family]): tensor for name, tensor in tensors(family).items()
            if name.startswith(BODIES[family])}
    class_name = {"gpt2": "GPT2Model", "opt": "OPTModel", "vit": "ViTModel"}.get(family,
                                                                                "LlamaModel")
    more = {"pooler.dense.weight": np.zeros((16, 16), np.float32)} if family == "vit" else {}
    with open_checkpoint(save(family, kept | more, architectures=[class_name])) as checkpoint:
        model = Network(checkpoint.model, checkpoint.config, checkpoint.tensors())
        assert len(checkpoint.unused) == len(more)
    count = 10 if family == "vit" else 8
    assert model(inputs(family)).shape == (count, 16)


def test_a_decoder_with_names_of_its_body(save):
    """The first GPT-2 files are so: a head that is tied, no prefix, and masks as buffers."""
    found = {name.removeprefix("transformer."): tensor for name, tensor in tensors("gpt2").items()}
    found["h.0.attn.bias"] = np.ones((1, 1, 12, 12), np.float32)
    with open_checkpoint(save("gpt2", found)) as checkpoint:
        assert checkpoint.linears[-1].name == "lm_head"
        assert checkpoint.unused == ("transformer.h.0.attn.bias",)


@pytest.mark.parametrize("family", CONFIGS)
def test_an_unknown_tensor_is_named_with_the_nearest(family, save):
    name = next(name for name in shapes(family) if name.endswith("norm.weight")
                or name.endswith("ln_1.weight") or name.endswith("layernorm.weight"))
    found = tensors(family)
    wrong = name.replace("weight", "wieght")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(save(family, found | {wrong: found[name]}))
    assert repr(wrong) in str(caught.value) and repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family, change, words", [
    ("gpt2", {"layer_norm_epsilon": None}, "layer_norm_epsilon must be a number"),
    ("mistral", {"rms_norm_eps": None}, "rms_norm_eps must be a number"),
    ("llama", {"rope_scaling": {"type": "yarn"}}, "type of rope_scaling"),
])
def test_configurations_refused(family, change, words):
    with pytest.raises(CheckpointError, match=words):
        architecture(COMPLETE[family] | change)


def test_tokens_of_an_image(command, save, tmp_path):
    source = save("vit")
    arguments = ("map", source, "--machine", "tiny", "--group-size", 16, "--out", tmp_path / "out")
    code, out, err = command(*arguments, "--tokens", 9)
    assert (code, out) == (1, "") and "--tokens must be 10" in err
    for more in ((), ("--tokens", 10)):
        code, out, err = command(*arguments, *more, "--json")
        assert code == 0, err
        assert json.loads(out)["tokens"] == 10


def test_too_many_tokens_for_the_positions(command, save, tmp_path):
    code, out, err = command("map", save("gpt2"), "--machine", "tiny", "--group-size", 16,
                             "--tokens", 13, "--out", tmp_path / "out")
    assert (code, out) == (1, "") and "--tokens must be at most 12" in err


def test_every_expert_is_mapped_whatever_the_tokens(save, tmp_path):
    source = save("mixtral")
    for tokens, rows in ((1, {1}), (8, {4})):
        map_checkpoint(source, tmp_path / "out", PRESETS["tiny"],
                       Options(tokens=tokens, group_size=16))
        layers = open_image(tmp_path / "out").layers
        assert len(layers) == 2 * (4 + 4 * 3) + 1
        assert {op.m for name, op in layers.items() if ".experts." in name} == rows
