"""Attention on the array: keys and values as low-bit matrices that grow with the sequence.

A key row is quantized per token and key head, in groups within the head: the matrix
[tokens, head] gives scores. A value row is quantized per token and key head too; its scale is
multiplied into the softmax's weights before these become integers, so that the matrix
[head, tokens] has unit scales. Codes never change when tokens are added.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.ir.kv_format import KeyForm
from bitwright.compiler.runtime.launcher import Launches, Product
from bitwright.hw.packing.weight_image import pack_weights
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.models.quantization.rounding import quantize_activations
from bitwright.models.quantization.rtn import quantize_weights

__all__ = ["CodeCache"]

SCORES, VALUES = "attention_scores", "attention_values"

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """One layer. ``keys`` [kv_heads, T, head] and ``values`` [kv_heads, T, head] are the integers
    that activations meet, float64; codes are as they are stored, keys padded to whole groups."""
    keys: NDArray[np.float64]
    key_codes: NDArray[np.uint8]        # [kv_heads, T, padded head]
    key_mantissa: NDArray[np.int16]     # [kv_heads, T, groups]
    key_scale: NDArray[np.float64]      # [kv_heads, T]
    values: NDArray[np.float64]
    value_codes: NDArray[np.uint8]
    value_scale: NDArray[np.float64]    # [kv_heads, T]

    def then(self, other: "_Kept") -> "_Kept":
        return _Kept(**{name: np.concatenate([mine, getattr(other, name)], axis=1)
                        for name, mine in vars(self).items()})


class CodeCache:
    """A :class:`AttentionCache` whose products are launches of the array, those
    of a layer's heads together."""

    def __init__(self, launches: Launches, form: KeyForm, layers: int) -> None:
        self._launches, self.form = launches, form
        self._kept: list[_Kept | None] = [None] * layers

    @property
    def tokens(self) -> int:
        first = self._kept[0]
        return 0 if first is None else first.keys.shape[1]

    def _of(self, layer: int) -> _Kept:
        kept = self._kept[layer]
        if kept is None:
            raise ValueError(f"layer {layer} holds no keys yet")
        return kept

    def _coded(self, key: Floats, value: Floats) -> _Kept:
        tokens, kv_heads, head = key.shape

        def by_head(array: NDArray[Any]) -> NDArray[Any]:
            return array.reshape(tokens, kv_heads, *array.shape[1:]).swapaxes(0, 1)

        bits = self.form.scale_bits(head, self._launches.machine.act_bits)
        keys = quantize_weights(key.reshape(-1, head), self.form.datatype, self.form.group(head),
                                scale_bits=bits)
        values = quantize_weights(value.reshape(-1, head), self.form.datatype)
        return _Kept(
            keys=by_head(keys.by_feature.astype(np.float64)), key_codes=by_head(keys.codes),
            key_mantissa=by_head(keys.scale_mantissa), key_scale=by_head(keys.channel_scale),
            values=by_head(values.weights.astype(np.float64)), value_codes=by_head(values.codes),
            value_scale=by_head(values.channel_scale))

    def extend(self, layer: int, key: Floats, value: Floats) -> None:
        added, kept = self._coded(key, value), self._kept[layer]
        self._kept[layer] = added if kept is None else kept.then(added)

    def _product(self, operator: str, layer: int, a: NDArray[np.integer], y: NDArray[np.int64],
                 matrix: Callable[[], QuantizedMatrix]) -> Product:
        """``matrix`` is made only where a backend needs it."""
        (m, k), n = a.shape, y.shape[1]
        spec = self.form.spec(self._launches.machine, operator == VALUES, m, k, n)
        return Product(operator=operator, name=f"{operator} of layer {layer}",
                       datatype=self.form.name, spec=spec, a=a, y=y,
                       packed=lambda plan: pack_weights(plan, matrix()),
                       weights=lambda: matrix().effective[:, :k])

    def _rows(self, heads: NDArray[Any], kept: _Kept) -> NDArray[Any]:
        """[heads, T, …] as [kv_heads, group of heads · T, …]: query heads count as tokens."""
        return heads.reshape(len(kept.keys), -1, heads.shape[2])

    def scores(self, layer: int, query: Floats) -> Floats:
        kept, (tokens, heads, _) = self._of(layer), query.shape
        rows = self._rows(query.swapaxes(0, 1), kept)
        found = np.empty((*rows.shape[:2], kept.keys.shape[1]), dtype=query.dtype)
        products = []
        for number, row in enumerate(rows):
            a, sx = quantize_activations(row, self._launches.machine.act_bits)
            y = (a.astype(np.float64) @ kept.keys[number].T).astype(np.int64)
            found[number] = np.multiply.outer(sx, kept.key_scale[number]) * y
            products.append(self._product(SCORES, layer, a, y,
                                          partial(self._key_matrix, kept, number)))
        self._launches.launch(*products)
        return found.reshape(heads, tokens, -1)

    def _key_matrix(self, kept: _Kept, number: int) -> QuantizedMatrix:
        head, mantissa = kept.keys.shape[2], kept.key_mantissa[number]
        return QuantizedMatrix(
            datatype=self.form.datatype, codes=kept.key_codes[number],
            group_size=self.form.group(head), k_logical=head, scale_mantissa=mantissa,
            scale_shift=np.zeros(mantissa.shape, dtype=np.uint8),
            channel_scale=kept.key_scale[number])

    def _value_matrix(self, kept: _Kept, number: int) -> QuantizedMatrix:
        codes = np.ascontiguousarray(kept.value_codes[number].T)
        return QuantizedMatrix(
            datatype=self.form.datatype, codes=codes, group_size=codes.shape[1],
            scale_mantissa=np.ones((len(codes), 1), dtype=np.int16),
            scale_shift=np.zeros((len(codes), 1), dtype=np.uint8),
            channel_scale=np.ones(len(codes)))

    def values(self, layer: int, weights: Floats) -> Floats:
        kept, (heads, tokens, total) = self._of(layer), weights.shape
        rows, bits = self._rows(weights, kept), self.form.weight_bits(
            total, self._launches.machine.act_bits)
        found = np.empty((*rows.shape[:2], kept.values.shape[2]), dtype=weights.dtype)
        products = []
        for number, row in enumerate(rows):
            # Relative to the greatest, so that scales of any size make activations near 1.
            top = kept.value_scale[number].max()
            a, sx = quantize_activations(row * (kept.value_scale[number] / top), bits)
            y = (a.astype(np.float64) @ kept.values[number]).astype(np.int64)
            found[number] = (sx * top)[:, None] * y
            products.append(self._product(VALUES, layer, a, y,
                                          partial(self._value_matrix, kept, number)))
        self._launches.launch(*products)
        return found.reshape(heads, tokens, -1).swapaxes(0, 1)
