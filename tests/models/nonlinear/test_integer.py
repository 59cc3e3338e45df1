"""Integer softmax, activations and norms against float64, within the bounds they state."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.special import erf, expit

from bitwright.models.nonlinear.activations import CURVES, squared_relu, times_logistic
from bitwright.models.nonlinear.fixed_point import Dyadic, dyadic
from bitwright.models.nonlinear.integer import INTEGER, Integer
from bitwright.models.nonlinear.norms import Epsilon, Gain, layer_norm
from bitwright.models.nonlinear.softmax import distances, softmax

EXACT = {
    "gelu": lambda x: x / 2 * (1 + erf(x / np.sqrt(2))),
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3))),
    "silu": lambda x: x * expit(x), "relu": lambda x: np.maximum(x, 0),
    "relu2": lambda x: np.maximum(x, 0) ** 2}


def step(x, bits=16):
    """Step of each row's codes: the least power of two that holds it."""
    top = np.abs(x).max(axis=-1, keepdims=True)
    f = bits - 1 - np.frexp(top)[1]
    f -= np.rint(np.ldexp(top, f)) >= 2 ** (bits - 1)
    return np.ldexp(1.0, -f)


def exact_softmax(x):
    with np.errstate(invalid="ignore"):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# Activations

@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("fraction", [-1000, -50, -2, 0, 3, 7, *range(9, 19), 24, 50, 1000])
def test_every_code_of_every_step(name, fraction):
    x = np.arange(-32768, 32768)
    y = times_logistic(x, np.array(fraction), CURVES[name])
    with np.errstate(under="ignore", over="ignore"):
        exact = np.nan_to_num(EXACT[name](np.ldexp(x.astype(float), -fraction)), neginf=0, posinf=0)
    one = np.ldexp(1.0, -fraction)
    assert (np.abs(y * one - exact) <= one / 2 + 4e-5).all()
    assert y[32768] == 0


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1, 8, 300, 1e6, 1e18])
def test_activation_of_floats(name, bits, scale):
    x = np.concatenate([np.linspace(-1, 1, 4001), np.random.default_rng(seed=6).normal(size=4000)])
    x = x.reshape(1, -1) * scale
    one = step(x, bits)
    bound = {"relu": one / 2, "relu2": (np.abs(x) + one / 4) * one}.get(name, 1.1 * one + 4e-5)
    assert (np.abs(Integer(bits).activation(name, x) - EXACT[name](x))
            <= bound + 1e-12 * np.square(x)).all()


def test_activation_keeps_shape_dtype_and_rows_apart():
    x = np.random.default_rng(seed=7).normal(size=(2, 3, 5)).astype(np.float32)
    x[1, 2] *= 1000
    for name in EXACT:
        y = INTEGER.activation(name, x)
        assert y.shape == x.shape and y.dtype == np.float32
        for i, j in np.ndindex(2, 3):
            assert np.array_equal(y[i, j], INTEGER.activation(name, x[i, j]))
        assert not INTEGER.activation(name, np.zeros((2, 3))).any()
    with pytest.raises(ValueError, match="activation must be one of gelu,.*not 'swish'"):
        INTEGER.activation("swish", x)
    with pytest.raises(ValueError, match="must be finite"):
        INTEGER.activation("silu", np.array([1.0, np.nan]))


def test_squared_relu_is_exact():
    x = np.arange(-32768, 32768)
    assert np.array_equal(squared_relu(x), np.where(x > 0, x * x, 0))


# Softmax

def test_every_distance_beside_the_greatest():
    d = np.arange(1 << 16)
    code, shift = softmax(np.stack([0 * d, d], axis=-1))
    exact = exact_softmax(np.stack([0 * d, -d / 4096], axis=-1))
    top = exact.max(axis=-1, keepdims=True)
    assert (np.abs(code / 2.0 ** shift - exact)
            <= 2.7e-4 * exact + top * (2.0 ** -15 + 2.0 ** -20)).all()
    assert code[-1].tolist() == [1 << 15, 0] and code[0].tolist() == [1 << 15, 1 << 15]
    assert shift[0] == 16 and shift[-1] == 15


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("n", [1, 2, 3, 100, 2048, 1 << 19])
def test_softmax_of_floats(bits, n):
    rng = np.random.default_rng(seed=n)
    rows = 6 if n < 1 << 19 else 1
    for scale in (0, 0.3, 4, 50, 1e5, 1e30):
        x = rng.normal(size=(rows, n)) * scale + 3 * scale
        p, y = exact_softmax(x), Integer(bits).softmax(x)
        top = p.max(axis=-1, keepdims=True)
        relative = np.expm1(2 * 2.0 ** (3 - bits)) + 2.8e-4 + n * top / 2 ** 20
        assert (np.abs(y - p) <= relative * p + top * 2.0 ** -14.9).all(), scale
        assert (y >= 0).all()


def test_softmax_of_hidden_scores():
    x = np.array([[1.0, -np.inf, 2.0], [-np.inf, -5e30, -np.inf], [-np.inf] * 3], dtype=np.float32)
    for bits in (8, 16):
        y = Integer(bits).softmax(x)
        assert y.dtype == np.float32 and (y[np.isneginf(x)] == 0).all()
        assert y[1].tolist() == [0, 1, 0] and y[2].tolist() == [0, 0, 0]
        np.testing.assert_allclose(y[0, [0, 2]], exact_softmax(np.array([1.0, 2])), atol=0.03)
        assert np.array_equal(y[0, [0, 2]], Integer(bits).softmax(x[0, [0, 2]]))
    for bad in (np.inf, np.nan):
        with pytest.raises(ValueError, match=r"scores at \[1\] must be finite or -inf"):
            INTEGER.softmax(np.array([0, bad]))
    for empty in (np.zeros((2, 0)), np.float64(1)):
        with pytest.raises(ValueError, match="a row must have 1 to"):
            INTEGER.softmax(empty)


def test_equal_scores_share_equally():
    for n in (1, 2, 4, 1024, 1 << 19):
        assert (INTEGER.softmax(np.full(n, -7.5)) == 1 / n).all()
    for n in (3, 7, 1000):
        y = INTEGER.softmax(np.full(n, 1e9))
        assert np.ptp(y) == 0 and abs(y[0] * n - 1) < 2 ** -14


def test_distances_of_integer_scores():
    rng = np.random.default_rng(seed=8)
    scores = np.concatenate([rng.integers(-2 ** 31, 2 ** 31, 500), [-2 ** 31, 2 ** 31 - 1]])
    for scale in (dyadic(3e-9), dyadic(1e-8), dyadic(0.7), Dyadic(1, 0), Dyadic(65535, 12),
                  dyadic(1e-30)):
        top = int(scores.max())
        exact = [min(int(Fraction((top - int(s)) * scale.multiplier) * 4096 / 2 ** scale.shift
                         + Fraction(1, 2)), 65535) for s in scores]
        assert distances(scores, scale).tolist() == exact
    with pytest.raises(ValueError, match="scale must be below"):
        distances(scores, Dyadic(1 << 15, 11))


# Norms

def norm_cases():
    rng = np.random.default_rng(seed=9)
    for n in (1, 2, 3, 64, 384, 4096, 1 << 14):
        for scale in (0, 1e-30, 1e-8, 1e-4, 1, 1e4, 1e30):
            rows = rng.normal(size=(4, n)) * scale
            rows[1] += 100 * scale
            rows[2] = scale
            rows[3, 0] = 3000 * scale
            yield rows


@pytest.mark.parametrize("eps", [0, 1e-12, 1e-5, 0.5])
@pytest.mark.parametrize("bits", [8, 16])
def test_norms_within_their_bound(eps, bits):
    functions = Integer(bits)
    for x in norm_cases():
        n = x.shape[-1]
        one = np.maximum(step(x, bits), 0 if not eps else np.sqrt(eps) * 2.0 ** -15)
        gain = np.ones(n)
        for y, centred, near in ((functions.layer_norm(x, gain, None, eps), True, 2),
                                 (functions.rms_norm(x, gain, eps), False, 1)):
            c = x - x.mean(axis=-1, keepdims=True) if centred else x
            c[2] = 0 if centred else c[2]
            s = np.sqrt(np.square(c).mean(axis=-1, keepdims=True) + eps)
            exact = c / np.where(s == 0, 1, s)
            room = np.maximum(2 * s - one, 0)
            with np.errstate(divide="ignore", invalid="ignore"):
                bound = np.nan_to_num(one * (near + np.abs(exact)) / room, nan=np.inf,
                                      posinf=np.inf)
            bound = np.where(s == 0, 0, bound) + np.abs(exact) / 2 ** 18 + 2.0 ** -17
            assert (np.abs(y - exact) <= bound).all(), (n, x[0, 0])
            assert (np.abs(y) < 128.01).all()


def test_equal_values_give_the_bias():
    gain, bias = np.linspace(-3, 3, 7), np.linspace(5, 4, 7)
    for value in (0.0, 1.0, -1e30, 1e-30):
        y = INTEGER.layer_norm(np.full((2, 7), value), gain, bias, 1e-5)
        np.testing.assert_allclose(y, np.stack([bias, bias]), atol=1e-6)
    assert not INTEGER.rms_norm(np.zeros((2, 7)), gain, 0).any()


@pytest.mark.parametrize("most, offset", [(1, 1), (30, 0.01), (1e-6, 1), (1, 1e6), (1e-20, 1e20),
                                          (0, 1), (1, 0)])
def test_gain_and_bias(most, offset):
    rng = np.random.default_rng(seed=10)
    x = rng.normal(size=(9, 50)).astype(np.float32)
    gain, bias = rng.normal(size=50) * most, rng.normal(size=50) * offset
    plain = INTEGER.layer_norm(x.astype(np.float64), np.ones(50), None, 1e-5)
    y = INTEGER.layer_norm(x.astype(np.float64), gain, bias, 1e-5)
    unit = max(np.abs(gain).max() / 2 ** 14, offset / 2 ** 20)
    np.testing.assert_array_less(np.abs(y - (plain * gain + bias)),
                                 np.abs(plain) * unit + offset / 2 ** 30 + 1e-9)
    single = INTEGER.layer_norm(x, gain, bias, 1e-5)
    assert single.dtype == np.float32 and np.array_equal(single, y.astype(np.float32))


def test_layer_norm_of_codes_is_exact_but_for_the_stated_roundings():
    rng = np.random.default_rng(seed=11)
    x = rng.integers(-32768, 32768, (20, 33))
    y = layer_norm(x, np.full((20, 1), 10), Epsilon(None), Gain(np.full(33, 1), 0))
    exact = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    assert np.abs(y / 2 ** 16 - exact).max() <= 2.0 ** -17 + np.abs(exact).max() * 2.0 ** -19
    ends = np.where(np.arange(1 << 14) % 2, 32767, -32768)[None]
    assert np.array_equal(layer_norm(ends, np.array([[0]]), Epsilon(None),
                                     Gain(np.full(1 << 14, 3), 0)),
                          np.where(ends > 0, 3, -3) << 16)


def test_limits_name_themselves():
    with pytest.raises(ValueError, match="bits must be 8 to 16, not 17"):
        Integer(17)
    for n in (0, (1 << 14) + 1):
        with pytest.raises(ValueError, match="a row must have 1 to 16384 values"):
            INTEGER.rms_norm(np.ones((1, n)), np.ones(n), 1e-5)
