"""A backend from one file, loaded by ``--plugin``: a layer, a text and a generation run on it."""

import json

import pytest

from bitwright.compiler.backends.registry import BACKENDS
from tests.compiler.plugins.numbers import random_activations
from tests.compiler.tiny import map_tiny, write_checkpoint
from tests.compiler.whole import CONFIGS, TEXT, write_tokenizer

PLUGIN, LAYER = "toy_backend.py", "model.layers.0.mlp.down_proj"
WRONG = """
from bitwright.compiler.backends.backend import Outcome, Reports
from bitwright.compiler.backends.registry import BACKENDS


class Wrong:
    name, title, parallel, reports = "wrong", "wrong", False, Reports(cycles=True, results=True)

    def open(self, machine, memory, say):
        return self

    def run(self, job):
        return Outcome(accumulators=[product.golden ^ 1 for product in job.products])


BACKENDS.register(Wrong())
"""


@pytest.fixture
def mapped(command, tmp_path):
    config, tensors = CONFIGS["llama"]
    checkpoint = write_checkpoint(tmp_path / "model", tensors(), config)
    write_tokenizer(tmp_path / "model")
    code, _, err = map_tiny(command, checkpoint, tmp_path / "out")
    assert code == 0, err
    return tmp_path / "out"


def test_a_layer(bitwright, mapped, tmp_path):
    random_activations(tmp_path, 5, 20)
    arguments = ("run", mapped, "--layer", LAYER, "--input", "a.npy", "--json", "--backend")
    found = json.loads(bitwright(PLUGIN, *arguments, "numpy").stdout)
    golden = json.loads(bitwright("", *arguments, "golden").stdout)
    assert found == golden | {"backend": "numpy"} and found["mismatches"] == 0
    other = json.loads(bitwright(PLUGIN, *arguments, "numpy", "--pe", "serial").stdout)
    assert other["sha256"] == golden["sha256"]


def test_a_text(bitwright, mapped):
    arguments = ("run", mapped, "--text", TEXT, "--backend")
    done = bitwright(PLUGIN, *arguments, "numpy", "--json")
    found, model = json.loads(done.stdout), json.loads(
        bitwright("", *arguments, "cycles", "--json").stdout)
    assert found["logits"] == model["logits"] and found["first_difference"] is None
    assert found["totals"] == model["totals"] | {"mismatching_bits": 0}
    launches = found["totals"]["launches"]
    assert launches == 7 and f"tiny: {launches} launches\n" in done.stderr
    said = bitwright(PLUGIN, *arguments, "numpy").stdout
    assert "equal to the last bit\n" in said and "NumPy" not in said.replace("numpy", "")


def test_a_generation(bitwright, mapped):
    arguments = ("generate", mapped, "--prompt", "a b", "--tokens", 2, "--json", "--backend")
    found = json.loads(bitwright(PLUGIN, *arguments, "numpy").stdout)
    golden = json.loads(bitwright("", *arguments, "golden").stdout)
    assert found["ids"] == golden["ids"] and found["totals"]["mismatching_bits"] == 0


def test_differences_are_found(bitwright, mapped, tmp_path):
    plugin = tmp_path / "wrong.py"
    plugin.write_text(WRONG)
    done = bitwright(plugin, "run", mapped, "--layer", LAYER, "--backend", "wrong", "--json",
                     status=1)
    assert json.loads(done.stdout)["mismatches"] == 5 * 16
    done = bitwright(plugin, "run", mapped, "--text", TEXT, "--backend", "wrong", "--json",
                     status=1)
    found = json.loads(done.stdout)
    assert found["totals"]["mismatching_bits"] == found["totals"]["accumulators"]
    assert found["first_difference"] == "model.layers.0.self_attn.q_proj"


def test_without_the_plug_in_it_is_unknown(bitwright, mapped):
    done = bitwright("", "run", mapped, "--layer", LAYER, "--backend", "numpy", status=2)
    assert "must be one of golden, cycles, rtl, not 'numpy'" in " ".join(
        done.stderr.replace("│", " ").split())
    assert "numpy" not in BACKENDS
