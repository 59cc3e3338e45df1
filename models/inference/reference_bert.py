"""Runs a BERT encoder in NumPy. Every linear layer can be replaced by a quantized one.

Configurations are the keys of ``config.json``; weights are a dict from tensor name to array, named
as in the checkpoint (``encoder.layer.0.attention.self.query.weight``). A linear layer's name is its
tensor's without ``.weight``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from bitwright.models.inference.golden import dequantize_output, mpgemm
from bitwright.models.nonlinear.floating_point import FLOAT, gelu
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.models.quantization.rounding import quantize_activations

Array = NDArray[np.floating]
Weights = Mapping[str, Array]


class Linear(Protocol):
    """``x @ weight.T + bias`` or something close to it, in the dtype of ``x``.

    ``name`` of the layer, ``x`` [T, K], ``weight`` [N, K], ``bias`` [N] or None; returns [T, N].
    """

    def __call__(self, name: str, x: Array, weight: Array, bias: Array | None, /) -> Array: ...


def float_linear(name: str, x: Array, weight: Array, bias: Array | None) -> Array:
    """The layer as trained."""
    y = x @ weight.T.astype(x.dtype, copy=False)
    return y if bias is None else y + bias.astype(x.dtype, copy=False)


def make_quantized_linear(matrices: Mapping[str, QuantizedMatrix], act_bits: int = 8) -> Linear:
    """A linear that runs the layers in ``matrices`` on the integer golden model, others in float.

    Each token's activations are quantized to ``act_bits`` bits, the integer product is exact, and
    scales and bias are applied in float64 before the result is rounded to the dtype of ``x``.
    """
    def linear(name: str, x: Array, weight: Array, bias: Array | None) -> Array:
        if name not in matrices:
            return float_linear(name, x, weight, bias)
        qm = matrices[name]
        if (qm.n, qm.k_logical) != weight.shape:
            raise ValueError(f"shape of matrix {name} must be {weight.shape}, "
                             f"not {(qm.n, qm.k_logical)}")
        a, sx = quantize_activations(x, act_bits)
        return dequantize_output(mpgemm(a, qm), qm, sx, bias).astype(x.dtype)
    return linear


class _Encoder:
    def __init__(self, weights: Weights, config: Mapping[str, Any], linear: Linear,
                 dtype: DTypeLike, capture: dict[str, Array] | None) -> None:
        for key, expected in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
            if config.get(key, expected) != expected:
                raise ValueError(f"{key} must be {expected!r}, not {config[key]!r}")
        self.weights, self.config, self.linear_fn = weights, config, linear
        self.dtype, self.capture = np.dtype(dtype), capture
        self.heads, self.eps = int(config["num_attention_heads"]), float(config["layer_norm_eps"])
        if config["hidden_size"] % self.heads:
            raise ValueError(f"num_attention_heads must divide hidden_size "
                             f"{config['hidden_size']}, not {self.heads!r}")

    def tensor(self, name: str) -> Array:
        try:
            return self.weights[name].astype(self.dtype, copy=False)
        except KeyError:
            raise ValueError(f"weights must hold tensor {name!r}") from None

    def linear(self, name: str, x: Array) -> Array:
        if self.capture is not None:
            self.capture[name] = x.copy()
        return self.linear_fn(name, x, self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"))

    def norm(self, name: str, x: Array) -> Array:
        return FLOAT.layer_norm(x, self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"),
                                self.eps)

    def embed(self, ids: NDArray[np.int64]) -> Array:
        x = (self.tensor("embeddings.word_embeddings.weight")[ids]
             + self.tensor("embeddings.token_type_embeddings.weight")[0]
             + self.tensor("embeddings.position_embeddings.weight")[:len(ids)])
        return self.norm("embeddings.LayerNorm", x)

    def attention(self, name: str, x: Array) -> Array:
        def split(part: str) -> Array:  # [heads, T, head size]
            y = self.linear(f"{name}.self.{part}", x)
            return y.reshape(len(y), self.heads, -1).transpose(1, 0, 2)

        query, key, value = split("query"), split("key"), split("value")
        scores = query @ key.transpose(0, 2, 1) / x.dtype.type(math.sqrt(query.shape[2]))
        context = (FLOAT.softmax(scores) @ value).transpose(1, 0, 2).reshape(x.shape)
        return self.norm(f"{name}.output.LayerNorm",
                         self.linear(f"{name}.output.dense", context) + x)

    def layer(self, name: str, x: Array) -> Array:
        x = self.attention(f"{name}.attention", x)
        wide = gelu(self.linear(f"{name}.intermediate.dense", x))
        return self.norm(f"{name}.output.LayerNorm", self.linear(f"{name}.output.dense", wide) + x)


def forward(token_ids: Sequence[int] | NDArray[np.integer], weights: Weights,
            config: Mapping[str, Any], linear: Linear = float_linear,
            dtype: DTypeLike = np.float32, capture: dict[str, Array] | None = None) -> Array:
    """Last hidden states [T, hidden_size] of one unpadded sequence, segment 0, in ``dtype``.

    Parameters
    ----------
    token_ids : int [T]
        1 to ``max_position_embeddings`` tokens, each below ``vocab_size``.
    linear : Linear
        Called for each linear layer in order of execution.
    capture : dict, optional
        Receives a copy of each linear layer's input, [T, K], by layer name.

    A missing tensor, an unknown activation or position embedding, or a token out of range is a
    ``ValueError``.
    """
    ids = np.asarray(token_ids)
    if ids.ndim != 1 or not 1 <= len(ids) <= config["max_position_embeddings"]:
        raise ValueError(f"token_ids must be 1 to {config['max_position_embeddings']} tokens, "
                         f"not {ids.shape}")
    if ids.dtype.kind not in "iu":
        raise TypeError(f"token_ids must be integers, not {ids.dtype}")
    if (bad := (ids < 0) | (ids >= config["vocab_size"])).any():
        raise ValueError(f"token_ids must be below vocab_size {config['vocab_size']}, "
                         f"not {int(ids[bad][0])}")
    encoder = _Encoder(weights, config, linear, dtype, capture)
    x = encoder.embed(ids)
    for i in range(config["num_hidden_layers"]):
        x = encoder.layer(f"encoder.layer.{i}", x)
    return x


def sentence_embedding(hidden: ArrayLike) -> Array:
    """Mean over the tokens of ``hidden`` [T, H], scaled to length 1: [H], in its dtype."""
    mean = np.asarray(hidden).mean(axis=0)
    result: Array = mean / np.maximum(np.linalg.norm(mean), mean.dtype.type(1e-12))
    return result


def linear_names(config: Mapping[str, Any]) -> list[str]:
    """Names of the linear layers :func:`forward` runs, in order of execution."""
    return [f"encoder.layer.{i}.{part}" for i in range(config["num_hidden_layers"])
            for part in ("attention.self.query", "attention.self.key", "attention.self.value",
                         "attention.output.dense", "intermediate.dense", "output.dense")]
