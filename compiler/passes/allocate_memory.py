"""Allocates one memory map for the model: programs, weights, and room for activations and outputs.
"""

from dataclasses import replace

from bitwright.compiler.ir.memory_map import ADDRESS_LIMIT, allocate
from bitwright.compiler.ir.program import Program, VerifyError, wanted
from bitwright.compiler.passes.session import Session
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES


def run(program: Program, session: Session) -> Program:
    """Raises as :func:`bitwright.compiler.ir.memory_map.allocate`."""
    ops = program.linears
    memory_map, places = allocate([wanted(op) for op in ops])
    placed = (replace(op, place=place) for op, place in zip(ops, places, strict=True))
    return replace(program.with_linears(placed), memory_map=memory_map)


def verify(program: Program, session: Session) -> None:
    where = program.memory_map
    if where is None or where.size > ADDRESS_LIMIT:
        raise VerifyError("the memory map is missing or exceeds 32-bit addresses")
    spans = []
    for op in program.linears:
        place, plan = op.placed, op.planned
        spans += [(code.offset, code.instructions * INSTRUCTION_BYTES)
                  for code in place.codes.values()]
        spans += [(place.weights, plan.stored_bytes), (place.scales, plan.scale_bytes),
                  (place.correction, 8 * op.n), (place.channel_scale, 8 * op.n)]
        if place.bias is not None:
            spans.append((place.bias, 4 * op.n))
        if place.columns is not None:
            spans.append((place.columns, 4 * op.stored_k))
        if any(launch.plan.act_bytes > where.acts_bytes
               or launch.plan.out_bytes > where.outputs_bytes for launch in op.launches.values()):
            raise VerifyError(f"activations or outputs of layer {op.name} exceed their region")
    spans += [(where.acts, where.acts_bytes), (where.outputs, where.outputs_bytes)]
    spans.sort()
    for (start, size), (following, _) in zip(spans, spans[1:], strict=False):
        if start + size > following:
            raise VerifyError(f"regions overlap at {following:#x}")
