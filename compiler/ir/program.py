"""Defines what the passes work on: a typed graph of a model's operators, and the facts known of
each.

Nodes are named; an edge runs from the operator that produces a value to the one that reads it.
A node's data (attribute ``op``) is a :class:`LinearOp` or :class:`AttentionOp`, which the array
runs, or a :class:`HostOp`. Passes never change a program: they return another one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import networkx as nx

from bitwright.compiler.ir.memory_map import PREFILL, MemoryMap, Place, Wanted, launches_of
from bitwright.hw.codegen.launch_programs import Launch
from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.hw.tiling.gemm_spec import GemmSpec
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.errors import Error
from bitwright.models.quantization.schemes import Scheme
from bitwright.sim.cycle_model.memory_timing import Memory

__all__ = ["AttentionOp", "HostOp", "LinearOp", "Model", "Options", "Program", "VerifyError"]


class VerifyError(Error, RuntimeError):
    """A pass left a program that contradicts itself: a fault of the compiler, not of its input."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The user's choices.

    Parameters
    ----------
    weights : name of a datatype, mixture or scheme, or a .toml file's path; "native" for the codes
        that the checkpoint holds; "auto" for those if it holds any, else int4. Once chosen, a name
    group_size : input features that share a scale; 0 for the whole channel, None for the scheme's
    asymmetric : every group has an offset
    scale_bits : bits of a group scale's mantissa
    clip_search : every group's range is chosen by squared error
    flush_small_scales : scales too small for their form become the least there is
    rotate : inputs of layers are rotated by Hadamard matrices, and weights with them
    smooth : how much of the activations' outliers goes to the weights, 0 to 1; None for nothing
    tokens : tokens per launch
    memory : memory behind the machine, for cycles
    schedule : "heuristic" for few cycles; "ilp" for the fewest bytes, by an integer program
    decode : every layer has a program for one token too, on the same stored weights
    """
    weights: str = "int4"
    group_size: int | None = None
    asymmetric: bool = False
    scale_bits: int = 8
    clip_search: bool = False
    flush_small_scales: bool = False
    rotate: bool = False
    smooth: float | None = None
    tokens: int = 128
    memory: Memory = Memory()
    schedule: str = "heuristic"
    decode: bool = False


@dataclass(frozen=True, kw_only=True)
class Model:
    """Which checkpoint: its file's name without folders, and the SHA-256 of its contents, which
    for several files is that of the index and all of them."""
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
class AttentionOp:
    """One of attention's two products, ``launches`` times: ``[m, k]`` by keys ``[n, k]`` gives
    scores; ``[m, k]`` by values ``[n, k]``, with ``k`` tokens, gives what the head says. ``m`` are
    tokens of all query heads that share a key head."""
    name: str
    values: bool
    launches: int
    m: int
    k: int
    n: int

    @property
    def operator(self) -> str:
        return "attention values" if self.values else "attention scores"

    @property
    def macs(self) -> int:
        return self.launches * self.m * self.k * self.n

    def __str__(self) -> str:
        return f"{self.operator}, {self.launches} of {self.m}x{self.k}x{self.n}"


@dataclass(frozen=True, kw_only=True, repr=False)
class LinearOp:
    """``y[m, n] = x[m, k] @ weight[n, k].T + bias``; fields after ``bias_tensor`` come by pass."""
    name: str
    tensor: str
    role: str
    m: int
    k: int
    n: int
    bias_tensor: str | None = None
    # choose; quantizer is known while mapping only, and None where the codes are the checkpoint's
    scheme: str = ""
    quantizer: Scheme | None = None
    kind: Datatype | Mixture | None = None
    group_size: int = 0
    asymmetric: bool = False
    columns: int | None = None  # stored, where they are not the input features in their order
    # tile; ``one`` for one token on the weights as ``plan`` stores them, where that is asked for
    plan: Plan | None = None
    one: Plan | None = None
    # allocate
    place: Place | None = None
    # quantize
    accumulator_bound: int | None = None
    sqnr_db: float | None = None
    notes: tuple[str, ...] = ()
    # emit
    emitted: bool = False
    # report
    row: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"LinearOp({self.name}: {self.m}x{self.k}x{self.n} {self.scheme})"

    @property
    def macs(self) -> int:
        return self.m * self.k * self.n

    def spec(self, machine: Machine, m: int | None = None) -> GemmSpec:
        """The layer's GEMM, for ``m`` tokens if that is given. Raises :class:`PlanError` for a
        datatype that the machine does not run."""
        return shape_spec(machine, self.m if m is None else m, self.stored_k, self.n, self.chosen,
                          self.group_size, self.asymmetric)

    @property
    def stored_k(self) -> int:
        """Columns of the stored matrix."""
        return self.k if self.columns is None else self.columns

    @property
    def chosen(self) -> Datatype | Mixture:
        if self.kind is None:
            raise VerifyError(f"layer {self.name} has no datatype yet")
        return self.kind

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

    @property
    def launches(self) -> dict[str, Launch]:
        """By the names of their programs; see :func:`launches_of`."""
        return launches_of(self.planned, self.one)

    def launched(self, program: str) -> "LinearOp":
        """The layer as one of its programs runs it, without the others."""
        plan, place = self.launches[program].plan, self.placed
        return replace(self, m=plan.spec.m, plan=plan, one=None,
                       place=replace(place, codes={PREFILL: place.codes[program]}))

    @property
    def weights(self) -> str:
        """Scheme, and the datatype if that has another name."""
        name = self.chosen.name
        return name if name == self.scheme else f"{self.scheme} ({name})"

    def __str__(self) -> str:
        parts = [f"linear {self.m}x{self.k}x{self.n}"]
        if self.kind:
            parts.append(self.weights + f" group {self.group_size}"
                         + (" asymmetric" if self.asymmetric else "")
                         + ("" if self.columns is None else f", {self.columns} columns"))
        if plan := self.plan:
            parts.append(f"tiles {len(plan.tiles)} of {plan.channels}, chunks {len(plan.chunks)} "
                         f"of {plan.chunk}, blocks {len(plan.blocks)} of {plan.block}"
                         + (", resident" if plan.resident else "")
                         + (f", {plan.kept} chunks kept" if plan.kept else "")
                         + (", weights stay" if plan.stay else "")
                         + (", row mode" if plan.row_mode else ""))
        if plan := self.one:
            parts.append(f"one token: chunks {len(plan.chunks)} of {plan.chunk}"
                         + (", weights stay" if plan.stay else ""))
        if place := self.place:
            parts += [f"{name} program {code.offset:#x} ({code.instructions})"
                      for name, code in place.codes.items()]
            parts.append(f"weights {place.weights:#x}, scales {place.scales:#x}")
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

    @property
    def attention(self) -> tuple[AttentionOp, ...]:
        return tuple(op for op in self._ops() if isinstance(op, AttentionOp))

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
            if not isinstance(op, LinearOp | AttentionOp | HostOp) or op.name != name:
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


def wanted(op: LinearOp) -> Wanted:
    return Wanted(op.name, op.planned, op.bias_tensor is not None, op.columns is not None, op.one)
