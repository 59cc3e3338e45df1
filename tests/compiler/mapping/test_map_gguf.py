"""GGUF models through ``map`` and ``run``."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest

from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.runtime.run_layer import digest, execute, matrix
from bitwright.models.architectures.families import FAMILIES
from bitwright.models.architectures.families.llama import LLAMA
from bitwright.models.architectures.numerics import numerics
from bitwright.models.file_formats.gguf import GgufFile
from bitwright.models.file_formats.mapped_file import CheckpointError
from bitwright.models.inference.golden import mpgemm
from bitwright.models.inference.network import Network
from tests.compiler.layouts.test_compressed import FP4
from tests.compiler.layouts.test_gguf import NUMBERS, random_blocks, text, write_gguf
from tests.compiler.mapping.test_map_native import TOKENS, held, map_native

GGUF = {"blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32), "blk.0.attn_v": (16, 32),
        "blk.0.attn_output": (32, 32), "blk.0.ffn_gate": (64, 32), "blk.0.ffn_up": (64, 32),
        "blk.0.ffn_down": (32, 64), "output": (11, 32)}


def write_llama_gguf(path, kinds, metadata=(), **change):
    """``change`` are other tensors, ``metadata`` other values with their types before."""
    more = dict(metadata)

    def number(value):
        return struct.pack("<II", 4, value)
    metadata = {"general.architecture": struct.pack("<I", 8) + text("llama"),
                "llama.attention.layer_norm_rms_epsilon": struct.pack("<If", 6, 1e-5)}
    for key, value in {"embedding_length": 32, "feed_forward_length": 64, "block_count": 1,
                       "attention.head_count": 4, "attention.head_count_kv": 2,
                       "context_length": 16}.items():
        metadata[f"llama.{key}"] = number(value)
    metadata["llama.rope.freq_base"] = struct.pack("<If", 6, 500.0)
    tensors = {"token_embd.weight": ("F32", (11, 32), bytes(11 * 32 * 4))}
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        tensors[f"{name}.weight"] = ("F32", (32,), struct.pack("<32f", *range(32)))
    for at, (name, (n, k)) in enumerate(GGUF.items()):
        kind = kinds[at % len(kinds)]
        if kind == "F16":
            raw = np.random.default_rng(at).normal(size=(n, k)).astype("<f2")
        else:
            raw = random_blocks(kind, n * k // NUMBERS[kind][1], seed=at)
        tensors[f"{name}.weight"] = (kind, (n, k), raw.tobytes())
    tensors = {name: found for name, found in (tensors | change).items() if found}
    return write_gguf(path, tensors, list((metadata | more).items()))


def test_gguf(command, tmp_path):
    kinds = ["Q4_0", "Q4_1", "Q8_0", "MXFP4", "F16"]
    source = write_llama_gguf(tmp_path / "m.gguf", kinds)
    code, out, err = map_native(command, source, tmp_path / "out")
    assert code == 0, err
    rows = {row["name"]: row["weights"] for row in json.loads(out)["layers"]}
    assert rows == {name: "int8" if kinds[at % 5] == "F16" else f"gguf {kinds[at % 5]}"
                    for at, name in enumerate(GGUF)}
    image = open_image(tmp_path / "out")
    with open_checkpoint(source) as checkpoint:
        assert [(linear.role, linear.tensor) for linear in checkpoint.linears] == [
            ("query", "blk.0.attn_q.weight"), ("key", "blk.0.attn_k.weight"),
            ("value", "blk.0.attn_v.weight"), ("attention_output", "blk.0.attn_output.weight"),
            ("ffn_gate", "blk.0.ffn_gate.weight"), ("ffn_up", "blk.0.ffn_up.weight"),
            ("ffn_down", "blk.0.ffn_down.weight"), ("lm_head", "output.weight")]
        for linear in checkpoint.linears:
            native, op = checkpoint.native(linear), image.layer(linear.name)
            if native is None:
                w = checkpoint.weight(linear)
                assert (w == np.random.default_rng(4).normal(size=w.shape).astype("<f2")).all()
                continue
            a = np.random.default_rng(3).integers(-128, 128, (TOKENS, op.k)).astype(np.int8)
            golden = execute(image, op, "golden", a)
            assert golden.sha256 == digest(mpgemm(a, held(native, op)))
            # Rounded scales are 2^-10 off, times an offset of up to 16 steps.
            assert np.abs(matrix(image, op).dequantize() - native.dequantize()).max() <= \
                2.0**-5 * np.abs(native.scale).max() * max(map(abs, FP4))


def test_a_tied_head_in_gguf(command, tmp_path):
    source = write_llama_gguf(tmp_path / "m.gguf", ["Q8_0"])
    raw = random_blocks("Q4_0", 11, seed=1).tobytes()
    tied = write_llama_gguf(tmp_path / "tied.gguf", ["Q8_0"],
                            **{"token_embd.weight": ("Q4_0", (11, 32), raw), "output.weight": None})
    for path, layout in ((source, "gguf Q8_0"), (tied, "gguf Q4_0")):
        code, out, err = map_native(command, path, tmp_path / "out")
        assert code == 0, err
        row = json.loads(out)["layers"][-1]
        assert (row["name"], row["weights"]) == ("output", layout)


def test_the_whole_model(tmp_path):
    """Host tensors, and the configuration by which it runs."""
    source = write_llama_gguf(tmp_path / "m.gguf", ["F16"], **{
        "rope_freqs.weight": ("F32", (4,), struct.pack("<4f", 1, 1, 2, 8))})
    with open_checkpoint(source) as checkpoint:
        model, config = checkpoint.model, checkpoint.config
        read = {tensor.tensor: checkpoint.read(tensor.tensor) for tensor in checkpoint.host}
        assert {name: tensor.shape for name, tensor in read.items()} == {
            "token_embd.weight": (11, 32), "blk.0.attn_norm.weight": (32,),
            "blk.0.ffn_norm.weight": (32,), "output_norm.weight": (32,)}
        assert read["output_norm.weight"].tolist() == list(range(32))
        tensors = read | {linear.tensor: checkpoint.weight(linear) for linear in checkpoint.linears}
        with pytest.raises(KeyError):
            checkpoint.read("absent")
    plain = 500.0 ** -(np.arange(4) / 4)
    assert numerics(model, config).frequencies == pytest.approx(plain / [1, 1, 2, 8])
    assert Network(model, json.loads(json.dumps(config)), tensors)([1, 2]).shape == (2, 11)


def test_a_registered_family_is_read_from_gguf(tmp_path):
    """Metadata keys begin with the family's architecture; the rest is as in a Llama's file."""
    assert LLAMA.gguf is not None
    family = replace(LLAMA, name="toy", class_prefixes=("Toy",), gguf=replace(
        LLAMA.gguf, architecture="toyllama", config={"architectures": ["ToyForCausalLM"]}))
    plain = write_llama_gguf(tmp_path / "plain.gguf", ["Q8_0"])
    with GgufFile(plain) as file:
        values = {key.replace("llama.", "toyllama.", 1): struct.pack("<I", 4) + struct.pack(
            "<I", value) for key, value in file.metadata.items() if type(value) is int}
    floats = {f"toyllama.{key}": struct.pack("<If", 6, value) for key, value in (
        ("attention.layer_norm_rms_epsilon", 1e-5), ("rope.freq_base", 500.0))}
    path = write_llama_gguf(tmp_path / "toy.gguf", ["Q8_0"], metadata=values | floats | {
        "general.architecture": struct.pack("<I", 8) + text("toyllama")})
    with pytest.raises(CheckpointError, match="general.architecture 'toyllama' is not read"):
        open_checkpoint(path)
    FAMILIES.register(family)
    try:
        with open_checkpoint(path) as toy, open_checkpoint(plain) as llama:
            assert toy.architecture == "toy" and toy.config["rope_theta"] == 500.0
            assert toy.linears == llama.linears
            for linear in toy.linears:
                assert (toy.weight(linear) == llama.weight(linear)).all()
    finally:
        FAMILIES.unregister("toy")


@pytest.mark.parametrize("tensor, text_", [
    ({"blk.0.attn_q.bias": ("F32", (32,), bytes(128))},
     "'blk.0.attn_q.bias' is unknown in a llama model; the closest known name is 'blk.0.attn_q.w"),
    ({"blk.0.ffn_norm.weight": None}, "'blk.0.ffn_norm.weight' of shape [32] is missing"),
    ({"rope_freqs.weight": ("F32", (3,), bytes(12))}, "factors must be a list of 4 numbers"),
    ({"rope_freqs.weight": ("Q8_0", (32,), bytes(34))}, "must be in F32, F16, BF16"),
    ({"blk.0.attn_k.weight": ("Q4_0", (32, 32), bytes(576))}, "must have shape [16, 32], not [32"),
    ({"blk.0.attn_k.weight": ("Q5_0", (16, 32), bytes(352))}, "is of type Q5_0, which is not read"),
])
def test_damaged_gguf_models(command, tmp_path, tensor, text_):
    source = write_llama_gguf(tmp_path / "m.gguf", ["Q4_0"], **tensor)
    code, _, err = map_native(command, source, tmp_path / "out")
    assert code == 1 and text_ in err and err.count("\n") == 1
