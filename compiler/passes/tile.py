"""Chooses tile sizes and loop order of every layer."""

from dataclasses import replace

from bitwright.compiler.ir.program import LinearOp, Program, VerifyError
from bitwright.compiler.passes.session import Progress
from bitwright.compiler.scheduling.layer_plan import plans_of
from bitwright.hw.tiling.tile_plan import Plan


def run(program: Program, session: Progress) -> Program:
    """Raises :class:`PlanError` for a layer that fits no tiling."""
    plans: dict[tuple, tuple[Plan, Plan | None]] = {}

    def tiled(op: LinearOp) -> LinearOp:
        key = (op.m, op.stored_k, op.n, op.chosen, op.group_size, op.asymmetric)
        if key not in plans:
            plans[key] = plans_of(program.machine, op, program.options)
        plan, one = plans[key]
        return replace(op, plan=plan, one=one)

    return program.with_linears(map(tiled, session.track(program.linears, "tile")))


def verify(program: Program, session: Progress) -> None:
    for op in program.linears:
        spec, plan = op.planned.spec, op.planned
        if (spec.m, spec.k, spec.n) != (op.m, op.stored_k, op.n):
            raise VerifyError(f"the plan of layer {op.name} has another shape")
        if plan.k_tiles * program.machine.k_tile < op.stored_k or plan.n_padded < op.n:
            raise VerifyError(f"the tiles of layer {op.name} do not cover it")
        if program.options.decode != (op.one is not None):
            raise VerifyError(f"layer {op.name} lacks a plan for one token, or has one unasked")
        if (one := op.one) is not None and (one.spec != replace(spec, m=1)
                                            or one.tiles != plan.tiles
                                            or one.row_mode != plan.row_mode):
            raise VerifyError(f"one token of layer {op.name} does not read its stored weights")
