"""Generates the launches of one layer that read the same stored weights. They differ in the number
of tokens; where all weights stay in their buffers, later launches do not load them again."""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from bitwright.hw.codegen.gemm_program import (
    ANYWHERE,
    Regions,
    gemm_program,
    length_of,
    program_length,
    relaunch_program,
)
from bitwright.hw.isa.program_tree import Node
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.hw.tiling.plan_search import plans_alike, weights_fit
from bitwright.hw.tiling.tile_plan import Plan

__all__ = ["Launch", "follows", "launch_length", "launch_program", "plan_alike",
           "plan_one_token", "staying"]


class Launch(NamedTuple):
    """One start of the machine. ``again``: weights and scales are in their buffers, where a launch
    that this one :func:`follows` left them, and are not loaded."""
    plan: Plan
    again: bool = False


def launch_program(launch: Launch, regions: Regions) -> tuple[Node, ...]:
    """The launch's program, as a loop tree ending in ``halt``."""
    return (relaunch_program if launch.again else gemm_program)(launch.plan, regions)


@lru_cache(maxsize=256)
def launch_length(launch: Launch) -> int:
    """Instructions of the launch's program, wherever its regions are."""
    return length_of(launch_program(launch, ANYWHERE))


@lru_cache(maxsize=256)
def staying(plan: Plan) -> Plan:
    """``plan`` with weights that stay in their buffers, if all of them fit there and the programs
    of both kinds of launch fit theirs; else ``plan`` itself."""
    if plan.kept or not weights_fit(plan):
        return plan
    found = replace(plan, stay=True)
    lengths = (launch_length(Launch(found)), launch_length(Launch(found, True)))
    return found if max(lengths) <= plan.machine.program_depth else plan


@lru_cache(maxsize=256)
def plan_alike(plan: Plan, m: int) -> Plan:
    """The best plan for ``m`` tokens on the weights as ``plan`` stores them whose program fits; if
    weights stay under ``plan``, the best that may follow it, where there is one.

    Raises :class:`PlanError` if there is none."""
    spec = plan.spec
    if m == spec.m:
        return plan
    found = [one for one in plans_alike(plan, m)
             if program_length(one) <= plan.machine.program_depth]
    if plan.stay:
        found = [one for one in map(staying, found) if follows(one, plan)] or found
    if found:
        return found[0]
    raise PlanError(f"no program for {m}x{spec.k}x{spec.n} on weights stored for {spec.m} tokens "
                    f"fits the {plan.machine.program_depth} instructions that machine "
                    f"{plan.machine.name} holds; raise them with --set program_depth=…")


def plan_one_token(plan: Plan) -> Plan:
    """The plan for one token on the weights as ``plan`` stores them; see :func:`plan_alike`."""
    return plan_alike(plan, 1)


def follows(plan: Plan, before: Plan) -> bool:
    """Say whether a launch of ``plan`` may reuse the weights on chip. It comes right after a launch
    of ``before``, of the same layer."""
    return plan.stay and before.stay and _places(plan) == _places(before)


def _places(plan: Plan) -> tuple[object, ...]:
    """Return what decides where resident weights and scales lie in their buffers. They come in the
    order of memory. Only the scales of a group that spans several chunks are copied, once per
    chunk."""
    return plan.tiles, plan.row_mode, max(1, plan.group_tiles // plan.chunk)
