"""Simulates several products in one launch: memory image, RTL run, accumulators of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.codegen.gemm_chain import chain_program, place_chain
from bitwright.hw.codegen.gemm_program import Regions, program_bytes
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.isa.program_tree import Node
from bitwright.hw.packing.weight_image import PackedWeights, pack_activations, unpack_outputs
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.verilator.simulator import Contents, RunResult, build, memory_image, run
from bitwright.sim.verilator.verilator_build import Say, SimulationError, silent

__all__ = ["ChainLayout", "chain_contents", "chain_layout", "run_chain"]


@dataclass(frozen=True, kw_only=True)
class ChainLayout:
    """The place of a chain's products in memory. The program lies at 0, outputs from ``outputs`` to
    ``size``."""
    plans: tuple[Plan, ...]
    regions: tuple[Regions, ...]
    program: tuple[Node, ...]
    code: bytes
    outputs: int
    size: int


def chain_layout(plans: Sequence[Plan]) -> ChainLayout:
    """The program of ``plans`` and their regions. Raises what :func:`chain_program` and
    :func:`program_bytes` do."""
    machine = plans[0].machine
    regions, outputs, size = place_chain(plans, machine.program_depth * INSTRUCTION_BYTES)
    program = chain_program(plans, regions)
    return ChainLayout(plans=tuple(plans), regions=tuple(regions), program=program,
                       code=program_bytes(program, machine), outputs=outputs, size=size)


def chain_contents(where: ChainLayout, packed: Sequence[PackedWeights],
                   activations: Sequence[NDArray[np.integer]]) -> Contents:
    """What memory holds before the chain runs; activations are [m, k] by stored column."""
    pieces = [(0, where.code)]
    for plan, regions, weights, a in zip(where.plans, where.regions, packed, activations,
                                         strict=True):
        pieces += [(regions.weights, weights.weights), (regions.scales, weights.scales),
                   (regions.acts, pack_activations(plan, a))]
    return tuple(pieces)


def run_chain(where: ChainLayout, packed: Sequence[PackedWeights],
              activations: Sequence[NDArray[np.integer]], memory: Memory = Memory(),
              say: Say = silent, *, max_cycles: int = 2_000_000_000,
              simulator: Path | None = None) -> tuple[list[NDArray[np.int64]], RunResult]:
    """Accumulators int64 [m, n] of every product from the RTL, and its counters."""
    image = memory_image(where.size, chain_contents(where, packed, activations))
    result = run(where.plans[0].machine, image,
                 [(0, len(where.code) // INSTRUCTION_BYTES)],
                 dump=(where.outputs, where.size - where.outputs), memory=memory,
                 max_cycles=max_cycles,
                 simulator=simulator or build(where.plans[0].machine, say))
    if result.error:
        raise SimulationError(f"the machine stopped: {result.error}")
    found = []
    for plan, regions, weights in zip(where.plans, where.regions, packed, strict=True):
        at = regions.outputs - where.outputs
        found.append(unpack_outputs(plan, result.dump[at:at + plan.out_bytes],
                                    weights.correction))
    return found, result
