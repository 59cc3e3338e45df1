"""Wraps the integer functions for float arrays: floats in and out, integers inside."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.models.nonlinear import norms
from bitwright.models.nonlinear.activations import CURVES, relu, squared_relu, times_logistic
from bitwright.models.nonlinear.fixed_point import Int, dyadic, fixed_point
from bitwright.models.nonlinear.softmax import MOST, softmax

__all__ = ["ACTIVATIONS", "INTEGER", "Integer"]

Array = NDArray[np.floating]
ACTIVATIONS = (*CURVES, "relu", "relu2")
BIAS_BITS = 41


def _exit(code: Int, fraction: Any, dtype: np.dtype[Any]) -> Array:
    result: Array = np.ldexp(code.astype(np.float64), -fraction).astype(dtype)
    return result


def _gain(weight: Array, bias: Array | None) -> norms.Gain:
    """Weights of 16 bits by their greatest, fewer if the bias is so much greater that it would not
    fit."""
    most = None
    if bias is not None and (top := float(np.abs(np.asarray(bias, dtype=np.float64)).max())):
        most = BIAS_BITS - 2 - int(np.frexp(top)[1]) - norms.FRACTION
    code, fraction = fixed_point(weight, norms.CODE_BITS, most)
    f = int(fraction[0])
    if bias is None:
        return norms.Gain(code, f)
    scaled = np.rint(np.ldexp(np.asarray(bias, dtype=np.float64), f + norms.FRACTION))
    return norms.Gain(code, f, scaled.astype(np.int64))


@dataclass(frozen=True)
class Integer:
    """Functions of a transformer in integers alone, but for entry and exit; every row (last axis)
    is on its own.

    On entry a row becomes codes of ``bits`` bits (8 to 16) with a power-of-two step, the least that
    holds the row (:func:`fixed_point`); for softmax, the distance to the row's
    greatest in steps of ``2**(4 - bits)``. On exit codes are multiplied by a power of two and
    rounded to the dtype of ``x``. A value that is not finite, ``-inf`` for softmax aside, is a
    ``ValueError``. Errors below are against exact arithmetic; ``step`` is the row's.
    """
    bits: int = 16

    def __post_init__(self) -> None:
        if not 8 <= self.bits <= 16:
            raise ValueError(f"bits must be 8 to 16, not {self.bits!r}")

    def softmax(self, x: Array) -> Array:
        """Along the last axis; ``-inf`` gives exactly 0, and a row of nothing else zeros. With
        ``p`` the exact weight, ``top`` the row's greatest and ``d = 2**(3 - bits)``, the error is
        at most ``(exp(2 * d) - 1 + 2.8e-4 + n * top / 2**20) * p + 2**-14.9 * top``."""
        wide = np.asarray(x, dtype=np.float64)
        if not wide.ndim or not 1 <= wide.shape[-1] <= MOST:
            raise ValueError(f"a row must have 1 to {MOST} scores, not {wide.shape[-1:]}")
        if (bad := ~(wide < np.inf)).any():
            at = np.argwhere(bad)[0].tolist()
            raise ValueError(f"scores at {at} must be finite or -inf, not {wide[tuple(at)]}")
        hidden = np.isneginf(wide)
        top = wide.max(axis=-1, keepdims=True)
        below = np.subtract(top, wide, out=np.zeros_like(wide), where=~hidden)
        most = (1 << self.bits) - 1
        code = np.rint(np.minimum(np.ldexp(below, self.bits - 4), most)).astype(np.int64)
        code[hidden & ~np.isneginf(top)] = most
        weight, shift = softmax(code, self.bits)
        return _exit(np.where(hidden, 0, weight), shift, x.dtype)

    def layer_norm(self, x: Array, gain: Array, bias: Array | None, eps: float) -> Array:
        """Along the last axis, 1 to 2**14 long; a row of equal values gives the bias. With ``s =
        sqrt(variance + eps)``, the error before the gain is at most ``step * (2 + |y|) / (2 * s -
        step) + 2**-18 * |y| + 2**-17``, where ``step`` may be up to ``2**-15 * sqrt(eps)`` if the
        row's is finer; the gain has a step of its greatest over 2**14 or less.
        """
        code, fraction, epsilon = self._enter(x, eps)
        g = _gain(gain, bias)
        return _exit(norms.layer_norm(code, fraction, epsilon, g), g.fraction + norms.FRACTION,
                     x.dtype)

    def rms_norm(self, x: Array, gain: Array, eps: float) -> Array:
        """Normalize like :meth:`layer_norm`, with the root mean square for ``s`` and 1 in place of
        2."""
        code, fraction, epsilon = self._enter(x, eps)
        g = _gain(gain, None)
        return _exit(norms.rms_norm(code, fraction, epsilon, g), g.fraction + norms.FRACTION,
                     x.dtype)

    def activation(self, name: str, x: Array) -> Array:
        """``gelu``, ``gelu_tanh``, ``silu``: error at most ``1.1 * step + 4e-5`` (half a step on
        entry, where the slope is up to 1.13, and half on exit); ``relu``: half a step; ``relu2``:
        ``(x + step / 4) * step``. Another name is a ``ValueError``."""
        if name not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
        code, fraction = fixed_point(x, self.bits)
        if name == "relu2":
            return _exit(squared_relu(code), 2 * fraction, x.dtype)
        y = relu(code) if name == "relu" else times_logistic(code, fraction, CURVES[name])
        return _exit(y, fraction, x.dtype)

    def _enter(self, x: Array, eps: float) -> tuple[Int, Int, norms.Epsilon]:
        epsilon = norms.Epsilon(dyadic(eps, norms.EPSILON_BITS) if eps else None)
        code, fraction = fixed_point(x, self.bits, epsilon.most(x.shape[-1]))
        return code, fraction, epsilon


INTEGER = Integer()
