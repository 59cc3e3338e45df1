"""Lowers a transformer for one sequence of tokens: the cost of each operator, and which reads what.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import networkx as nx

from bitwright.compiler.ir.program import AttentionOp, HostOp, LinearOp
from bitwright.models.architectures import operators as ops
from bitwright.models.architectures.numerics import Numerics
from bitwright.models.architectures.operator_graph import operators
from bitwright.models.architectures.transformer import LinearShape, Transformer

__all__ = ["dataflow"]

UNUSED_POOLER = "unused by the sentence embedding"
REASONS = {
    "embedding": "a look-up",
    "router": "small, and kept as it is",
}
NO_CONSTANTS = Numerics(eps=0.0, activation="")  # costs do not depend on them
# These move values, and cost nothing: their readers read what they do.
MOVES = ops.Patches | ops.Split | ops.CacheKeys | ops.ExpertInput | ops.FirstToken


def _host(op: ops.Operator, tokens: int, read: int) -> HostOp:
    """For ``tokens`` of a sequence of ``read``."""
    macs = 0
    match op:
        case ops.Embedding():
            operator, width = "embedding", op.width
        case ops.Norm():
            operator, width = "norm", op.width
        case ops.Rotary():
            operator, width = "rotary", op.heads * op.head_dim
        case ops.Softmax():
            operator, width = "softmax", op.heads * read
        case ops.Activation():
            operator, width = "activation", op.width
        case ops.Residual():
            operator, width = "residual", op.width
        case ops.Router():
            operator, width, macs = "router", op.experts, tokens * op.experts * op.width
        case ops.ExpertSum():
            operator, width = "sum of experts", op.width
        case ops.Pooler():
            return HostOp(name=op.name, operator="pooler", macs=op.shape.n * op.shape.k,
                          elements=op.shape.n, reason=UNUSED_POOLER)
        case _:
            raise TypeError(f"no cost is known of {type(op).__name__}")
    return HostOp(name=op.name, operator=operator, macs=macs, elements=tokens * width,
                  reason=REASONS.get(operator, "floating point"))


def _attention(model: Transformer, op: ops.AttentionScores | ops.AttentionValues, tokens: int,
               read: int) -> AttentionOp:
    values = isinstance(op, ops.AttentionValues)
    k, n = (read, op.head_dim) if values else (op.head_dim, read)
    return AttentionOp(name=op.name, values=values, launches=model.kv_heads,
                       m=op.heads // model.kv_heads * tokens, k=k, n=n)


def _linear(shape: LinearShape, tokens: int) -> LinearOp:
    return LinearOp(name=shape.name, tensor=shape.tensor, role=shape.role, m=tokens, k=shape.k,
                    n=shape.n, bias_tensor=shape.bias_tensor)


class _Costs:
    def __init__(self, model: Transformer, source: nx.DiGraph, tokens: int, least: int):
        self.model, self.source, self.tokens = model, source, tokens
        self.shares = [max(share, least) for share in model.expert_tokens(tokens)]
        self.counts: dict[str, int] = {}  # of tokens, by operator

    def op(self, name: str) -> ops.Operator:
        found: ops.Operator = self.source.nodes[name]["op"]
        return found

    def count(self, op: ops.Operator) -> int:
        """Tokens that ``op`` gives a value for."""
        match op:
            case ops.Patches():
                return self.model.patches
            case ops.Embedding() | ops.ExpertSum():
                return self.tokens
            case ops.ExpertInput():
                return self.shares[op.expert]
            case ops.FirstToken():
                return 1
            case _:
                return self.counts[op.inputs[0]]

    def inputs(self, op: ops.Operator) -> Iterator[str]:
        """Names of the operators whose values ``op`` reads, past those that only move them."""
        for name in op.inputs:
            match before := self.op(name):
                case ops.CacheKeys():
                    name = before.inputs[isinstance(op, ops.AttentionValues)]
                    yield from self.past(name)
                case ops.ExpertInput():
                    yield before.inputs[1]
                case _:
                    yield from self.past(name)

    def past(self, name: str) -> Iterator[str]:
        op = self.op(name)
        if isinstance(op, MOVES):
            yield from self.inputs(op)
        else:
            yield name


def dataflow(model: Transformer, config: Mapping[str, Any], tokens: int, context: int = 0,
             every_expert: bool = False) -> nx.DiGraph:
    """The graph of one sequence of ``tokens`` (of one image, if that is what comes in), after
    ``context`` others whose keys and values are kept.

    Every linear layer is in it, in order of execution, the pooler on the host, but those of experts
    that see no token; with ``every_expert`` each sees one at least. Tokens are spread evenly."""
    costs = _Costs(model, operators(model, config, NO_CONSTANTS), tokens, int(every_expert))
    graph = nx.DiGraph()
    for name, op in costs.source.nodes(data="op"):
        count = costs.counts[name] = costs.count(op)
        if not count or isinstance(op, MOVES):
            continue
        match op:
            case ops.LinearOperator():
                cost: LinearOp | AttentionOp | HostOp = _linear(op.shape, count)
            case ops.AttentionScores() | ops.AttentionValues():
                cost = _attention(model, op, count, tokens + context)
            case _:
                cost = _host(op, count, tokens + context)
        graph.add_node(name, op=cost)
        graph.add_edges_from((source, name) for source in costs.inputs(op)
                             if costs.counts[source])
    return graph
