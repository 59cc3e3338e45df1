"""One GEMM end to end in simulation: memory image, RTL run, comparison."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hw.config import Machine
from hw.isa import INSTRUCTION_BYTES, Node
from hw.kernel import Regions, gemm_program, plan_gemm, program_bytes
from hw.pack import (
    PackedWeights,
    by_column,
    gemm_spec,
    pack_activations,
    pack_weights,
    unpack_outputs,
)
from hw.plan import Plan, align
from models.matrix import QuantizedMatrix
from sim.cycles import CycleResult, run_cycles
from sim.memory import Memory
from sim.verilated import RunResult, Say, SimulationError, memory_image, run, silent

__all__ = ["Layout", "Simulated", "layout", "regions_of", "run_gemm", "simulate_gemm"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where one GEMM lies in memory."""
    plan: Plan
    regions: Regions
    program: tuple[Node, ...]
    code: bytes
    size: int


def regions_of(plan: Plan) -> tuple[Regions, int]:
    """Program at 0, then weights, scales, activations and outputs, each on a page of its own; and
    where they end."""
    start = align(plan.machine.program_depth * INSTRUCTION_BYTES)
    sizes = (plan.stored_bytes, plan.scale_bytes, plan.act_bytes, plan.out_bytes)
    places = []
    for size in sizes:
        places.append(start)
        start = align(start + size)
    return Regions(weights=places[0], scales=places[1], acts=places[2],
                   outputs=places[3]), start


def layout(plan: Plan) -> Layout:
    """The program of ``plan`` and its regions."""
    regions, size = regions_of(plan)
    program = gemm_program(plan, regions)
    return Layout(plan=plan, regions=regions, program=program,
                  code=program_bytes(program, plan.machine), size=size)


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A GEMM run on RTL and in the cycle model: accumulators int64 [m, n] and counters."""
    plan: Plan
    y: NDArray[np.int64]
    rtl: RunResult
    model: CycleResult


def simulate_gemm(machine: Machine, qm: QuantizedMatrix, a: NDArray[np.integer],
                  memory: Memory = Memory(), say: Say = silent, *,
                  simulator: Path | None = None) -> Simulated:
    """Map ``qm`` and activations ``a`` [m, features] to ``machine`` and run them, on ``simulator``
    in place of the machine's own.

    Raises :class:`hw.plan.PlanError` if it does not fit the machine."""
    where = layout(plan_gemm(machine, gemm_spec(machine, len(a), qm)))
    model = run_cycles(machine, where.program, memory)
    y, rtl = run_gemm(where, pack_weights(where.plan, qm), by_column(qm, a), memory, say,
                      max_cycles=2 * model.counters["total"] + 1000, simulator=simulator)
    return Simulated(plan=where.plan, y=y, rtl=rtl, model=model)


def run_gemm(where: Layout, packed: PackedWeights, a: NDArray[np.integer],
             memory: Memory = Memory(), say: Say = silent, *,
             max_cycles: int = 2_000_000_000,
             simulator: Path | None = None) -> tuple[NDArray[np.int64], RunResult]:
    """Accumulators int64 [m, n] from the RTL, and its counters."""
    plan, regions = where.plan, where.regions
    image = memory_image(where.size, (
        (0, where.code), (regions.weights, packed.weights), (regions.scales, packed.scales),
        (regions.acts, pack_activations(plan, a))))
    result = run(plan.machine, image, program=0, length=len(where.code) // INSTRUCTION_BYTES,
                 dump=(regions.outputs, plan.out_bytes), memory=memory, say=say,
                 max_cycles=max_cycles, simulator=simulator)
    if result.error:
        raise SimulationError(f"the machine stopped: {result.error}")
    return unpack_outputs(plan, result.dump, packed.correction), result
