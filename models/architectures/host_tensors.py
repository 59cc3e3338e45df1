"""Lists the tensors that no matrix product reads: embeddings, norms, routers."""

from dataclasses import dataclass

import networkx as nx

from bitwright.models.architectures import operators as ops
from bitwright.models.architectures.transformer import Transformer

__all__ = ["HostTensor", "host_tensors"]


@dataclass(frozen=True, kw_only=True)
class HostTensor:
    """``role`` is ``embedding``, ``norm`` or ``router``; ``shape`` as the checkpoint stores it."""
    tensor: str
    shape: tuple[int, ...]
    role: str


def _embedding(model: Transformer, op: ops.Embedding) -> list[HostTensor]:
    lead = (1,) if model.patches else ()
    sizes = {op.tokens: (model.vocabulary, op.width), op.class_token: (1, 1, op.width),
             op.segments: (model.segment_rows, op.width),
             op.positions: (*lead, model.position_rows, op.width)}
    return [HostTensor(tensor=name, shape=shape, role="embedding")
            for name, shape in sizes.items() if name]


def host_tensors(model: Transformer, graph: nx.DiGraph) -> tuple[HostTensor, ...]:
    """Return the tensors of the operators that the host runs, in order of use."""
    found: list[HostTensor] = []
    for _, op in graph.nodes(data="op"):
        match op:
            case ops.Embedding():
                found += _embedding(model, op)
            case ops.Norm():
                parts = ("weight", "bias") if op.kind == "layer" else ("weight",)
                found += [HostTensor(tensor=f"{op.name}.{part}", shape=(op.width,), role="norm")
                          for part in parts]
            case ops.Router():
                found.append(HostTensor(tensor=f"{op.name}.weight", role="router",
                                        shape=(op.experts, op.width)))
    return tuple(found)
