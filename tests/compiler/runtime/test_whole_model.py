"""Whole tiny models from an image: the host's files, a text, text generation."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from bitwright.compiler.backends.rtl import RtlExecutor
from bitwright.compiler.image.file_names import MANIFEST_FILE
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.architectures.families import transformer
from bitwright.models.inference.arithmetic import Arithmetic
from bitwright.models.inference.network import Network
from bitwright.models.inference.reference_bert import (
    forward,
    make_quantized_linear,
    sentence_embedding,
)
from bitwright.models.quantization.rounding import quantize_activations
from bitwright.models.quantization.schemes import quantize
from tests.compiler.tiny import BERT, LLAMA, bert_tensors, llama_tensors
from tests.compiler.whole import CONFIGS, TEXT, WORDS, call

OPTIONS = Options(tokens=5, group_size=8)


# ---- files for the host -------------------------------------------------------------------
def test_an_image_holds_what_the_host_needs(images, checkpoints):
    for name, (config, tensors) in CONFIGS.items():
        folder, stored = images[name], tensors()
        assert json.loads((folder / "config.json").read_text()) == config
        assert ((folder / "tokenizer.json").read_bytes()
                == checkpoints[name].with_name("tokenizer.json").read_bytes())
        host = load_file(folder / "host.safetensors")
        linears = [op for op in open_image(folder).layers.values() if op.role != "lm_head"]
        array = {tensor for op in linears for tensor in (op.tensor, op.bias_tensor)}
        assert set(host) == set(stored) - array
        for tensor, value in host.items():
            np.testing.assert_array_equal(value, stored[tensor])
        files = json.loads((folder / MANIFEST_FILE).read_text())["files"]
        for file in ("host.safetensors", "config.json", "tokenizer.json"):
            data = (folder / file).read_bytes()
            assert files[file] == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_the_same_bytes_every_time(images, checkpoints, tmp_path):
    map_checkpoint(checkpoints["bert"], tmp_path / "again", PRESETS["tiny"], OPTIONS)
    names = sorted(path.name for path in images["bert"].iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (images["bert"] / name).read_bytes()


@pytest.mark.parametrize("name", ["host.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_damaged_files_are_refused(command, checkpoints, tmp_path, name, how):
    map_checkpoint(checkpoints["bert"], tmp_path / "out", PRESETS["tiny"], OPTIONS)
    path = tmp_path / "out" / name
    if how == "gone":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[-2] ^= 1
        path.write_bytes(data)
    code, out, err = command("run", tmp_path / "out", "--text", TEXT)
    assert code == 1 and out == "" and name in err and "map the model again" in err
    assert err.count("\n") == 1


def test_an_image_without_a_tokenizer_says_so(command, mapped):
    code, out, err = command("run", mapped, "--text", TEXT)
    assert code == 1 and out == "" and "no tokenizer.json" in err and err.count("\n") == 1
    code, out, err = command("generate", mapped, "--prompt", TEXT)
    assert code == 1 and "no tokenizer.json" in err


# ---- a text -------------------------------------------------------------------------------
def test_an_embedding_without_attention_on_the_array_is_the_encoders(command, images):
    """Against the encoder of bitwright.models.inference.reference_bert with its own quantized
    layers."""
    found = call(command, "run", images["bert"], "--text", TEXT, "--kv", "float")
    ids, weights = [1, 2, 3, 1, 10], bert_tensors()
    matrices = {op.name: quantize(weights[op.tensor], "int4", 8)
                for op in open_image(images["bert"]).layers.values()}
    exact = sentence_embedding(forward(ids, weights, BERT, make_quantized_linear(matrices)))
    np.testing.assert_allclose(found["embedding"], exact, rtol=0, atol=1e-5)
    assert found["tokens"] == 5 and found["backend"] == "golden"
    assert "attention_scores" not in found["operators"]
    assert found["totals"]["products"] == 12 and "launches" not in found["totals"]


def test_cosine_is_to_the_checkpoint_or_to_the_mapped_weights(command, images, checkpoints):
    near = call(command, "run", images["bert"], "--text", TEXT)
    far = call(command, "run", images["bert"], "--text", TEXT, "--checkpoint",
               checkpoints["bert"])
    assert near["embedding"] == far["embedding"]
    assert near["reference"] == "the mapped weights in floating point"
    assert far["reference"] == "model.safetensors"
    exact = sentence_embedding(forward([1, 2, 3, 1, 10], bert_tensors(), BERT))
    assert np.isclose(far["cosine"], np.dot(exact, far["embedding"]), atol=1e-6)
    assert 0.9 < far["cosine"] < near["cosine"] < 1


@pytest.mark.parametrize("kv", ["int8", "int4"])
@pytest.mark.parametrize("name", ["bert", "llama"])
def test_rtl_of_a_whole_model(command, images, name, kv):
    runs = [call(command, "run", images[name], "--text", TEXT, "--kv", kv, "--backend", backend)
            for backend in ("golden", "cycles", "rtl")]
    key = "embedding" if name == "bert" else "logits"
    assert runs[0][key] == runs[1][key] == runs[2][key]
    golden, model, rtl = (run["totals"] for run in runs)
    assert golden["products"] == model["products"] == rtl["products"]
    assert model["launches"] == rtl["launches"]
    assert rtl["mismatching_bits"] == rtl["mismatching_counters"] == 0
    assert rtl["cycles"] == rtl["rtl_cycles"] == model["cycles"]
    assert rtl["engines"] == rtl["rtl_engines"] == model["engines"]
    assert runs[2]["first_difference"] is None
    layers, heads = {"bert": (2, 3), "llama": (1, 2)}[name]
    values = runs[2]["operators"]["attention_values"]
    assert (values["products"], values["launches"]) == (layers * heads, layers)
    operators = {"bert": {"query + key + value": 3, "attention_scores": heads,
                          "attention_values": heads, "attention_output": 1, "ffn_up": 1,
                          "ffn_down": 1},
                 "llama": {"query + key + value": 3, "attention_scores": heads,
                           "attention_values": heads, "attention_output": 1,
                           "ffn_gate + ffn_up": 2, "ffn_down": 1, "lm_head": 1}}[name]
    assert {key: part["products"] // layers for key, part in runs[2]["operators"].items()
            } == operators
    assert all(part["launches"] == layers for part in runs[2]["operators"].values())
    assert sum(part["rtl_cycles"] for part in runs[2]["operators"].values()) == rtl["rtl_cycles"]


def test_a_difference_gives_status_1(command, images, monkeypatch):
    def differently(executor, job):
        outcome = run_job(executor, job)
        return replace(outcome, accumulators=[y ^ (y == y.max()) for y in outcome.accumulators])

    run_job = RtlExecutor.run
    monkeypatch.setattr(RtlExecutor, "run", differently)
    code, out, _ = command("run", images["llama"], "--text", "a", "--backend", "rtl")
    assert code == 1 and "something differs, first in model.layers.0.self_attn.q_proj" in out


def test_people_read_lines(command, images):
    code, out, _ = command("run", images["bert"], "--text", TEXT, "--backend", "rtl")
    assert code == 0 and "embedding   [" in out and "equal to the last bit and cycle" in out
    code, out, _ = command("run", images["llama"], "--text", TEXT)
    assert code == 0 and "next token  '" in out


@pytest.mark.parametrize(("arguments", "word"), [
    (("--text", TEXT, "--layer", "x"), "one of"), ((), "one of"),
    (("--text", TEXT, "--seed", 1), "--text"), (("--text", TEXT, "--kv", "int2"), "int4"),
    (("--text", TEXT, "--kv", "float", "--kv-group", 4), "kv-group"),
    (("--layer", "x", "--checkpoint", "y"), "--layer")])
def test_wrong_usage(command, images, arguments, word):
    code, out, err = command("run", images["bert"], *arguments)
    assert code == 2 and out == "" and word in err


def test_bad_texts_and_checkpoints(command, images, checkpoints, tmp_path):
    for arguments, word in ((("--text", ""), "no tokens"), (("--text", "a " * 17), "at most 16"),
                            (("--text", TEXT, "--checkpoint", tmp_path / "no"), "no"),
                            (("--text", TEXT, "--checkpoint", checkpoints["llama"]), "size")):
        code, out, err = command("run", images["bert"], *arguments)
        assert code == 1 and out == "" and word in err and err.count("\n") == 1


# ---- text generation ----------------------------------------------------------------------
def test_generation_takes_the_likeliest_token_each_time(command, images):
    """Against whole passes over all tokens so far, without a cache, attention in floats."""
    found = call(command, "generate", images["llama"], "--prompt", "a b", "--tokens", 6, "--kv",
                 "float")
    tensors, config = llama_tensors(), CONFIGS["llama"][0]
    matrices = {op.name: quantize(tensors[op.tensor], "int4", 8)
                for op in open_image(images["llama"]).layers.values()}

    class Plain(Arithmetic):
        def linear(self, name, x):
            a, sx = quantize_activations(x)
            return (a * sx[:, None] @ matrices[name].dequantize().T).astype(x.dtype)

        def cache(self):
            return Network(transformer(config), config, tensors).arithmetic.cache()

    network, ids = Network(transformer(config), config, tensors, Plain()), [1, 2]
    while len(ids) < 8 and ids[-1] != 10:
        ids.append(int(network(ids)[-1].argmax()))
    assert found["ids"] == ids[2:] and found["prompt_tokens"] == 2
    assert found["text"] == " ".join(WORDS[i] for i in ids[2:] if i != 10)


@pytest.mark.parametrize("several", [False, True])
def test_generation_ends_where_the_model_ends_its_text(command, images, checkpoints, tmp_path,
                                                       several):
    arguments = ("--prompt", "a b", "--tokens", 8)
    whole = call(command, "generate", images["llama"], *arguments)["ids"]
    end = whole[2]
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA | {"eos_token_id": [0, end] if several else end}))
    map_checkpoint(checkpoints["llama"], tmp_path / "out", PRESETS["tiny"],
                   Options(tokens=1, group_size=8), config=config)
    found = call(command, "generate", tmp_path / "out", *arguments)
    assert found["ids"] == whole[:whole.index(end) + 1]
    assert found["text"] == " ".join(WORDS[i] for i in found["ids"][:-1])


def test_generation_on_the_rtl(command, images):
    runs = [call(command, "generate", images["llama"], "--prompt", "c d e", "--tokens", 3,
                 "--temperature", 3, "--seed", 4, "--backend", backend)
            for backend in ("golden", "cycles", "rtl")]
    assert runs[0]["ids"] == runs[1]["ids"] == runs[2]["ids"] and len(runs[0]["ids"]) == 3
    assert runs[0]["cycles"] == [] and runs[1]["cycles"] == runs[2]["cycles"]
    assert len(runs[1]["cycles"]) == 3 and sum(runs[1]["cycles"]) == runs[2]["totals"]["rtl_cycles"]
    later = runs[1]["cycles"][1:]
    assert np.isclose(runs[1]["tokens_per_second"], 80e6 * 2 / sum(later))
    assert runs[2]["totals"]["mismatching_bits"] == 0


def test_draws_are_seeded(command, images):
    def ids(*more):
        return call(command, "generate", images["llama"], "--prompt", "a", "--tokens", 8, *more
                    )["ids"]

    hot = ("--temperature", 50)
    assert ids(*hot, "--seed", 1) == ids(*hot, "--seed", 1)
    assert len({tuple(ids(*hot, "--seed", seed)) for seed in range(4)}) > 1
    assert ids("--temperature", 1e-6) == ids() == ids("--seed", 9)


def test_text_is_streamed(command, images):
    code, out, _ = command("generate", images["llama"], "--prompt", "a", "--tokens", 2,
                           "--backend", "cycles", "--mhz", 1)
    words = call(command, "generate", images["llama"], "--prompt", "a", "--tokens", 2)["text"]
    assert code == 0 and out.startswith(words) and "tokens per second at 1 MHz" in out


def test_what_generates_nothing(command, images):
    for folder, prompt, more, word in (
            ("bert", "a", (), "writes none"), ("llama", "", (), "no tokens"),
            ("llama", "a", ("--tokens", 16), "at most 16")):
        code, out, err = command("generate", images[folder], "--prompt", prompt, *more)
        assert code == 1 and out == "" and word in err and err.count("\n") == 1


# ---- smoothing and perplexity -------------------------------------------------------------
def test_smoothing_changes_weights_and_not_the_model(command, checkpoints, tmp_path):
    text = tmp_path / "text"
    text.write_text("a b c\n\ne f g h .\n")
    code, _, err = command("map", checkpoints["bert"], "--machine", "tiny", "--tokens", 5,
                           "--weights", "int8", "--smooth", 0.5, "--calibration", text,
                           "--out", tmp_path / "out")
    assert code == 0, err
    host = load_file(tmp_path / "out" / "host.safetensors")
    captured = [{}, {}]
    for ids, capture in zip(([1, 2, 3], [5, 6, 7, 8, 10]), captured, strict=True):
        forward(ids, bert_tensors(), BERT, capture=capture)
    for name in captured[0]:
        x = np.maximum(*(np.abs(capture[name]).max(axis=0) for capture in captured))
        x = np.maximum(x, x.max() / 32)
        w = np.abs(bert_tensors()[f"{name}.weight"]).max(axis=0)
        np.testing.assert_allclose(host[f"{name}.input_scale"], np.sqrt(w / x), rtol=1e-3)
    found = call(command, "run", tmp_path / "out", "--text", TEXT, "--checkpoint",
                 checkpoints["bert"])
    assert found["cosine"] > 0.999
    name, x = "encoder.layer.0.output.dense", captured[1]["encoder.layer.0.output.dense"]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "a.npy", quantize_activations(x * host[f"{name}.input_scale"])[0])
    digests = [call(command, "run", tmp_path / "out", "--layer", name, "--input",
                    tmp_path / file)["sha256"] for file in ("x.npy", "a.npy")]
    assert digests[0] == digests[1]


def test_smoothing_that_cannot_be(command, checkpoint, checkpoints, tmp_path):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for source, arguments, status, word in (
            (checkpoint, ("--smooth", 0.5), 1, "tokenizer.json"),
            (checkpoints["bert"], ("--smooth", 2), 2, "smooth"),
            (checkpoints["bert"], ("--calibration", "x"), 2, "--smooth"),
            (checkpoints["bert"], ("--smooth", 0.5, "--calibration", tmp_path / "empty"), 1,
             "no text"),
            (checkpoints["bert"], ("--smooth", 0.5, "--calibration", tmp_path / "binary"), 1,
             "UTF-8")):
        code, out, err = command("map", source, "--machine", "tiny", "--tokens", 5, *arguments,
                                 "--out", tmp_path / "out")
        assert code == status and out == "" and word in err and not (tmp_path / "out").exists()


def test_perplexity_refuses_encoders_and_short_texts(command, images, tmp_path):
    (tmp_path / "text").write_text("a b")
    for folder, word in (("bert", "predicts no text"), ("llama", "must have 2048 tokens")):
        code, out, err = command("perplexity", images[folder], tmp_path / "text")
        assert code == 1 and out == "" and word in err and err.count("\n") == 1
