"""Runs a whole transformer in NumPy: walks its graph of operators in order.

Matrix products are left to an :class:`Arithmetic`, what is between them to
:class:`Functions`; all else is done here, in floating point.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from bitwright.models.architectures import operators as ops
from bitwright.models.architectures.host_tensors import host_tensors
from bitwright.models.architectures.operator_graph import operators, stages
from bitwright.models.architectures.transformer import Transformer
from bitwright.models.inference.arithmetic import Arithmetic, AttentionCache, FloatArithmetic
from bitwright.models.nonlinear.floating_point import FLOAT, Functions

__all__ = ["Network", "rotate"]

Array = NDArray[np.floating]


def rotate(x: Array, positions: NDArray[np.integer], op: ops.Rotary) -> Array:
    """Rotary ``positions`` [T] for ``x`` [T, heads, head_dim]."""
    half = len(op.frequencies)
    turned, kept = x[..., :2 * half], x[..., 2 * half:]
    angle = np.multiply.outer(positions, op.frequencies)[:, None, :]
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    axis = -1 if op.neighbours else -2  # of a pair's two
    pairs = turned.reshape(*x.shape[:-1], *((half, 2) if op.neighbours else (2, half)))
    first, second = pairs.take(0, axis), pairs.take(1, axis)
    both = np.stack([first * cos - second * sin, first * sin + second * cos], axis=axis)
    return np.concatenate([both.reshape(turned.shape), kept], axis=-1)


class _Pass:
    """One walk through the graph: values by operator, as long as they are needed."""

    def __init__(self, network: "Network", inputs: Array | NDArray[np.integer],
                 cache: AttentionCache, last_only: bool) -> None:
        self.network, self.inputs, self.cache, self.last_only = network, inputs, cache, last_only
        self.functions, self.arithmetic = network.functions, network.arithmetic
        self.dtype, self.start = network.dtype, cache.tokens

    def tensor(self, name: str) -> Array:
        return self.network.tensors[name].astype(self.dtype, copy=False)

    def run(self) -> Array:
        values: dict[str, Any] = {}
        for group, done in self.network.schedule:
            if isinstance(group[0], ops.LinearOperator):
                values |= self.linears({op: values[op.inputs[0]] for op in group})
            else:
                (op,) = group
                values[op.name] = _RUN[type(op)](self, op, *(values[name] for name in op.inputs))
            for name in done:
                del values[name]
        result: Array = values[self.network.output]
        return result

    # ---- operators ------------------------------------------------------------------------
    def patches(self, op: ops.Patches) -> Array:
        count = op.side // op.patch
        cut = self.inputs.astype(self.dtype).reshape(op.channels, count, op.patch, count, op.patch)
        return cut.transpose(1, 3, 0, 2, 4).reshape(count * count, -1)

    def embedding(self, op: ops.Embedding, *patches: Array) -> Array:
        if patches:
            token = self.tensor(op.class_token).reshape(1, op.width)
            x = np.concatenate([token, patches[0]])
        else:
            x = self.network.tensors[op.tokens][self.inputs].astype(self.dtype, copy=False)
        if op.segments:
            x = x + self.tensor(op.segments)[0]
        if op.positions:
            first = op.offset + self.start
            x = x + self.tensor(op.positions).reshape(-1, op.width)[first:first + len(x)]
        return x

    def norm(self, op: ops.Norm, x: Array) -> Array:
        gain = self.tensor(f"{op.name}.weight")
        if op.kind == "rms":
            return self.functions.rms_norm(x, gain, op.eps)
        return self.functions.layer_norm(x, gain, self.tensor(f"{op.name}.bias"), op.eps)

    def linears(self, inputs: Mapping[ops.Operator, Array]) -> dict[str, Array]:
        found, given = {}, {}
        for op, x in inputs.items():
            assert isinstance(op, ops.LinearOperator)
            if not len(x):  # an expert without a token
                found[op.name] = np.zeros((0, op.shape.n), dtype=x.dtype)
            else:
                last = self.last_only and op.shape.role == "lm_head"
                given[op.name] = x[-1:] if last else x
        return found | (self.arithmetic.linears(given) if given else {})

    def split(self, op: ops.Split, x: Array) -> Array:
        return x[:, op.start:op.start + op.width]

    def rotary(self, op: ops.Rotary, x: Array) -> Array:
        positions = np.arange(self.start, self.start + len(x))
        heads = x.reshape(len(x), op.heads, op.head_dim)
        return rotate(heads, positions, op).reshape(x.shape)

    def cache_keys(self, op: ops.CacheKeys, key: Array, value: Array) -> None:
        shape = len(key), op.heads, op.head_dim
        self.cache.extend(op.layer, key.reshape(shape), value.reshape(shape))

    def scores(self, op: ops.AttentionScores, query: Array, kept: None) -> Array:
        found = self.cache.scores(op.layer, query.reshape(len(query), op.heads, op.head_dim))
        found = found / found.dtype.type(math.sqrt(op.head_dim))
        _, tokens, read = found.shape
        back = np.arange(read - tokens, read)[:, None] - np.arange(read)[None, :]
        hidden = (back < 0) & op.causal
        if op.window:
            hidden |= back >= op.window
        return np.where(hidden, found.dtype.type(-np.inf), found)

    def softmax(self, op: ops.Softmax, x: Array) -> Array:
        return self.functions.softmax(x)

    def values(self, op: ops.AttentionValues, weights: Array, kept: None) -> Array:
        return self.cache.values(op.layer, weights).reshape(weights.shape[1], -1)

    def activation(self, op: ops.Activation, x: Array, *up: Array) -> Array:
        y = self.functions.activation(op.function, x)
        return y * up[0] if op.gated else y

    def residual(self, op: ops.Residual, *terms: Array) -> Array:
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def router(self, op: ops.Router, x: Array) -> Array:
        logits = x @ self.tensor(f"{op.name}.weight").T
        chosen = np.argsort(-logits, axis=1, kind="stable")[:, :op.chosen]
        weights = np.zeros_like(logits)
        np.put_along_axis(weights, chosen, self.functions.softmax(
            np.take_along_axis(logits, chosen, axis=1)), axis=1)
        return weights

    def expert_input(self, op: ops.ExpertInput, x: Array, weights: Array) -> Array:
        return x[weights[:, op.expert] != 0]

    def expert_sum(self, op: ops.ExpertSum, weights: Array, *outputs: Array) -> Array:
        total = np.zeros((len(weights), op.width), dtype=weights.dtype)
        for expert, output in enumerate(outputs):
            own = weights[:, expert]
            total[own != 0] += own[own != 0, None] * output
        return total

    def first_token(self, op: ops.FirstToken, x: Array) -> Array:
        return x[:1]


_RUN: dict[type[ops.Operator], Callable[..., Any]] = {
    ops.Patches: _Pass.patches, ops.Embedding: _Pass.embedding, ops.Norm: _Pass.norm,
    ops.Split: _Pass.split, ops.Rotary: _Pass.rotary,
    ops.CacheKeys: _Pass.cache_keys, ops.AttentionScores: _Pass.scores,
    ops.Softmax: _Pass.softmax, ops.AttentionValues: _Pass.values,
    ops.Activation: _Pass.activation, ops.Residual: _Pass.residual, ops.Router: _Pass.router,
    ops.ExpertInput: _Pass.expert_input, ops.ExpertSum: _Pass.expert_sum,
    ops.FirstToken: _Pass.first_token}


def _schedule(graph: nx.DiGraph) -> list[tuple[tuple[ops.Operator, ...], tuple[str, ...]]]:
    """Stages in order, and after each the values that none reads later."""
    order = stages(graph)
    last = {name: index for index, group in enumerate(order) for op in group for name in op.inputs}
    ended: dict[int, list[str]] = {}
    for name, index in last.items():
        ended.setdefault(index, []).append(name)
    return [(group, tuple(ended.get(index, ()))) for index, group in enumerate(order)]


class Network:
    """The model that ``config`` describes.

    Parameters
    ----------
    model : its sizes and names, as :func:`transformer` reads them
    tensors : embeddings, norms and routers by canonical name; without an ``arithmetic`` weights
        and biases also, as the checkpoint stores them
    arithmetic : runs the matrix products; in floating point if not given
    dtype : of all values; float64 to check float32 against

    Members
    -------
    graph : of :func:`bitwright.models.architectures.operator_graph.operators`

    ``ValueError`` names a tensor that is missing or of another shape, and a variant of the family
    that is not implemented.
    """

    def __init__(self, model: Transformer, config: Mapping[str, Any],
                 tensors: Mapping[str, Array], arithmetic: Arithmetic | None = None,
                 functions: Functions = FLOAT, dtype: DTypeLike = np.float32) -> None:
        self.model, self.tensors = model, tensors
        self.graph = operators(model, config)
        self.arithmetic = FloatArithmetic(model, tensors) if arithmetic is None else arithmetic
        self.functions, self.dtype = functions, np.dtype(dtype)
        self.schedule = _schedule(self.graph)
        self.output = self.schedule[-1][0][-1].name
        host = host_tensors(model, self.graph)
        needed = [tensor.tensor for tensor in host]
        if arithmetic is None:
            for linear in model.linears():
                if linear.role != "pooler":
                    needed += filter(None, (linear.tensor, linear.bias_tensor))
        for name in needed:
            if name not in tensors:
                raise ValueError(f"tensor {name} is missing: a {model.family} model of "
                                 f"{model.layers} layers needs it")
        for one in host:
            if (shape := np.shape(tensors[one.tensor])) != one.shape:
                raise ValueError(f"tensor {one.tensor} must have shape {list(one.shape)}, not "
                                 f"{list(shape)}")

    def __call__(self, inputs: ArrayLike, cache: AttentionCache | None = None,
                 last_only: bool = False) -> Array:
        """Logits [T, V] of a decoder, [1, classes] of a classifier, else hidden states [T, hidden].

        Parameters
        ----------
        inputs : token ids [T], or pixels [channels, side, side] as the model expects them
        cache : of a decoder, holds the tokens before these and takes these up, as the arithmetic's
            ``cache`` made it; without one they are a sequence of their own
        last_only : of a decoder, the last token's logits alone, [1, V]

        ``ValueError`` or ``TypeError`` for inputs of another shape, size or type.
        """
        if cache is not None and not self.model.causal:
            raise ValueError(f"a {self.model.family} model reads all tokens at once: it takes no "
                             "cache")
        cache = self.arithmetic.cache() if cache is None else cache
        found = self._pixels(inputs) if self.model.patches else self._tokens(inputs, cache.tokens)
        return _Pass(self, found, cache, last_only).run()

    def _tokens(self, inputs: ArrayLike, before: int) -> NDArray[np.integer]:
        ids, model = np.asarray(inputs), self.model
        if ids.ndim != 1 or not ids.size:
            raise ValueError(f"tokens must be one or more in a row, not of shape {ids.shape}")
        if ids.dtype.kind not in "iu":
            raise TypeError(f"tokens must be integers, not {ids.dtype}")
        if (bad := (ids < 0) | (ids >= model.vocabulary)).any():
            raise ValueError(f"tokens must be within 0...{model.vocabulary - 1}, not "
                             f"{int(ids[bad][0])}")
        if model.positions and before + len(ids) > model.positions:
            raise ValueError(f"tokens must be at most {model.positions}, the positions of the "
                             f"model, not {before + len(ids)}")
        return ids

    def _pixels(self, inputs: ArrayLike) -> Array:
        pixels = np.asarray(inputs)
        first = self.schedule[0][0][0]
        assert isinstance(first, ops.Patches)
        if pixels.shape != (wanted := (first.channels, first.side, first.side)):
            raise ValueError(f"pixels must be of shape {wanted}, not {pixels.shape}")
        return pixels
