"""Estimates the cycles of one GEMM from its shape: plan, program, cycle model. It needs no weights
and no RTL."""

from typing import Any

from bitwright.hw.codegen.gemm_program import gemm_program, plan_gemm
from bitwright.hw.codegen.standalone_layout import regions_of
from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.hw.tiling.gemm_spec import GemmSpec
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import CycleResult, run_cycles

__all__ = ["estimate_gemm", "plan_cycles", "shape_spec"]


def plan_cycles(plan: Plan, memory: Memory) -> CycleResult:
    """Return the cycle model's result for a plan's program. The GEMM is alone in memory, as
    :mod:`bitwright.hw.codegen.standalone_layout` lays it out."""
    return run_cycles(plan.machine, gemm_program(plan, regions_of(plan)[0]), memory)


def estimate_gemm(machine: Machine, spec: GemmSpec, memory: Memory) -> dict[str, Any]:
    """Predicted cycles, counters and traffic.

    Raises :class:`bitwright.hw.tiling.tile_plan.PlanError` if the GEMM does not fit the machine."""
    plan = plan_gemm(machine, spec)
    counters = plan_cycles(plan, memory)
    cycles = counters.counters["run"]
    roofline, bound = plan.roofline(memory.interval)
    return {
        "m": spec.m, "k": spec.k, "n": spec.n, "macs": spec.macs, "cycles": cycles,
        "total_cycles": counters.counters["total"],
        "utilization": spec.macs / (cycles * machine.macs_per_cycle(spec.slots)),
        "roofline_cycles": roofline, "roofline_efficiency": roofline / cycles,
        "bound": bound,
        "weight_bytes": plan.stored_bytes + plan.scale_bytes, "dram_bytes": plan.dram_bytes,
        "compulsory_bytes": plan.compulsory_bytes, "row_mode": plan.row_mode,
        "tile": {"channels_per_column": plan.channels, "k_tiles": plan.chunk,
                 "token_tiles": plan.block, "resident_activations": plan.resident},
        "engines": counters.engines,
    }
