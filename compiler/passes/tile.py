"""Tile sizes and loop order of every layer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from compiler.graph import LinearOp, Options, Program, VerifyError
from compiler.passes.session import Progress
from compiler.tilings import choose_plan, read_plan
from hw.config import Machine
from hw.kernel import plan_gemm
from hw.launch import plan_one_token, staying
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


def plans_of(machine: Machine, op: LinearOp, options: Options,
             fields: Mapping[str, Any] | None = None) -> tuple[Plan, Plan | None]:
    """The layer's plan as :func:`plan_layer` gives it, and that of its one-token program. With
    one, weights stay in their buffers where they fit."""
    plan = plan_layer(machine, op, options.schedule, fields)
    if not options.decode:
        return plan, None
    plan = staying(plan)
    try:
        return plan, plan_one_token(plan)
    except PlanError as error:
        raise PlanError(f"layer {op.name}: {error}") from None


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
