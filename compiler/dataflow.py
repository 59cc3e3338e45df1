"""The operators of a transformer, and which reads what: one sequence of tokens."""

from collections.abc import Iterable, Iterator

import networkx as nx

from compiler.graph import HostOp, LinearOp
from compiler.names import Linear
from models.shapes import Transformer

__all__ = ["dataflow"]

UNUSED_POOLER = "unused by the sentence embedding"
REASONS = {
    "embedding": "a look-up",
    "attention scores": "both operands change with the tokens",
    "attention values": "both operands change with the tokens",
    "router": "small, and kept as it is",
}


class _Builder:
    def __init__(self, tokens: int, context: int):
        self.tokens = tokens
        self.context = context
        self.graph = nx.DiGraph()

    def add(self, op: LinearOp | HostOp, *inputs: str) -> str:
        self.graph.add_node(op.name, op=op)
        self.graph.add_edges_from((source, op.name) for source in inputs)
        return op.name

    def host(self, name: str, operator: str, *inputs: str, width: int, macs: int = 0,
             tokens: int | None = None) -> str:
        """``width`` results per token."""
        count = self.tokens if tokens is None else tokens
        return self.add(HostOp(name=name, operator=operator, macs=macs, elements=count * width,
                               reason=REASONS.get(operator, "floating point")), *inputs)

    def linear(self, found: Linear, *inputs: str, tokens: int | None = None) -> str:
        return self.add(LinearOp(name=found.name, tensor=found.tensor, role=found.role,
                                 m=self.tokens if tokens is None else tokens, k=found.k,
                                 n=found.n, bias_tensor=found.bias_tensor), *inputs)

    def attention(self, prefix: str, query: str, key: str, value: str, width: int,
                  heads: int) -> str:
        """Scores of every token with all there are, softmax, weighted values."""
        read = self.context + self.tokens
        pairs = self.tokens * read
        scores = self.host(f"{prefix}.scores", "attention scores", query, key,
                           width=heads * read, macs=pairs * width)
        weights = self.host(f"{prefix}.softmax", "softmax", scores, width=heads * read)
        return self.host(f"{prefix}.values", "attention values", weights, value, width=width,
                         macs=pairs * width)


def _layer(b: _Builder, model: Transformer, number: int, x: str, linears: Iterator[Linear]) -> str:
    names, prefix, hidden = model.names, model.names.layer.format(number), model.hidden

    def norm(which: int, source: str) -> str:
        return b.host(f"{prefix}.{names.norms[which]}", "norm", source, width=hidden)

    y = entry = norm(0, x) if model.norm_first else x
    y = _attention(b, model, f"{prefix}.{names.attention}", y, linears)
    if model.sub_norms:
        y = b.host(f"{prefix}.{names.attention}.sub_norm", "norm", y, width=model.query_width)
    y = b.linear(next(linears), y)
    if len(names.norms) == 1:  # side by side
        z = _feed_forward(b, model, prefix, entry, linears)
        return b.host(f"{prefix}.residual", "residual", x, y, z, width=hidden)
    x = b.host(f"{prefix}.{names.residual}", "residual", x, y, width=hidden)
    if not model.norm_first:
        x = norm(0, x)
    y = norm(1, x) if model.norm_first else x
    y = _feed_forward(b, model, prefix, y, linears)
    x = b.host(f"{prefix}.residual", "residual", x, y, width=hidden)
    return x if model.norm_first else norm(1, x)


def _attention(b: _Builder, model: Transformer, prefix: str, x: str, linears: Iterator[Linear]
               ) -> str:
    parts = [b.linear(next(linears), x) for _ in model.names.qkv]
    query, key, value = parts if len(parts) == 3 else parts * 3
    if model.rotary:
        above = prefix.rpartition(".")[0]
        query = b.host(f"{above}.rotary_q", "rotary", query, width=model.query_width)
        key = b.host(f"{above}.rotary_k", "rotary", key, width=model.key_width)
    return b.attention(prefix, query, key, value, model.query_width, model.heads)


def _feed_forward(b: _Builder, model: Transformer, prefix: str, x: str, linears: Iterator[Linear]
                  ) -> str:
    """One block, or those experts of a mixture that see a token."""
    if model.experts == 1:
        return _block(b, model, prefix, x, linears, b.tokens)
    routed = b.host(f"{prefix}.router", "router", x, width=model.experts,
                    macs=b.tokens * model.experts * model.hidden)
    outputs = []
    for expert, tokens in enumerate(model.expert_tokens(b.tokens)):
        own = [next(linears) for _ in range(len(model.names.inner) + 1)]
        if tokens:
            outputs.append(_block(b, model, f"{prefix}.expert.{expert}", routed, iter(own), tokens))
    return b.host(f"{prefix}.experts", "sum of experts", *outputs, width=model.hidden)


def _block(b: _Builder, model: Transformer, prefix: str, x: str, linears: Iterator[Linear],
           tokens: int) -> str:
    inner = [b.linear(next(linears), x, tokens=tokens) for _ in model.names.inner]
    y = b.host(f"{prefix}.activation", "activation", *inner, width=model.ffn, tokens=tokens)
    if model.sub_norms:
        y = b.host(f"{prefix}.ffn_sub_norm", "norm", y, width=model.ffn, tokens=tokens)
    return b.linear(next(linears), y, tokens=tokens)


def dataflow(model: Transformer, linears: Iterable[Linear], tokens: int, context: int = 0
             ) -> nx.DiGraph:
    """The graph of one sequence of ``tokens`` (of one image, if that is what comes in), after
    ``context`` others whose keys and values are kept.

    ``linears`` are in order of execution. All are in the graph, the pooler on the host, but those
    of experts that see no token."""
    b, names, left = _Builder(tokens, context), model.names, iter(linears)
    if model.patches:
        x = b.linear(next(left), tokens=model.patches)
        x = b.host(names.embedding, "embedding", x, width=model.hidden)
    else:
        x = b.host(names.embedding, "embedding", width=model.hidden)
    if names.embedding_norm:
        x = b.host(names.embedding_norm, "norm", x, width=model.hidden)
    for number in range(model.layers):
        x = _layer(b, model, number, x, left)
    if names.final_norm:
        x = b.host(names.final_norm, "norm", x, width=model.hidden)
    for found in left:
        if found.role == "pooler":
            b.add(HostOp(name=found.name, operator="pooler", macs=found.n * found.k,
                         elements=found.n, reason=UNUSED_POOLER), x)
        else:
            b.linear(found, x, tokens=1 if found.role == "classifier" else tokens)
    return b.graph
