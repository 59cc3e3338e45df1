"""The operators of a known architecture, and which reads what: one sequence of tokens."""

from collections.abc import Iterator, Mapping
from typing import Any

import networkx as nx

from compiler.graph import HostOp, LinearOp
from compiler.names import Linear

__all__ = ["dataflow"]

UNUSED_POOLER = "unused by the sentence embedding"
REASONS = {
    "embedding": "a look-up",
    "attention scores": "both operands change with the tokens",
    "attention values": "both operands change with the tokens",
}


class _Builder:
    def __init__(self, tokens: int):
        self.tokens = tokens
        self.graph = nx.DiGraph()

    def add(self, op: LinearOp | HostOp, *inputs: str) -> str:
        self.graph.add_node(op.name, op=op)
        self.graph.add_edges_from((source, op.name) for source in inputs)
        return op.name

    def host(self, name: str, operator: str, *inputs: str, width: int = 0,
             macs: int = 0) -> str:
        """``width`` results per token."""
        return self.add(HostOp(name=name, operator=operator, macs=macs,
                               elements=self.tokens * width,
                               reason=REASONS.get(operator, "floating point")), *inputs)

    def linear(self, found: Linear, *inputs: str) -> str:
        return self.add(LinearOp(name=found.name, tensor=found.tensor, role=found.role,
                                 m=self.tokens, k=found.k, n=found.n,
                                 bias_tensor=found.bias_tensor), *inputs)

    def attention(self, prefix: str, query: str, key: str, value: str, width: int,
                  heads: int) -> str:
        """Scores of every pair of tokens, softmax, weighted values."""
        pairs = self.tokens * self.tokens
        scores = self.host(f"{prefix}.scores", "attention scores", query, key,
                           width=heads * self.tokens, macs=pairs * width)
        weights = self.host(f"{prefix}.softmax", "softmax", scores, width=heads * self.tokens)
        return self.host(f"{prefix}.values", "attention values", weights, value, width=width,
                         macs=pairs * width)


def _bert(b: _Builder, config: Mapping[str, Any], linears: Iterator[Linear]) -> None:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    x = b.host("embeddings", "embedding", width=hidden)
    x = b.host("embeddings.LayerNorm", "norm", x, width=hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}"
        query, key, value = (b.linear(next(linears), x) for _ in range(3))
        y = b.attention(f"{prefix}.attention", query, key, value, hidden, heads)
        y = b.linear(next(linears), y)
        y = b.host(f"{prefix}.attention.residual", "residual", x, y, width=hidden)
        x = b.host(f"{prefix}.attention.output.LayerNorm", "norm", y, width=hidden)
        up = next(linears)
        y = b.host(f"{prefix}.gelu", "activation", b.linear(up, x), width=up.n)
        y = b.linear(next(linears), y)
        y = b.host(f"{prefix}.residual", "residual", x, y, width=hidden)
        x = b.host(f"{prefix}.output.LayerNorm", "norm", y, width=hidden)
    for pooler in linears:
        b.add(HostOp(name=pooler.name, operator="pooler", macs=pooler.n * pooler.k,
                     elements=pooler.n, reason=UNUSED_POOLER), x)


def _llama(b: _Builder, config: Mapping[str, Any], linears: Iterator[Linear]) -> None:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    x = b.host("model.embed_tokens", "embedding", width=hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        y = b.host(f"{prefix}.input_layernorm", "norm", x, width=hidden)
        q, k, v = (next(linears) for _ in range(3))
        query = b.host(f"{prefix}.rotary_q", "rotary", b.linear(q, y), width=q.n)
        key = b.host(f"{prefix}.rotary_k", "rotary", b.linear(k, y), width=k.n)
        y = b.attention(f"{prefix}.self_attn", query, key, b.linear(v, y), q.n, heads)
        y = b.linear(next(linears), y)
        x = b.host(f"{prefix}.attention_residual", "residual", x, y, width=hidden)
        y = b.host(f"{prefix}.post_attention_layernorm", "norm", x, width=hidden)
        gate, up, down = (next(linears) for _ in range(3))
        y = b.host(f"{prefix}.silu", "activation", b.linear(gate, y), b.linear(up, y), width=up.n)
        x = b.host(f"{prefix}.residual", "residual", x, b.linear(down, y), width=hidden)
    x = b.host("model.norm", "norm", x, width=hidden)
    for head in linears:
        b.linear(head, x)


def dataflow(architecture: str, config: Mapping[str, Any], linears: tuple[Linear, ...],
             tokens: int) -> nx.DiGraph:
    """The graph of one sequence of ``tokens``; ``linears`` in order of execution, every one of
    them in the graph, the pooler on the host."""
    builder = _Builder(tokens)
    {"bert": _bert, "llama": _llama}[architecture](builder, config, iter(linears))
    missing = [found.name for found in linears if found.name not in builder.graph]
    assert not missing, f"{missing} left out"
    return builder.graph
