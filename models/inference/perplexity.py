"""Measures a decoder's perplexity on a text, and quantizes the activations of linear layers."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bitwright.models.inference.reference_bert import Array, Linear
from bitwright.models.quantization.rounding import quantize_activations

__all__ = ["WINDOW", "losses", "make_integer_activations", "perplexity", "windows"]

WINDOW = 512  # tokens of a window

Decoder = Callable[[NDArray[np.integer]], NDArray[np.floating]]


def make_integer_activations(bits: int = 8) -> Linear:
    """A linear whose input is first rounded to ``bits`` bits per token
    (:func:`quantize_activations`); the product is in the dtype of ``x``."""
    def linear(name: str, x: Array, weight: Array, bias: Array | None) -> Array:
        codes, scale = quantize_activations(x, bits)
        y: Array = (codes.astype(x.dtype) @ weight.T) * scale[:, None].astype(x.dtype)
        return y if bias is None else y + bias
    return linear


def windows(tokens: Sequence[int], count: int, size: int = WINDOW) -> NDArray[np.int64]:
    """The first ``count`` windows of ``size`` tokens, int64 [count, size]. ``ValueError`` for a
    text that is too short."""
    if count < 1 or size < 2:
        raise ValueError(f"windows must be 1 or more of 2 tokens or more, not {count} of {size}")
    if len(tokens) < count * size:
        raise ValueError(f"text must have {count * size} tokens for {count} windows of {size}, "
                         f"not {len(tokens)}")
    return np.asarray(tokens[:count * size], dtype=np.int64).reshape(count, size)


def losses(decoder: Decoder, window: NDArray[np.integer]) -> NDArray[np.float64]:
    """Negative log-likelihood, in nats, of every token of ``window`` [T] but the first: [T - 1].

    ``decoder`` gives logits [T, V] of the tokens that follow each.
    """
    logits = decoder(window)[:-1]
    top = logits.max(axis=1, keepdims=True)
    total = np.exp(logits - top).sum(axis=1, dtype=np.float64)
    chosen = (logits - top)[np.arange(len(logits)), window[1:]].astype(np.float64)
    result: NDArray[np.float64] = np.log(total) - chosen
    return result


def perplexity(decoder: Decoder, texts: Iterable[NDArray[np.integer]]) -> float:
    """``exp`` of the mean loss over the scored tokens of all windows, each read on its own."""
    return float(np.exp(np.concatenate([losses(decoder, window) for window in texts]).mean()))
