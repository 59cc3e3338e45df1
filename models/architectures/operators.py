"""Defines the operators of a transformer.

They tell what is computed, for any number of tokens and on any machine. An operator's ``name`` is
the prefix of its tensors where it has some; ``inputs`` are names of others, in order. The value of
each is [T, width] unless it says otherwise.
"""

from dataclasses import dataclass

from bitwright.models.architectures.transformer import LinearShape

__all__ = [
    "Activation", "AttentionScores", "AttentionValues", "CacheKeys", "Embedding", "ExpertInput",
    "ExpertSum", "FirstToken", "LinearOperator", "Norm", "Operator", "Patches", "Pooler",
    "Residual", "Rotary", "Router", "Softmax", "Split"]


@dataclass(frozen=True, kw_only=True)
class Operator:
    name: str
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Patches(Operator):
    """Pixels [channels, side, side] to one row per square ``patch``, row by row; a row is
    [channels, patch, patch] flattened."""
    channels: int
    side: int
    patch: int


@dataclass(frozen=True, kw_only=True)
class Embedding(Operator):
    """Rows of ``tokens``, or the input behind the row of ``class_token``, plus the rows of
    ``segments`` (number 0) and ``positions`` (from ``offset``). Tensors' names, empty for none."""
    width: int
    tokens: str
    class_token: str
    segments: str
    positions: str
    offset: int


@dataclass(frozen=True, kw_only=True)
class Norm(Operator):
    """``kind`` is ``layer`` (tensors ``.weight`` and ``.bias``) or ``rms`` (``.weight``)."""
    kind: str
    width: int
    eps: float


@dataclass(frozen=True, kw_only=True)
class LinearOperator(Operator):
    """``y = x @ weight.T + bias``."""
    shape: LinearShape


@dataclass(frozen=True, kw_only=True)
class Split(Operator):
    """``width`` columns from ``start``: a part of a matrix that holds several."""
    start: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Rotary(Operator):
    """In each head, pair i is turned by ``position * frequencies[i]``. Pairs are ``neighbours``
    (2i, 2i + 1), or (i, i + half), within the first entries of a head; the others are kept."""
    heads: int
    head_dim: int
    frequencies: tuple[float, ...]
    neighbours: bool


@dataclass(frozen=True, kw_only=True)
class CacheKeys(Operator):
    """Keys and values (the inputs) join those that the layer's cache holds. It has no value."""
    layer: int
    heads: int
    head_dim: int


@dataclass(frozen=True, kw_only=True)
class AttentionScores(Operator):
    """Products of the query (first input) with all keys over sqrt(head_dim), [heads, T, all];
    minus infinity for keys that are not read: with ``causal`` those of later tokens, with
    ``window`` those of as many tokens back or more."""
    layer: int
    heads: int
    head_dim: int
    causal: bool
    window: int


@dataclass(frozen=True, kw_only=True)
class Softmax(Operator):
    """Along all tokens, [heads, T, all]."""
    heads: int


@dataclass(frozen=True, kw_only=True)
class AttentionValues(Operator):
    """Sums of all values by the weights (first input)."""
    layer: int
    heads: int
    head_dim: int


@dataclass(frozen=True, kw_only=True)
class Activation(Operator):
    """``function`` of the first input, times the second if ``gated``."""
    function: str
    width: int
    gated: bool


@dataclass(frozen=True, kw_only=True)
class Residual(Operator):
    """Sum of the inputs."""
    width: int


@dataclass(frozen=True, kw_only=True)
class Router(Operator):
    """Weight of each expert for each token, [T, experts]: the softmax of ``x @ weight.T`` among
    the ``chosen`` greatest, 0 for the others."""
    width: int
    experts: int
    chosen: int


@dataclass(frozen=True, kw_only=True)
class ExpertInput(Operator):
    """Takes those rows of the first input to which the router (second) gives the expert a weight.
    """
    expert: int


@dataclass(frozen=True, kw_only=True)
class ExpertSum(Operator):
    """Outputs of all experts (after the first input, the router) by their weights."""
    width: int


@dataclass(frozen=True, kw_only=True)
class FirstToken(Operator):
    """The first row alone, which stands for the whole."""


@dataclass(frozen=True, kw_only=True)
class Pooler(Operator):
    """``tanh(x @ weight.T + bias)`` of the first token."""
    shape: LinearShape
