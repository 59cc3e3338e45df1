"""Estimates cycles, traffic and chip area of a GEMM or a model, without weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bitwright.compiler.interface.error_hierarchy import ArgumentError, raises_error
from bitwright.compiler.interface.machine_choice import MachineLike, chosen_machine
from bitwright.compiler.interface.report_objects import (
    Report,
    Resources,
    report_of,
    resources_of,
)
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_shapes import map_shapes
from bitwright.hw.machine.chip_resources import fits
from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.models.architectures.families import read_config
from bitwright.models.quantization.schemes import scheme
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.performance.gemm_estimate import estimate_gemm

__all__ = ["Estimate", "Workload", "estimate", "workload_name"]

Workload = tuple[int, int, int] | str | Path | Mapping[str, Any]
GEMM = re.compile(r"([1-9]\d{0,8})x([1-9]\d{0,8})x([1-9]\d{0,8})")


@dataclass(frozen=True, kw_only=True, repr=False)
class Estimate:
    """The cost of a workload on a machine.

    Members
    -------
    workload : ``MxKxN`` of a GEMM, or the model's name
    weights : the datatype or scheme
    macs : multiply-accumulates
    cycles : clock cycles of the array, attention's left out
    utilization : share of the array's peak
    roofline_cycles : the least that peak and memory allow
    dram_bytes : bytes moved to and from memory
    resources : what the machine takes, per chip family; empty for elements never synthesized
    report : of a model, the costs of every layer
    """
    workload: str
    machine: Machine
    weights: str
    macs: int
    cycles: int
    utilization: float
    roofline_cycles: float
    dram_bytes: int
    resources: tuple[Resources, ...]
    report: Report | None = None

    @property
    def luts(self) -> int | None:
        """LUT4s on the machine's chip family, the first of several; None if unknown."""
        return self.resources[0].luts if self.resources else None

    def __repr__(self) -> str:
        luts = "unknown" if self.luts is None else f"{self.luts:,}"
        return (f"Estimate({self.workload} {self.weights} on {self.machine.name}: "
                f"{self.cycles:,} cycles, {luts} LUTs)")


def workload_name(work: Workload) -> str:
    """Return the name of a workload in tables and plots."""
    if isinstance(work, tuple):
        return "x".join(map(str, work))
    return str(work.get("model_type", "model")) if isinstance(work, Mapping) else str(work)


@cache
def _resources(machine: Machine) -> tuple[Resources, ...]:
    return resources_of(fits(machine))


def _shape(work: Workload) -> tuple[int, int, int] | None:
    """The shape of a GEMM; None for a model."""
    if isinstance(work, tuple):
        if len(work) != 3 or not all(isinstance(size, int) and size > 0 for size in work):
            raise ArgumentError(f"a GEMM is three positive integers (m, k, n), not {work!r}")
        return work
    found = GEMM.fullmatch(work) if isinstance(work, str) else None
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


@raises_error
def estimate(workload: Workload, machine: MachineLike = "ulx3s-85f", *, weights: str = "int4",
             group_size: int | None = None, asymmetric: bool = False, tokens: int | None = None,
             context: int = 0, memory: Memory = Memory()) -> Estimate:
    """Estimate the cycles of a GEMM or a model on a machine, and the LUTs of the machine.

    Parameters
    ----------
    workload : a GEMM ``(m, k, n)`` or ``"MxKxN"`` (tokens, input features, output channels); or a
        model: a name such as ``llama-2-7b``, a ``config.json`` or its contents
    machine : a machine, a preset's name, or a ``.toml`` or ``.json`` file
    weights : a datatype, mixture or scheme, or a datatype's ``.toml`` file
    group_size : input features per scale, 0 for the whole channel; the scheme's own if left out
    asymmetric : give every group an offset
    tokens : of a model, tokens per launch; 128, or those of an image, if left out
    context : of a model, earlier tokens that attention reads too
    memory : latency and interval of the memory, in cycles

    Raises ``PlanError`` or ``MapError`` for what does not fit the machine, ``ConfigError`` for an
    unknown model.

    >>> estimate((16, 256, 256), "tiny").cycles
    66234
    """
    config, name = chosen_machine(machine), workload_name(workload)
    shape = _shape(workload)
    if shape is None:
        assert not isinstance(workload, tuple)
        values = workload if isinstance(workload, Mapping) else read_config(str(workload))
        found = map_shapes(values, config, Options(weights=weights, group_size=group_size,
                                                   asymmetric=asymmetric, memory=memory),
                           tokens=tokens, context=context)
        report = report_of(found)
        totals = report.totals
        return Estimate(workload=name, machine=config, weights=weights, macs=totals.macs,
                        cycles=totals.cycles, utilization=totals.utilization,
                        roofline_cycles=totals.roofline_cycles, dram_bytes=totals.dram_bytes,
                        resources=report.resources, report=report)
    m, k, n = shape
    kind = scheme(weights)
    size = min(kind.check(group_size, asymmetric, 8, False) or k, k)
    spec = shape_spec(config, m, kind.stored_columns(k, size) or k, n, kind.datatype, size,
                      asymmetric)
    cost = estimate_gemm(config, spec, memory)
    return Estimate(workload=name, machine=config, weights=weights, macs=m * k * n,
                    cycles=cost["cycles"], utilization=cost["utilization"],
                    roofline_cycles=cost["roofline_cycles"], dram_bytes=cost["dram_bytes"],
                    resources=_resources(config))
