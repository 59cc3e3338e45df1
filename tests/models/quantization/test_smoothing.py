import numpy as np
import pytest

from bitwright.models.quantization.smoothquant import input_scale


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 1.0])
def test_the_factor_is_between_those_of_weights_and_activations(strength):
    x, w = [1.0, 4.0, 32.0], [[0.5, -2.0, 1.0], [-1.0, 1.0, 0.25]]
    found = input_scale(np.array(x), np.array(w), strength)
    assert found.dtype == np.float32
    for value, a, b in zip(found, x, (1.0, 2.0, 1.0), strict=True):
        assert np.isclose(value, b ** (1 - strength) / a ** strength)


def test_the_product_stays():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(3, 20)) * 10.0 ** rng.integers(-2, 3, 20), rng.normal(size=(4, 20))
    scale = input_scale(np.abs(x).max(axis=0), w, 0.5)
    np.testing.assert_allclose((x * scale) @ (w / scale).T, x @ w.T)


def test_unused_features_count_as_a_32nd_of_the_greatest():
    found = input_scale(np.array([64.0, 1e-9, 0.0]), np.array([[1.0, 8.0, 0.0]]), 0.5)
    np.testing.assert_allclose(found, [np.sqrt(1 / 64), np.sqrt(8 / 2), np.sqrt(0.25 / 2)],
                               rtol=1e-6)
    zero = input_scale(np.zeros(2), np.zeros((1, 2)), 0.5)
    assert np.isfinite(zero).all() and (zero > 0).all()


def test_strength_is_a_share():
    with pytest.raises(ValueError, match="0 to 1"):
        input_scale(np.ones(1), np.ones((1, 1)), 1.5)
