"""What the host does by choice: rotated inputs, and functions in integers alone."""

import numpy as np
import pytest

from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.runtime.run_layer import matrix
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.quantization.hadamard import rotate
from bitwright.models.quantization.rounding import quantize_activations
from tests.compiler.tiny import bert_tensors
from tests.compiler.whole import TEXT, call

NAME = "encoder.layer.0.output.dense"     # 24 inputs, for which there is a matrix: 12 times 2


@pytest.fixture(scope="module")
def rotated(checkpoints, tmp_path_factory):
    out = tmp_path_factory.mktemp("rotated") / "bert"
    map_checkpoint(checkpoints["bert"], out, PRESETS["tiny"],
                   Options(tokens=5, group_size=8, weights="int8", rotate=True))
    return out


def test_rotation_changes_weights_and_not_the_model(command, checkpoints, rotated, tmp_path):
    image = open_image(rotated)
    assert image.options.rotate
    weight = bert_tensors()[f"{NAME}.weight"]
    stored = matrix(image, image.layer(NAME)).dequantize()
    np.testing.assert_allclose(stored, rotate(weight.astype(np.float64)), atol=0.03)
    assert np.abs(stored - weight).max() > 0.2
    found = call(command, "run", rotated, "--text", TEXT, "--checkpoint", checkpoints["bert"])
    assert found["cosine"] > 0.999
    x = np.random.default_rng(3).normal(size=(5, weight.shape[1])).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "a.npy", quantize_activations(rotate(x))[0])
    digests = [call(command, "run", rotated, "--layer", NAME, "--input",
                    tmp_path / file)["sha256"] for file in ("x.npy", "a.npy")]
    assert digests[0] == digests[1]


def test_a_rotated_model_on_the_rtl(command, rotated):
    found = call(command, "run", rotated, "--text", TEXT, "--backend", "rtl")
    golden = call(command, "run", rotated, "--text", TEXT)
    assert found["embedding"] == golden["embedding"]
    assert found["first_difference"] is None


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_functions_in_integers_come_close(command, images, name):
    exact = call(command, "run", images[name], "--text", TEXT)
    found = call(command, "run", images[name], "--text", TEXT, "--functions", "integer")
    key = "embedding" if name == "bert" else "logits"
    a, b = np.array(exact[key]), np.array(found[key])
    assert not np.array_equal(a, b)
    assert a @ b / np.sqrt((a @ a) * (b @ b)) > 0.999


def test_wrong_options(command, images, tmp_path):
    code, _, err = command("run", images["bert"], "--text", TEXT, "--functions", "fixed")
    assert code == 2 and "float, integer" in err.replace("\n", " ")
