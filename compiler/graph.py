"""What the passes work on: a typed graph of a model's operators, and what is known of each.

Nodes are named; an edge runs from the operator that produces a value to the one that reads it.
A node's data (attribute ``op``) is a :class:`LinearOp`, which the array runs, or a
:class:`HostOp`. Passes never change a program: they return another one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import networkx as nx

from compiler.memory import MemoryMap, Place
from hw.config import Machine
from hw.plan import Plan
from sim.memory import Memory

__all__ = ["HostOp", "LinearOp", "Model", "Options", "Program", "VerifyError"]


class VerifyError(RuntimeError):
    """A pass left a program that contradicts itself: a fault of the compiler, not of its input."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user asked for.

    Parameters
    ----------
    weights : name of the weight datatype
    group_size : input features that share a scale; 0 for the whole channel
    asymmetric : every group has an offset
    scale_bits : bits of a group scale's mantissa
    tokens : tokens per launch
    memory : memory behind the machine, for cycles
    """
    weights: str = "int4"
    group_size: int = 64
    asymmetric: bool = False
    scale_bits: int = 8
    tokens: int = 128
    memory: Memory = Memory()


@dataclass(frozen=True, kw_only=True)
class Model:
    """Which checkpoint: its file's name without folders, and the SHA-256 of its contents."""
    architecture: str = ""
    checkpoint: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class HostOp:
    """An operator the array does not run. ``macs`` multiply-accumulates, ``elements`` results."""
    name: str
    operator: str
    reason: str
    macs: int = 0
    elements: int = 0

    def __str__(self) -> str:
        return f"host {self.operator}, {self.macs} MACs, {self.elements} elements"


@dataclass(frozen=True, kw_only=True)
class LinearOp:
    """``y[m, n] = x[m, k] @ weight[n, k].T + bias``; fields after ``bias_tensor`` come by pass."""
    name: str
    tensor: str
    role: str
    m: int
    k: int
    n: int
    bias_tensor: str | None = None
    # choose
    datatype: str = ""
    group_size: int = 0
    asymmetric: bool = False
    # tile
    plan: Plan | None = None
    # allocate
    place: Place | None = None
    # quantize
    accumulator_bound: int | None = None
    sqnr_db: float | None = None
    # emit
    emitted: bool = False
    # report
    row: Mapping[str, Any] | None = None

    @property
    def macs(self) -> int:
        return self.m * self.k * self.n

    @property
    def planned(self) -> Plan:
        if self.plan is None:
            raise VerifyError(f"layer {self.name} has no plan yet")
        return self.plan

    @property
    def placed(self) -> Place:
        if self.place is None:
            raise VerifyError(f"layer {self.name} has no place yet")
        return self.place

    def __str__(self) -> str:
        parts = [f"linear {self.m}x{self.k}x{self.n}"]
        if self.datatype:
            parts.append(f"{self.datatype} group {self.group_size}"
                         + (" asymmetric" if self.asymmetric else ""))
        if plan := self.plan:
            parts.append(f"tiles {len(plan.tiles)} of {plan.channels}, chunks {len(plan.chunks)} "
                         f"of {plan.chunk}, blocks {len(plan.blocks)} of {plan.block}"
                         + (", resident" if plan.resident else "")
                         + (", row mode" if plan.row_mode else ""))
        if place := self.place:
            parts.append(f"program {place.program:#x} ({place.instructions}), weights "
                         f"{place.weights:#x}, scales {place.scales:#x}")
        if self.accumulator_bound is not None:
            parts.append(f"|y| <= {self.accumulator_bound}, SQNR {self.sqnr_db} dB")
        if self.emitted:
            parts.append("emitted")
        if self.row:
            parts.append(f"{self.row['cycles']} cycles, {self.row['bound']} bound")
        return "; ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A model on its way to the machine. ``str()`` shows it, a line per operator."""
    machine: Machine
    options: Options
    model: Model = Model()
    graph: nx.DiGraph = field(default_factory=nx.DiGraph)
    memory_map: MemoryMap | None = None
    totals: Mapping[str, Any] | None = None

    @property
    def linears(self) -> tuple[LinearOp, ...]:
        """In order of execution."""
        return tuple(op for op in self._ops() if isinstance(op, LinearOp))

    @property
    def host(self) -> tuple[HostOp, ...]:
        return tuple(op for op in self._ops() if isinstance(op, HostOp))

    def _ops(self) -> Iterable[Any]:
        return (op for _, op in self.graph.nodes(data="op"))

    def with_linears(self, ops: Iterable[LinearOp]) -> "Program":
        """The program with each of these in the place of the operator of its name."""
        graph = self.graph.copy()
        for op in ops:
            graph.nodes[op.name]["op"] = op
        return replace(self, graph=graph)

    def verify(self) -> None:
        """Raise :class:`VerifyError` unless the graph is acyclic and typed."""
        for name, op in self.graph.nodes(data="op"):
            if not isinstance(op, LinearOp | HostOp) or op.name != name:
                raise VerifyError(f"node {name!r} holds {type(op).__name__}, not its operator")
        if not nx.is_directed_acyclic_graph(self.graph):
            raise VerifyError("the graph has a cycle")

    def __str__(self) -> str:
        lines = [f"program {self.model.architecture} on {self.machine.name}, "
                 f"{self.options.tokens} tokens"]
        if self.memory_map:
            lines.append(f"  memory {self.memory_map}")
        for name, op in self.graph.nodes(data="op"):
            inputs = ", ".join(self.graph.predecessors(name))
            lines.append(f"  {name}({inputs}): {op}")
        return "\n".join(lines) + "\n"
