"""A family from one file, loaded by ``--plugin``: mapped, run, and compared with NumPy."""

import json

import numpy as np
import pytest

from tests.compiler.plugins.numbers import digest, random_activations
from tests.compiler.tiny import write_checkpoint
from tests.compiler.whole import TEXT, WORDS, write_tokenizer

PLUGIN, TOKENS, WIDTH, INNER, HEADS = "toy_family.py", 5, 16, 24, 2
CONFIG = {"model_type": "toy", "architectures": ["ToyForCausalLM"], "width": WIDTH,
          "inner": INNER, "depth": 2, "heads": HEADS, "places": 8, "vocab_size": len(WORDS),
          "rms_norm_eps": 1e-6}


def toy_tensors():
    """Matrices hold whole eighths from -8/8 to 7/8, the least in every row: exact in int4."""
    rng = np.random.default_rng(5)
    shapes = {"query": (WIDTH, WIDTH), "key": (WIDTH, WIDTH), "value": (WIDTH, WIDTH),
              "mix": (WIDTH, WIDTH), "up": (INNER, WIDTH), "down": (WIDTH, INNER)}
    found = {"norm.weight": np.ones(WIDTH), "places.weight": rng.normal(size=(8, WIDTH)),
             "words.weight": whole(rng, len(WORDS), WIDTH)}
    for layer in range(2):
        at = f"blocks.{layer}"
        found |= {f"{at}.norm_{norm}.weight": rng.uniform(0.5, 1.5, WIDTH) for norm in (1, 2)}
        found |= {f"{at}.{name}.weight": whole(rng, *shape) for name, shape in shapes.items()}
    return {name: value.astype(np.float32) for name, value in found.items()}


def whole(rng, n, k):
    values = rng.integers(-8, 8, (n, k))
    values[:, 0] = -8
    return values / 8


@pytest.fixture
def mapped(bitwright, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model", toy_tensors(), CONFIG)
    write_tokenizer(tmp_path / "model")
    bitwright(PLUGIN, "map", checkpoint, "--machine", "tiny", "--weights", "int4", "--group-size",
              0, "--tokens", TOKENS, "--out", "out")
    return tmp_path / "out"


def test_every_layer_has_the_sums_of_numpy(bitwright, mapped, tmp_path):
    layers = json.loads((mapped / "report.json").read_text())["layers"]
    assert len(layers) == 2 * 6 + 1 and layers[-1]["name"] == "lm_head"
    tensors = toy_tensors()
    for name in ("blocks.0.query", "blocks.1.down", "lm_head"):
        w = tensors["words.weight" if name == "lm_head" else f"{name}.weight"]
        a = random_activations(tmp_path, TOKENS, w.shape[1])
        found = json.loads(bitwright("", "run", mapped, "--layer", name, "--backend", "golden",
                                     "--input", "a.npy", "--json").stdout)
        integers = np.rint(w * 8).astype(np.int64)
        assert found["sha256"] == digest(a @ integers.T)


def forward(ids, tensors):
    """The last token's logits of the model, as its definition has them."""
    def norm(name, x):
        return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-6) * tensors[f"{name}.weight"]

    x = tensors["words.weight"][ids] + tensors["places.weight"][:len(ids)]
    for layer in range(2):
        w = {name: tensors[f"blocks.{layer}.{name}.weight"].T
             for name in ("query", "key", "value", "mix", "up", "down")}
        y = norm(f"blocks.{layer}.norm_1", x)
        q, k, v = ((y @ w[name]).reshape(len(ids), HEADS, -1).swapaxes(0, 1)
                   for name in ("query", "key", "value"))
        scores = q @ k.swapaxes(1, 2) / np.sqrt(WIDTH / HEADS)
        scores = np.where(np.tri(len(ids), dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        x = x + (weights @ v).swapaxes(0, 1).reshape(len(ids), -1) @ w["mix"]
        x = x + np.maximum(norm(f"blocks.{layer}.norm_2", x) @ w["up"], 0) @ w["down"]
    return (norm("norm", x) @ tensors["words.weight"].T)[-1]


def test_the_whole_model_is_that_of_numpy(bitwright, mapped):
    found = json.loads(bitwright(PLUGIN, "run", mapped, "--text", TEXT, "--backend", "golden",
                                 "--kv", "float", "--json").stdout)
    expected = forward([WORDS.index(word) for word in TEXT.split()], toy_tensors())
    logits = np.array(found["logits"])
    assert logits.argmax() == expected.argmax()
    # Activations are rounded to eight bits in front of every layer; weights are exact.
    assert np.abs(logits - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("change, said", [
    ({"width": None}, "config: width is missing"),
    ({"dropout": 0.1}, "config: dropout must be 0.0, not 0.1"),
    ({"hidden_act": "tanh"}, "config: hidden_act must be 'relu', not 'tanh'"),
])
def test_a_configuration_that_is_refused(bitwright, tmp_path, change, said):
    checkpoint = write_checkpoint(tmp_path / "model", toy_tensors(), CONFIG | change)
    done = bitwright(PLUGIN, "map", checkpoint, "--out", "out", status=1)
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_without_the_plug_in_it_is_unknown(bitwright, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model", toy_tensors(), CONFIG)
    done = bitwright("", "map", checkpoint, "--out", "out", status=1)
    assert "['ToyForCausalLM'] is no known model; known are bert, llama" in done.stderr
