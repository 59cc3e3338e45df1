"""Simulates one GEMM from end to end: memory image, RTL run, comparison."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.codegen.standalone_layout import Layout, layout
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.weight_image import (
    PackedWeights,
    by_column,
    gemm_spec,
    pack_activations,
    pack_weights,
    unpack_outputs,
)
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import CycleResult, run_cycles
from bitwright.sim.verilator.simulator import Contents, RunResult, build, memory_image, run
from bitwright.sim.verilator.verilator_build import Say, SimulationError, silent

__all__ = ["Layout", "Simulated", "gemm_contents", "layout", "run_gemm", "simulate_gemm"]


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

    Raises :class:`bitwright.hw.tiling.tile_plan.PlanError` if it does not fit the machine."""
    where = layout(plan_gemm(machine, gemm_spec(machine, len(a), qm)))
    model = run_cycles(machine, where.program, memory)
    y, rtl = run_gemm(where, pack_weights(where.plan, qm), by_column(qm, a), memory, say,
                      max_cycles=2 * model.counters["total"] + 1000, simulator=simulator)
    return Simulated(plan=where.plan, y=y, rtl=rtl, model=model)


def gemm_contents(where: Layout, packed: PackedWeights, a: NDArray[np.integer]) -> Contents:
    """What memory holds before the product of activations ``a`` [m, k] by stored column runs."""
    return ((0, where.code), (where.regions.weights, packed.weights),
            (where.regions.scales, packed.scales),
            (where.regions.acts, pack_activations(where.plan, a)))


def run_gemm(where: Layout, packed: PackedWeights, a: NDArray[np.integer],
             memory: Memory = Memory(), say: Say = silent, *,
             max_cycles: int = 2_000_000_000,
             simulator: Path | None = None) -> tuple[NDArray[np.int64], RunResult]:
    """Accumulators int64 [m, n] from the RTL, and its counters."""
    plan, regions = where.plan, where.regions
    image = memory_image(where.size, gemm_contents(where, packed, a))
    result = run(plan.machine, image, [(0, len(where.code) // INSTRUCTION_BYTES)],
                 dump=(regions.outputs, plan.out_bytes), memory=memory, max_cycles=max_cycles,
                 simulator=simulator or build(plan.machine, say))
    if result.error:
        raise SimulationError(f"the machine stopped: {result.error}")
    return unpack_outputs(plan, result.dump, packed.correction), result
