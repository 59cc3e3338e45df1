"""Tile sizes and loop order of every layer."""

from dataclasses import replace

from compiler.graph import LinearOp, Program, VerifyError
from compiler.passes.session import Progress
from hw.config import Machine
from hw.kernel import plan_gemm
from hw.pack import shape_spec
from hw.plan import Plan, PlanError


def plan_layer(machine: Machine, op: LinearOp) -> Plan:
    """The plan of a layer whose datatype is chosen. Raises :class:`PlanError` with its name."""
    try:
        return plan_gemm(machine, shape_spec(machine, op.m, op.stored_k, op.n, op.chosen,
                                             op.group_size, op.asymmetric))
    except PlanError as error:
        raise PlanError(f"layer {op.name}: {error}") from None


def run(program: Program, session: Progress) -> Program:
    """Raises :class:`PlanError` for a layer that fits no tiling."""
    plans: dict[tuple, Plan] = {}

    def plan(op: LinearOp) -> Plan:
        key = (op.m, op.stored_k, op.n, op.chosen, op.group_size, op.asymmetric)
        if key not in plans:
            plans[key] = plan_layer(program.machine, op)
        return plans[key]

    return program.with_linears(replace(op, plan=plan(op))
                                for op in session.track(program.linears, "tile"))


def verify(program: Program, session: Progress) -> None:
    for op in program.linears:
        spec, plan = op.planned.spec, op.planned
        if (spec.m, spec.k, spec.n) != (op.m, op.stored_k, op.n):
            raise VerifyError(f"the plan of layer {op.name} has another shape")
        if plan.k_tiles * program.machine.k_tile < op.stored_k or plan.n_padded < op.n:
            raise VerifyError(f"the tiles of layer {op.name} do not cover it")
