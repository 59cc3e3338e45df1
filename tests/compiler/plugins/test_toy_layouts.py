"""A layout and a kind of file, each from one file loaded by ``--plugin``."""

import json

import numpy as np
import pytest

from tests.compiler.layouts.build import write_safetensors
from tests.compiler.plugins.numbers import digest, random_activations
from tests.compiler.tiny import BERT, LAYERS, QUERY, bert_tensors, write_checkpoint

LAYOUT, CONTAINER, TOKENS = "toy_layout.py", "toy_container.py", 3


def signed_values(shape, seed):
    return np.random.default_rng(seed).integers(-7, 8, shape)


def write_signed(folder, change=None, settings=()):
    """A BERT whose matrices are in the toy layout."""
    tensors = {}
    for seed, (name, value) in enumerate(bert_tensors().items()):
        module = name.removesuffix(".weight")
        if not name.startswith("encoder") or value.ndim == 1:
            tensors[name] = ("F32", value)
            continue
        values = signed_values(value.shape, seed)
        stored = np.abs(values) | np.where(values < 0, 8, 0)
        tensors[f"{module}.nibbles"] = ("U8", stored[:, ::2] | stored[:, 1::2] << 4)
        tensors[f"{module}.scale"] = ("F32", np.full(len(values), 0.03))
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", tensors | (change or {}))
    quantization = {"quant_method": "sign-magnitude", "bits": 4} | dict(settings)
    (folder / "config.json").write_text(json.dumps(BERT | {"quantization_config": quantization}))
    return folder


def test_the_layout_keeps_the_stored_values(bitwright, tmp_path):
    folder = write_signed(tmp_path / "model")
    bitwright(LAYOUT, "map", folder, "--machine", "tiny", "--tokens", TOKENS, "--out", "out")
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert [row["weights"] for row in report["layers"]] == ["sign-magnitude"] * 6 * LAYERS
    for seed, (name, value) in enumerate(bert_tensors().items()):
        if name.startswith("encoder.layer.1") and value.ndim == 2:
            a = random_activations(tmp_path, TOKENS, value.shape[1])
            found = json.loads(bitwright(
                "", "run", "out", "--layer", name.removesuffix(".weight"), "--backend", "golden",
                "--input", "a.npy", "--json").stdout)
            assert found["sha256"] == digest(a @ signed_values(value.shape, seed).T)


@pytest.mark.parametrize("plugin, change, settings, said", [
    ("", {}, {}, "quant_method 'sign-magnitude' is not read; gptq, awq, "),
    (LAYOUT, {}, {"bits": 3}, "bits of sign-magnitude must be 4, which are read, not 3"),
    (LAYOUT, {f"{QUERY}.scale": ("F32", np.zeros(3))}, {}, "must have shape [24], not [3]"),
    (LAYOUT, {f"{QUERY}.scale": ("F32", np.full(24, np.nan))}, {}, "scales must be finite"),
    (LAYOUT, {f"{QUERY}.zeros": ("F32", np.zeros(3))}, {}, "is unknown in a bert model"),
])
def test_what_the_layout_refuses(bitwright, tmp_path, plugin, change, settings, said):
    folder = write_signed(tmp_path / "model", change, settings)
    done = bitwright(plugin, "map", folder, "--machine", "tiny", "--tokens", TOKENS, "--out", "out",
                     status=1)
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_a_kind_of_file_gives_the_bytes_of_safetensors(bitwright, tmp_path):
    tensors = bert_tensors()
    write_checkpoint(tmp_path / "model", tensors)
    np.savez(tmp_path / "model.npz", config=json.dumps(BERT), **tensors)
    more = ("--machine", "tiny", "--tokens", TOKENS, "--group-size", 8, "--out")
    bitwright(CONTAINER, "map", "model.npz", *more, "npz")
    bitwright(CONTAINER, "map", "model", *more, "safetensors")
    for file in ("weights.bin", "program.bin", "host.safetensors", "config.json"):
        assert (tmp_path / "npz" / file).read_bytes() == (
            tmp_path / "safetensors" / file).read_bytes()
    np.savez(tmp_path / "model.npz", config=json.dumps(BERT),
             **tensors | {f"{QUERY}.weight": np.ones((24, 24), int)})
    done = bitwright(CONTAINER, "map", "model.npz", *more, "again", status=1)
    assert f"{QUERY}.weight is int64: save it as float32" in done.stderr
