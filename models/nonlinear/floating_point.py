"""Computes the functions between a transformer's matrix products, in floating point."""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

__all__ = ["ACTIVATIONS", "FLOAT", "FloatFunctions", "Functions"]

Array = NDArray[np.floating]


class Functions(Protocol):
    """Arrays of floats in and out, in the dtype of ``x``; each works along the last axis."""

    def softmax(self, x: Array) -> Array:
        """Entries of minus infinity become 0; one of each row must be finite."""

    def layer_norm(self, x: Array, gain: Array, bias: Array, eps: float) -> Array:
        """Each row to mean 0 and (biased) variance 1, then ``* gain + bias``."""

    def rms_norm(self, x: Array, gain: Array, eps: float) -> Array:
        """``x / sqrt(mean(x**2) + eps) * gain``."""

    def activation(self, name: str, x: Array) -> Array:
        """Apply the function ``name`` of :data:`ACTIVATIONS` to every entry."""


def gelu(x: Array) -> Array:
    """``x/2 * (1 + erf(x / sqrt 2))``, the exact form."""
    half = x.dtype.type(0.5)
    result: Array = half * x * (1 + erf(x * x.dtype.type(math.sqrt(0.5))))
    return result


def gelu_tanh(x: Array) -> Array:
    """``x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3)))``."""
    of = x.dtype.type
    inner = of(math.sqrt(2 / math.pi)) * (x + of(0.044715) * x * x * x)
    result: Array = of(0.5) * x * (1 + np.tanh(inner))
    return result


def silu(x: Array) -> Array:
    """``x / (1 + exp(-x))``."""
    result: Array = x * expit(x)
    return result


def relu(x: Array) -> Array:
    """``x`` where that is positive, else 0."""
    return np.maximum(x, x.dtype.type(0))


def relu2(x: Array) -> Array:
    """``relu(x) ** 2``."""
    return np.square(relu(x))


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu, "gelu_tanh": gelu_tanh, "silu": silu, "relu": relu, "relu2": relu2}
ACTIVATIONS = tuple(_ACTIVATIONS)


class FloatFunctions:
    """The definitions, in the dtype of ``x`` throughout."""

    def softmax(self, x: Array) -> Array:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        result: Array = e / e.sum(axis=-1, keepdims=True)
        return result

    def layer_norm(self, x: Array, gain: Array, bias: Array, eps: float) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + x.dtype.type(eps))
        result: Array = centred / deviation * gain + bias
        return result

    def rms_norm(self, x: Array, gain: Array, eps: float) -> Array:
        mean = np.square(x).mean(axis=-1, keepdims=True)
        result: Array = x / np.sqrt(mean + x.dtype.type(eps)) * gain
        return result

    def activation(self, name: str, x: Array) -> Array:
        return _ACTIVATIONS[name](x)


FLOAT = FloatFunctions()
