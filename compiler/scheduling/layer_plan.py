"""Plans the tiling of one layer, by heuristic or by integer program."""

from collections.abc import Mapping
from typing import Any

from bitwright.compiler.ir.program import LinearOp, Options
from bitwright.compiler.scheduling.ilp_tiling import choose_plan, read_plan
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.codegen.launch_programs import plan_one_token, staying
from bitwright.hw.machine.description import Machine
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.hw.tiling.tile_plan import Plan

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
