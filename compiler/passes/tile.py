"""Tile sizes and loop order of every layer."""

from dataclasses import replace

from compiler.graph import LinearOp, Program, VerifyError
from compiler.passes.session import Session
from hw.config import Machine
from hw.kernel import plan_gemm
from hw.plan import GemmSpec, Plan, PlanError
from models.formats import datatype


def plan_layer(machine: Machine, op: LinearOp) -> Plan:
    """The plan of a layer whose datatype is chosen. Raises :class:`PlanError` with its name."""
    kind = datatype(op.datatype)
    try:
        if kind.correction not in (0, -1):
            raise PlanError(f"datatype {kind.name} does not run on this array")
        spec = GemmSpec(
            m=op.m, k=op.k, n=op.n, sigma=kind.correction == -1, offset=op.asymmetric,
            digits=tuple((shift, len(planes)) for shift, planes in kind.digits),
            group_size=op.group_size)
        return plan_gemm(machine, spec)
    except PlanError as error:
        raise PlanError(f"layer {op.name}: {error}") from None


def run(program: Program, session: Session) -> Program:
    """Raises :class:`PlanError` for a layer that fits no tiling."""
    plans: dict[tuple, Plan] = {}

    def plan(op: LinearOp) -> Plan:
        key = (op.m, op.k, op.n, op.datatype, op.group_size, op.asymmetric)
        if key not in plans:
            plans[key] = plan_layer(program.machine, op)
        return plans[key]

    return program.with_linears(replace(op, plan=plan(op)) for op in program.linears)


def verify(program: Program, session: Session) -> None:
    for op in program.linears:
        spec, plan = op.planned.spec, op.planned
        if (spec.m, spec.k, spec.n) != (op.m, op.k, op.n):
            raise VerifyError(f"the plan of layer {op.name} has another shape")
        if plan.k_tiles * program.machine.k_tile < op.k or plan.n_padded < op.n:
            raise VerifyError(f"the tiles of layer {op.name} do not cover it")
