"""Tile sizes and loop order of every layer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from compiler.graph import LinearOp, Program, VerifyError
from compiler.passes.session import Progress
from compiler.tilings import choose_plan, read_plan
from hw.config import Machine
from hw.kernel import plan_gemm
from hw.plan import Plan, PlanError

HEURISTIC, ILP = SCHEDULES = ("heuristic", "ilp")


def plan_layer(machine: Machine, op: LinearOp, schedule: str = HEURISTIC,
               fields: Mapping[str, Any] | None = None) -> Plan:
    """The plan of a layer whose datatype is chosen; that of ``fields`` where they were chosen
    before. Raises :class:`PlanError` with its name."""
    try:
        spec = op.spec(machine)
        if schedule == HEURISTIC:
            return plan_gemm(machine, spec)
        return choose_plan(machine, spec).plan if fields is None else read_plan(machine, spec,
                                                                                fields)
    except PlanError as error:
        raise PlanError(f"layer {op.name}: {error}") from None


def run(program: Program, session: Progress) -> Program:
    """Raises :class:`PlanError` for a layer that fits no tiling."""
    plans: dict[tuple, Plan] = {}

    def plan(op: LinearOp) -> Plan:
        key = (op.m, op.stored_k, op.n, op.chosen, op.group_size, op.asymmetric)
        if key not in plans:
            plans[key] = plan_layer(program.machine, op, program.options.schedule)
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
