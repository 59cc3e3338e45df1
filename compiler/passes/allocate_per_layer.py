"""Allocates memory for each layer as if it were alone. No weights are stored, so a model of any
size has its cycles."""

from dataclasses import replace

from bitwright.compiler.ir.memory_map import Place, Wanted, allocate
from bitwright.compiler.ir.program import LinearOp, Program, VerifyError, wanted
from bitwright.compiler.passes.session import Progress


def run(program: Program, session: Progress) -> Program:
    """Raises as :func:`bitwright.compiler.ir.memory_map.allocate`, for one layer."""
    known: dict[Wanted, Place] = {}

    def place(op: LinearOp) -> Place:
        key = wanted(op)._replace(name="")
        if key not in known:
            (known[key],) = allocate([wanted(op)])[1]
        return known[key]

    return program.with_linears(replace(op, place=place(op)) for op in program.linears)


def verify(program: Program, session: Progress) -> None:
    for op in program.linears:
        if op.placed.scales < op.placed.weights + op.planned.stored_bytes:
            raise VerifyError(f"the scales of layer {op.name} lie in its weights")
