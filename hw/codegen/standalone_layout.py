"""Lays out the memory of a single GEMM: program, weights, scales, activations, outputs."""

from dataclasses import dataclass

from bitwright.hw.codegen.gemm_program import Regions, gemm_program, program_bytes
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.isa.program_tree import Node
from bitwright.hw.tiling.tile_plan import Plan, align


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The place of one GEMM in memory."""
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
