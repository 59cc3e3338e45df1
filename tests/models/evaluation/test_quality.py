"""Squared errors of a checkpoint's matrices, and their command."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from bitwright.models.evaluation.weight_errors import Errors, matrices, measure, summary
from bitwright.models.quantization.schemes import quantize

RNG = np.random.default_rng(seed=1)
TENSORS = {
    "b.weight": RNG.normal(size=(6, 128)).astype(np.float32),
    "a.weight": RNG.laplace(size=(4, 256)).astype(np.float16),
    "a.bias": np.ones(4, np.float32),
    "norm.weight": np.ones(4, np.float32),
    "table": np.ones((2, 2), np.float32),
}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path)
    return path


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "models", *map(str, arguments)], timeout=60,
                          capture_output=True, text=True)


def test_matrices(checkpoint):
    found = dict(matrices(checkpoint))
    assert list(found) == ["a.weight", "b.weight"]
    for name, values in found.items():
        assert values.dtype == np.float64 and np.array_equal(values, TENSORS[name])
    assert [name for name, _ in matrices(checkpoint, "b")] == ["b.weight"]


def test_measure(checkpoint):
    for errors in measure(checkpoint, ["int4", "mxfp4"], None):
        w = TENSORS[errors.matrix].astype(float)
        assert errors.shape == w.shape and errors.power == np.square(w).sum()
        for name, error in errors.squared_error.items():
            assert error == np.square(quantize(w, name).dequantize() - w).sum()
    (only,) = measure(checkpoint, ["fp4"], 32, True, "a")
    w = TENSORS["a.weight"].astype(float)
    searched = quantize(w, "fp4", 32, clip_search=True).dequantize()
    assert only.squared_error == {"fp4": np.square(searched - w).sum()}


def test_summary():
    found = [Errors(matrix=name, shape=(1, 1), power=100.0, squared_error=dict(x=x, y=y))
             for name, x, y in [("one", 1.0, 2.0), ("two", 1.0, 0.5), ("three", 0.0, 0.0)]]
    assert summary(found, "x", "y") == {
        "name": "x", "sqnr_db": pytest.approx(10 * np.log10(150)), "least_ratio": 0.5,
        "greatest_ratio": 2.0, "worst_matrix": "two"}
    assert summary(found[2:], "x", "y")["sqnr_db"] == np.inf


def test_command(checkpoint):
    arguments = ("error", checkpoint, "--weights", "int4", "--weights", "bitmod4", "--group-size",
                 "64", "--base", "fp4")
    done = run(*arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert [row["matrix"] for row in rows] == ["a.weight", "b.weight"]
    assert list(rows[0]["squared_error"]) == ["int4", "bitmod4", "fp4"]
    table = run(*arguments).stdout
    assert "2 matrices" in table and "bitmod4" in table and "fp4" in table


@pytest.mark.parametrize("arguments, status, message", [
    (["--weights", "int9"], 2, "error: weights must be one of"),
    (["--weights", "mxfp4", "--group-size", "64"], 1, "error: group size of mxfp4 must be 32"),
    (["--weights", "int4", "--only", "nope"], 1, "must hold a matrix called"),
])
def test_command_refuses(checkpoint, arguments, status, message):
    done = run("error", checkpoint, *arguments)
    assert done.returncode == status and message in done.stderr and done.stderr.count("\n") == 1


def test_no_checkpoint(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"12345678nonsense")
    for path in (tmp_path / "none", broken):
        done = run("error", path, "--weights", "int4")
        assert done.returncode == 1 and done.stderr.startswith("error: checkpoint ")
        assert done.stderr.count("\n") == 1
