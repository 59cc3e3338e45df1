"""Functions in floating point against their definitions, element by element."""

import math

import numpy as np
import pytest

from bitwright.models.nonlinear.floating_point import ACTIVATIONS, FLOAT

DEFINITIONS = {
    "gelu": lambda v: v / 2 * math.erfc(-v / math.sqrt(2)),
    "gelu_tanh": lambda v: v / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    "silu": lambda v: v / (1 + math.exp(-v)),
    "relu": lambda v: max(v, 0.0),
    "relu2": lambda v: max(v, 0.0) ** 2}


def test_all_activations_are_here():
    assert set(ACTIVATIONS) == set(DEFINITIONS)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-14), (np.float32, 1e-5)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, dtype, tolerance):
    x = np.linspace(-6, 6, 101).astype(dtype)
    found = FLOAT.activation(name, x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, [DEFINITIONS[name](float(v)) for v in x], atol=tolerance)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_far_out_do_not_overflow(name):
    with np.errstate(all="raise", under="ignore"):
        found = FLOAT.activation(name, np.array([-1e4, 1e4], dtype=np.float32))
    assert found[0] == 0 and found[1] == (1e8 if name == "relu2" else 1e4)


def test_rms_norm_by_hand():
    np.testing.assert_allclose(FLOAT.rms_norm(np.array([[3.0, 4.0]]), np.array([1.0, 2.0]), 0.5),
                               [[3 / math.sqrt(13), 8 / math.sqrt(13)]])


def test_layer_norm_by_hand():
    found = FLOAT.layer_norm(np.array([[1.0, 5.0]]), np.array([1.0, 2.0]), np.array([0.5, -1.0]),
                             0.5)
    np.testing.assert_allclose(found, [[0.5 - 2 / math.sqrt(4.5), 4 / math.sqrt(4.5) - 1]])


def test_softmax_by_hand():
    found = FLOAT.softmax(np.array([[1000.0, 1000.0 + math.log(3), -np.inf]], dtype=np.float64))
    np.testing.assert_allclose(found, [[0.25, 0.75, 0]], rtol=1e-12)
