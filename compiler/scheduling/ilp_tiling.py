"""Finds the plan of a layer that moves the fewest bytes, by an integer linear program.

Of every tiling that the program generator runs one is chosen, together with the number of chunks
of activations that stay on chip, within the words of each scratchpad.
:mod:`bitwright.compiler.scheduling.cosma` is the
program of a single tiling's steps, whose order and replacement are free.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bitwright.compiler.scheduling.cosma import Grid, Model, SolverError
from bitwright.hw.codegen.gemm_program import plan_gemm, program_length
from bitwright.hw.machine.description import Machine
from bitwright.hw.tiling.cycle_bound import rough_cycles
from bitwright.hw.tiling.gemm_spec import GemmSpec, PlanError
from bitwright.hw.tiling.plan_search import all_plans, candidates, check_plan
from bitwright.hw.tiling.tile_plan import Plan

__all__ = ["Chosen", "choose_plan", "grid_of", "plan_fields", "read_plan"]

MOST_TRIES = 40
SECONDS = 20.0  # of the solver, per layer
FIELDS = ("channels", "chunk", "block", "resident", "kept", "stay")


class Chosen(NamedTuple):
    """``gap``: relative, to the best bound that was proved."""
    plan: Plan
    gap: float


def _program(plans: list[Plan], allowed: list[bool]) -> tuple[Model, list[int], list[int]]:
    """The integer program, its variables of choice and of chunks kept."""
    model, machine = Model(), plans[0].machine
    base = min(plan.compulsory_bytes for plan in plans)
    cycles = [rough_cycles(plan) for plan in plans]
    chosen, kept = [], []
    for plan, taken, good in zip(plans, cycles, allowed, strict=True):
        none, one = (replace(plan, kept=count).dram_bytes for count in (0, 1))
        # In beats; cycles of all plans lie within half of one.
        cost = (none - base) / machine.beat_bytes + taken / (2 * max(cycles))
        chosen.append(model.variable(cost, upper=int(good)))
        kept.append(model.variable((one - none) / machine.beat_bytes, upper=plan.kept))
        if plan.kept:
            step = plan.block * plan.act_words(plan.chunk)
            model.row([(kept[-1], step), (chosen[-1], step - machine.act_depth)], -np.inf, 0)
            model.row([(kept[-1], 1), (chosen[-1], 2 - len(plan.chunks))], -np.inf, 0)
        else:
            model.row([(kept[-1], 1)], 0, 0)
    model.row([(variable, 1) for variable in chosen], 1, 1)
    for words, depth in ((_weights, machine.weight_depth), (_scales, machine.scale_depth),
                         (_psums, machine.psum_depth), (_outputs, machine.out_depth)):
        model.row([(variable, words(plan)) for variable, plan in zip(chosen, plans, strict=True)],
                  0, depth)
    return model, chosen, kept


def _weights(plan: Plan) -> int:
    """Words of two chunks, or of all that stay."""
    return plan.loaded_weight_words if plan.stay else 2 * plan.weight_words(
        plan.channels, plan.chunk)


def _scales(plan: Plan) -> int:
    return plan.loaded_scale_words if plan.stay else 2 * plan.scale_words(
        plan.channels, plan.chunk_groups(plan.chunk))


def _psums(plan: Plan) -> int:
    return plan.channels * (plan.block if len(plan.chunks) > 1 else 1)


def _outputs(plan: Plan) -> int:
    return plan.out_words(plan.channels)


def choose_plan(machine: Machine, spec: GemmSpec, seconds: float = SECONDS) -> Chosen:
    """The plan that moves the fewest bytes and, of those, the one with the fewest estimated
    cycles; never more bytes than the fast choice. A plan whose program is too long is ruled out,
    and the rest solved again. Raises :class:`PlanError` as :func:`plan_gemm`."""
    fast = plan_gemm(machine, spec)
    plans = list(dict.fromkeys([*candidates(machine, spec), *all_plans(machine, spec, True)]))
    plans = [plan for plan in plans if plan.dram_bytes <= fast.dram_bytes]
    allowed = [True] * len(plans)
    for _ in range(min(MOST_TRIES, len(plans))):
        model, chosen, kept = _program(plans, allowed)
        try:
            values, gap = model.solve(seconds)
        except SolverError:
            break
        index = next(index for index, variable in enumerate(chosen) if values[variable])
        plan = replace(plans[index], kept=values[kept[index]])
        if program_length(plan) <= machine.program_depth:
            return Chosen(min(plan, fast, key=lambda one: (one.dram_bytes, rough_cycles(one))), gap)
        allowed[index] = False
    return Chosen(fast, float("inf"))


def plan_fields(plan: Plan) -> dict[str, Any]:
    """Return the fields that tell a plan from others of its GEMM."""
    return {name: getattr(plan, name) for name in FIELDS}


def read_plan(machine: Machine, spec: GemmSpec, fields: Mapping[str, Any]) -> Plan:
    """The plan of these fields. Raises :class:`PlanError` for one that is none, or does not
    fit."""
    for name in FIELDS:
        kind = bool if name in ("resident", "stay") else int
        if type(fields.get(name)) is not kind:
            raise PlanError(f"{name} of a plan must be {kind.__name__}, not {fields.get(name)!r}")
    plan = Plan(machine=machine, spec=spec, row_mode=spec.m == 1 and machine.rows > 1,
                **{name: fields[name] for name in FIELDS})
    check_plan(plan)
    return plan


def grid_of(plan: Plan) -> Grid:
    """The plan's tiles as the steps' program sees them. The last tile of output channels and the
    last block count as whole ones."""
    machine = plan.machine
    block, channels = plan.blocks[0], plan.tiles[0]
    acts = tuple(block * plan.act_words(size) for size in plan.chunks)
    weights = tuple(plan.weight_words(channels, size) for size in plan.chunks)
    scales = tuple(plan.scale_words(channels, plan.chunk_groups(size)) for size in plan.chunks)
    return Grid(
        blocks=len(plan.blocks), tiles=len(plan.tiles), chunks=len(plan.chunks), act_words=acts,
        weight_words=weights, act_bytes=tuple(size * plan.act_word_bytes for size in acts),
        weight_bytes=tuple(
            (size * machine.weight_word_bits + scale * machine.scale_word_bits) // 8
            for size, scale in zip(weights, scales, strict=True)),
        act_depth=machine.act_depth, weight_depth=machine.weight_depth,
        open_outputs=machine.psum_depth // (channels * block) or 1)
