"""Defines the arithmetic of a transformer's matrix products: linear layers and attention. The array
can run all of it.

:class:`FloatArithmetic` does them in floating point.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bitwright.models.architectures.transformer import LinearShape, Transformer

__all__ = ["Arithmetic", "AttentionCache", "FloatArithmetic", "FloatCache", "weight_of"]

Array = NDArray[np.floating]


class AttentionCache(Protocol):
    """Keys and values of one sequence, by layer.

    Members
    -------
    tokens : how many each layer holds, between two passes through the network
    """
    @property
    def tokens(self) -> int: ...

    def extend(self, layer: int, key: Array, value: Array) -> None:
        """Append new tokens, [T, kv_heads, head] each."""

    def scores(self, layer: int, query: Array) -> Array:
        """Products of ``query`` [T, heads, head] with all keys, [heads, T, all tokens], not yet
        divided by sqrt(head). Query heads are in groups, each of one key head after another."""

    def values(self, layer: int, weights: Array) -> Array:
        """Sums of all values by ``weights`` [heads, T, all tokens]: [T, heads, head]."""


class Arithmetic(Protocol):
    """Runs the matrix products of one model."""

    def linear(self, name: str, x: Array) -> Array:
        """The layer of that canonical name: [T, K] to [T, N], bias and scales included, in the
        dtype of ``x``. T is at least 1."""

    def linears(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Several layers that do not read one another, by name; one after another unless they run
        better together."""
        return {name: self.linear(name, x) for name, x in inputs.items()}

    def cache(self) -> AttentionCache:
        """Return the empty KV cache of a new sequence."""


def weight_of(linear: LinearShape, tensors: Mapping[str, Array]) -> Array:
    """The layer's weight [n, k]. ``ValueError`` if the tensor is missing or of another size."""
    try:
        stored = tensors[linear.tensor]
    except KeyError:
        raise ValueError(f"tensor {linear.tensor} is missing") from None
    if stored.size != linear.n * linear.k:
        raise ValueError(f"tensor {linear.tensor} must be {linear.n} x {linear.k}, not "
                         f"{' x '.join(map(str, stored.shape))}")
    if linear.transposed:
        return stored.reshape(linear.k, linear.n).T
    return stored.reshape(linear.n, linear.k)


class FloatCache:
    """Keys and values as they come, per layer [T, kv_heads, head]."""

    def __init__(self, layers: int) -> None:
        self._kept: list[tuple[Array, Array] | None] = [None] * layers

    @property
    def tokens(self) -> int:
        first = self._kept[0]
        return 0 if first is None else len(first[0])

    def _of(self, layer: int) -> tuple[Array, Array]:
        kept = self._kept[layer]
        if kept is None:
            raise ValueError(f"layer {layer} holds no keys yet")
        return kept

    def extend(self, layer: int, key: Array, value: Array) -> None:
        kept = self._kept[layer]
        self._kept[layer] = (key, value) if kept is None else (
            np.concatenate([kept[0], key]), np.concatenate([kept[1], value]))

    def scores(self, layer: int, query: Array) -> Array:
        key, _ = self._of(layer)
        tokens, heads, size = query.shape
        grouped = query.reshape(tokens, key.shape[1], -1, size).transpose(1, 2, 0, 3)
        found: Array = grouped @ key.transpose(1, 2, 0)[:, None]
        return found.reshape(heads, tokens, len(key))

    def values(self, layer: int, weights: Array) -> Array:
        _, value = self._of(layer)
        heads, tokens, _ = weights.shape
        grouped = weights.reshape(value.shape[1], -1, tokens, len(value))
        found: Array = grouped @ value.transpose(1, 0, 2)[:, None]
        return found.transpose(2, 0, 1, 3).reshape(tokens, heads, -1)


class FloatArithmetic(Arithmetic):
    """Products in the dtype of ``x``.

    ``tensors`` holds weights and biases by canonical name, as the checkpoint stores them; they are
    looked up when a layer runs. ``ValueError`` names one that is missing then.
    """

    def __init__(self, model: Transformer, tensors: Mapping[str, Array]) -> None:
        self._layers = model.layers
        self._linears = {linear.name: linear for linear in model.linears()}
        self._tensors = tensors

    def linear(self, name: str, x: Array) -> Array:
        linear = self._linears[name]
        y: Array = x @ weight_of(linear, self._tensors).T.astype(x.dtype, copy=False)
        if linear.bias_tensor is None:
            return y
        if linear.bias_tensor not in self._tensors:
            raise ValueError(f"tensor {linear.bias_tensor} is missing")
        return y + self._tensors[linear.bias_tensor].astype(x.dtype, copy=False)

    def cache(self) -> FloatCache:
        return FloatCache(self._layers)
