"""Runs a Llama decoder in NumPy. Every linear layer can be replaced by a quantized one.

Weights are a mapping from GGUF tensor name to array. Queries and keys are stored as GGUF stores
them for this architecture: rows permuted so that rotary pairs are neighbours (2i, 2i + 1).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bitwright.models.inference.reference_bert import Linear, float_linear
from bitwright.models.nonlinear.floating_point import FLOAT, silu

__all__ = ["KvCache", "Llama", "LlamaConfig", "rotate"]

Array = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """Sizes of a model; ``head`` is the width of one attention head."""
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    eps: float
    rope_base: float

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "heads", "kv_heads", "head", "vocabulary"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads must be a multiple of the {self.kv_heads} key heads, "
                             f"not {self.heads}")
        if self.head % 2:
            raise ValueError(f"head width must be even for rotary positions, not {self.head}")


class KvCache:
    """Keys and values of the tokens so far, per layer [T, kv_heads, head]."""

    def __init__(self, config: LlamaConfig, dtype: DTypeLike = np.float32) -> None:
        empty = np.zeros((0, config.kv_heads, config.head), dtype=dtype)
        self._kept = [(empty, empty)] * config.layers

    @property
    def tokens(self) -> int:
        return len(self._kept[0][0])

    def extend(self, layer: int, key: Array, value: Array) -> tuple[Array, Array]:
        """Append new tokens of a layer; all of its keys and values."""
        old = self._kept[layer]
        both = np.concatenate([old[0], key]), np.concatenate([old[1], value])
        self._kept[layer] = both
        return both


def rotate(x: Array, positions: NDArray[np.integer], base: float) -> Array:
    """Rotary positions: pair (2i, 2i + 1) of ``x`` [T, heads, head] turned by
    ``position * base**(-2i / head)``."""
    half = x.shape[-1] // 2
    angle = np.multiply.outer(positions, base ** (-np.arange(half) / half))[:, None, :]
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    even, odd = x[..., ::2], x[..., 1::2]
    turned = np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1)
    result: Array = turned.reshape(x.shape)
    return result


class Llama:
    """RMSNorm, rotary positions, grouped-query attention, SwiGLU.

    Parameters
    ----------
    weights : ``token_embd.weight`` [V, D], ``blk.<i>.attn_q.weight`` …, ``output_norm.weight``, and
        ``output.weight`` unless the head is the embedding
    linear : what runs ``y = x @ weight.T`` for a layer named as its tensor without ``.weight``; the
        head is called ``output``
    dtype : of activations; float64 to check float32 against

    ``ValueError`` names a tensor that is missing.
    """

    def __init__(self, config: LlamaConfig, weights: Mapping[str, Array],
                 linear: Linear = float_linear, dtype: DTypeLike = np.float32) -> None:
        self.config, self._weights, self.linear = config, weights, linear
        self.dtype = np.dtype(dtype)
        parts = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate",
                 "ffn_up", "ffn_down")
        needed = ["token_embd.weight", "output_norm.weight",
                  *(f"blk.{i}.{part}.weight" for i in range(config.layers) for part in parts)]
        for name in needed:
            if name not in weights:
                raise ValueError(f"tensor {name} is missing: {config.layers} layers need "
                                 f"{len(needed)} tensors")

    def _run(self, name: str, x: Array) -> Array:
        return self.linear(name, x, self._weights[f"{name}.weight"], None)

    def _norm(self, name: str, x: Array) -> Array:
        return FLOAT.rms_norm(x, self._weights[f"{name}.weight"].astype(x.dtype, copy=False),
                              self.config.eps)

    def _attention(self, layer: int, x: Array, cache: KvCache, start: int) -> Array:
        c = self.config
        positions = np.arange(start, start + len(x))
        query, key, value = (self._run(f"blk.{layer}.attn_{part}", x).reshape(len(x), -1, c.head)
                             for part in "qkv")
        key, value = cache.extend(layer, rotate(key, positions, c.rope_base), value)
        turned = rotate(query, positions, c.rope_base)
        grouped = turned.reshape(len(x), c.kv_heads, -1, c.head).transpose(1, 2, 0, 3)
        scores = grouped @ key.transpose(1, 2, 0)[:, None] * grouped.dtype.type(c.head ** -0.5)
        hidden = np.arange(len(key))[None, :] > positions[:, None]
        scores = np.where(hidden, grouped.dtype.type(-np.inf), scores)
        mixed = FLOAT.softmax(scores) @ value.transpose(1, 0, 2)[:, None]
        return self._run(f"blk.{layer}.attn_output", mixed.transpose(2, 0, 1, 3).reshape(
            len(x), c.heads * c.head))

    def _feed_forward(self, layer: int, x: Array) -> Array:
        gate, up = (self._run(f"blk.{layer}.ffn_{part}", x) for part in ("gate", "up"))
        return self._run(f"blk.{layer}.ffn_down", silu(gate) * up)

    def __call__(self, tokens: NDArray[np.integer], cache: KvCache | None = None) -> Array:
        """Logits [T, V] of ``tokens`` [T], which follow those in ``cache``; the cache takes them
        up. Without a cache they are a text of their own."""
        c, weights = self.config, self._weights
        if tokens.ndim != 1 or not tokens.size:
            raise ValueError(f"tokens must be one or more in a row, not of shape {tokens.shape}")
        if not 0 <= int(tokens.min()) <= int(tokens.max()) < c.vocabulary:
            raise ValueError(f"tokens must be within 0...{c.vocabulary - 1}, not "
                             f"{int(tokens.min())}...{int(tokens.max())}")
        cache = KvCache(c, self.dtype) if cache is None else cache
        start = cache.tokens
        x = weights["token_embd.weight"][tokens].astype(self.dtype)
        for layer in range(c.layers):
            x = x + self._attention(layer, self._norm(f"blk.{layer}.attn_norm", x), cache, start)
            x = x + self._feed_forward(layer, self._norm(f"blk.{layer}.ffn_norm", x))
        head = "output.weight" if "output.weight" in weights else "token_embd.weight"
        return self.linear("output", self._norm("output_norm", x), weights[head], None)
