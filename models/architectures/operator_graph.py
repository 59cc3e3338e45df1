"""Builds the graph of a transformer's operators from its names and sizes."""

from collections.abc import Iterator, Mapping
from typing import Any

import networkx as nx

from bitwright.models.architectures.numerics import Numerics, numerics
from bitwright.models.architectures.operators import (
    Activation,
    AttentionScores,
    AttentionValues,
    CacheKeys,
    Embedding,
    ExpertInput,
    ExpertSum,
    FirstToken,
    LinearOperator,
    Norm,
    Operator,
    Patches,
    Pooler,
    Residual,
    Rotary,
    Router,
    Softmax,
    Split,
)
from bitwright.models.architectures.transformer import LinearShape, Transformer

__all__ = ["operators", "stages"]


class _Builder:
    def __init__(self, model: Transformer, constants: Numerics):
        self.model, self.names, self.constants = model, model.names, constants
        self.linears: Iterator[LinearShape] = model.linears()
        self.graph = nx.DiGraph()

    def add(self, op: Operator) -> str:
        self.graph.add_node(op.name, op=op)
        self.graph.add_edges_from((source, op.name) for source in op.inputs)
        return op.name

    def linear(self, *inputs: str) -> str:
        """The next one."""
        shape = next(self.linears)
        return self.add(LinearOperator(name=shape.name, inputs=inputs, shape=shape))

    def norm(self, name: str, x: str, width: int | None = None) -> str:
        return self.add(Norm(name=name, inputs=(x,), eps=self.constants.eps,
                             kind="layer" if self.model.norm_vectors == 2 else "rms",
                             width=self.model.hidden if width is None else width))

    def residual(self, name: str, *inputs: str) -> str:
        return self.add(Residual(name=name, inputs=inputs, width=self.model.hidden))

    def split(self, x: str, parts: Mapping[str, int]) -> list[str]:
        """Parts of these names and widths, side by side in ``x``."""
        found, start = [], 0
        for name, width in parts.items():
            found.append(self.add(Split(name=name, inputs=(x,), start=start, width=width)))
            start += width
        return found

    # ---- one layer ------------------------------------------------------------------------
    def query_key_value(self, prefix: str, x: str) -> list[str]:
        model, names = self.model, self.names
        if len(names.qkv) == 3:
            return [self.linear(x) for _ in names.qkv]
        at = f"{prefix}.{names.attention}"
        return self.split(self.linear(x), {
            f"{at}.query": model.query_width, f"{at}.key": model.key_width,
            f"{at}.value": model.key_width})

    def rotary(self, name: str, x: str, heads: int) -> str:
        return self.add(Rotary(
            name=name, inputs=(x,), heads=heads, head_dim=self.model.head_dim,
            frequencies=self.constants.frequencies, neighbours=self.names.neighbours))

    def attention(self, number: int, prefix: str, x: str) -> str:
        model, at = self.model, f"{prefix}.{self.names.attention}"
        query, key, value = self.query_key_value(prefix, x)
        if model.rotary:
            query = self.rotary(f"{prefix}.rotary_q", query, model.heads)
            key = self.rotary(f"{prefix}.rotary_k", key, model.kv_heads)
        sizes = {"layer": number, "head_dim": model.head_dim}
        kept = self.add(CacheKeys(name=f"{at}.cache", inputs=(key, value), heads=model.kv_heads,
                                  **sizes))
        scores = self.add(AttentionScores(
            name=f"{at}.scores", inputs=(query, kept), heads=model.heads, causal=model.causal,
            window=self.constants.window, **sizes))
        weights = self.add(Softmax(name=f"{at}.softmax", inputs=(scores,), heads=model.heads))
        y = self.add(AttentionValues(name=f"{at}.values", inputs=(weights, kept),
                                     heads=model.heads, **sizes))
        if model.sub_norms:
            y = self.norm(f"{prefix}.{self.names.sub_norms[0]}", y, model.query_width)
        return self.linear(y)

    def block(self, prefix: str, sub_norm: str, x: str) -> str:
        """Build one feed-forward block."""
        model, inner = self.model, [self.linear(x) for _ in self.names.inner]
        if model.gated and len(inner) == 1:
            inner = self.split(inner[0], {f"{prefix}.gate": model.ffn, f"{prefix}.up": model.ffn})
        y = self.add(Activation(name=f"{prefix}.activation", inputs=tuple(inner), width=model.ffn,
                                function=self.constants.activation, gated=model.gated))
        if model.sub_norms:
            y = self.norm(sub_norm, y, model.ffn)
        return self.linear(y)

    def feed_forward(self, prefix: str, x: str) -> str:
        """Build one feed-forward block, or a mixture of them."""
        model, names = self.model, self.names
        if model.experts == 1:
            return self.block(prefix, f"{prefix}.{names.sub_norms[1]}" if model.sub_norms else "",
                              x)
        router = self.add(Router(name=f"{prefix}.{names.router}", inputs=(x,), width=model.hidden,
                                 experts=model.experts, chosen=model.chosen))
        outputs = []
        for expert in range(model.experts):
            at = f"{prefix}.expert.{expert}"
            own = self.add(ExpertInput(name=f"{at}.input", inputs=(x, router), expert=expert))
            outputs.append(self.block(at, f"{at}.sub_norm", own))
        return self.add(ExpertSum(name=f"{prefix}.experts", inputs=(router, *outputs),
                                  width=model.hidden))

    def layer(self, number: int, x: str) -> str:
        model, names, prefix = self.model, self.names, self.names.layer.format(number)

        def norm(which: int, source: str) -> str:
            return self.norm(f"{prefix}.{names.norms[which]}", source)

        entry = norm(0, x) if model.norm_first else x
        y = self.attention(number, prefix, entry)
        if len(names.norms) == 1:  # side by side
            return self.residual(f"{prefix}.residual", x, y, self.feed_forward(prefix, entry))
        x = self.residual(f"{prefix}.{names.residual}", x, y)
        if not model.norm_first:
            x = norm(0, x)
        y = self.feed_forward(prefix, norm(1, x) if model.norm_first else x)
        x = self.residual(f"{prefix}.residual", x, y)
        return x if model.norm_first else norm(1, x)

    # ---- around the layers ----------------------------------------------------------------
    def embedding(self, config: Mapping[str, Any]) -> str:
        model, names = self.model, self.names
        inputs: tuple[str, ...] = ()
        if model.patches:
            pixels = self.add(Patches(name=f"{names.patches}.patches", side=config["image_size"],
                                      patch=config["patch_size"], channels=config["num_channels"]))
            inputs = (self.linear(pixels),)
        x = self.add(Embedding(
            name=names.embedding, inputs=inputs, width=model.hidden, tokens=names.token_table,
            class_token=names.class_token, segments=names.segment_table,
            positions=names.position_table, offset=model.position_rows - model.positions))
        return self.norm(names.embedding_norm, x) if names.embedding_norm else x

    def ends(self, x: str) -> None:
        for shape in self.linears:
            if shape.role == "pooler":
                self.add(Pooler(name=shape.name, inputs=(x,), shape=shape))
                continue
            if shape.role == "classifier":
                x = self.add(FirstToken(name=f"{shape.name}.token", inputs=(x,)))
            self.add(LinearOperator(name=shape.name, inputs=(x,), shape=shape))


def operators(model: Transformer, config: Mapping[str, Any],
              constants: Numerics | None = None) -> nx.DiGraph:
    """Every operator of ``model``, which ``config`` describes: nodes in order of execution, an
    operator in attribute ``op``, an edge from each input. One node is read by none: the head, the
    pooler, or the last hidden states. ``constants`` stand for those of ``config``.

    Raises :class:`ConfigError` for a variant that is not implemented."""
    builder = _Builder(model, numerics(model, config) if constants is None else constants)
    x = builder.embedding(config)
    for number in range(model.layers):
        x = builder.layer(number, x)
    if model.names.final_norm:
        x = builder.norm(model.names.final_norm, x)
    builder.ends(x)
    return builder.graph


def stages(graph: nx.DiGraph) -> list[tuple[Operator, ...]]:
    """The operators of a graph of :func:`operators` in an order of execution, poolers left out.
    Linear layers that do not read one another, however far apart, are one stage: a layer is as late
    as the most matrix products on a way to it make it. Any other operator is a stage of its own."""
    late: dict[str, int] = {}      # matrix products on the longest way to an operator's value
    found: dict[tuple[int, bool, str], list[Operator]] = {}
    for _, op in graph.nodes(data="op"):
        if isinstance(op, Pooler):
            continue
        before = max((late[name] for name in op.inputs), default=0)
        is_linear = isinstance(op, LinearOperator)
        is_product = is_linear or isinstance(op, AttentionScores | AttentionValues)
        late[op.name] = before + is_product
        found.setdefault((before, is_product, "" if is_linear else op.name), []).append(op)
    return [tuple(found[key]) for key in sorted(found, key=lambda key: key[:2])]
