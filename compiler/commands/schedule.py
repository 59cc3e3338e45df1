"""The command ``schedule``: what the two ways to schedule a layer cost, side by side."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.program import LinearOp, Options, Program
from bitwright.compiler.mapping.map_shapes import shapes_program
from bitwright.compiler.scheduling.cosma import SolverError, schedule
from bitwright.compiler.scheduling.ilp_tiling import SECONDS, choose_plan, grid_of
from bitwright.compiler.scheduling.layer_plan import plan_layer
from bitwright.hw.commands.machine_choice import MachineChoice
from bitwright.hw.machine.description import Machine
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.models.architectures.families import EXAMPLES, read_config
from bitwright.models.command_line.option_groups import Json, WeightChoice
from bitwright.models.command_line.options_and_files import say
from bitwright.models.command_line.progress_lines import counted
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.performance.gemm_estimate import plan_cycles

__all__ = ["compare_schedules", "schedule_command"]

MACHINE, WEIGHTS = MachineChoice(), WeightChoice()
MOST_STEPS = 64  # of a layer whose replacement is solved step by step


def _free_bytes(plan: Plan, seconds: float) -> int | None:
    """Bytes with every replacement free in the plan's order of steps; None for a plan of many
    steps, or of tiles that are not alike, or if none is found in time."""
    grid = grid_of(plan)
    alike = len({*plan.tiles}) == len({*plan.blocks}) == 1
    if len(grid.operations) > MOST_STEPS or not alike:
        return None
    try:
        found = schedule(grid, grid.operations, seconds=seconds)
    except SolverError:
        return None
    return plan.table_bytes + found.bytes + plan.out_bytes


def compare_schedules(ops: Iterable[LinearOp], where: Machine, memory: Memory,
                      seconds: float) -> list[dict[str, Any]]:
    """Return one row per shape and datatype."""
    rows: dict[tuple, dict[str, Any]] = {}
    for op in counted([*ops], "layers", say):
        key = (op.m, op.stored_k, op.n, op.chosen, op.group_size, op.asymmetric)
        if key in rows:
            rows[key]["count"] += 1
            continue
        fast = plan_layer(where, op)
        best = choose_plan(where, fast.spec, seconds)
        rows[key] = {
            "layer": op.name, "count": 1, "m": op.m, "k": op.k, "n": op.n,
            "compulsory_bytes": min(fast.compulsory_bytes, best.plan.compulsory_bytes),
            "heuristic_bytes": fast.dram_bytes, "ilp_bytes": best.plan.dram_bytes,
            "free_bytes": _free_bytes(best.plan, seconds),
            "heuristic_cycles": plan_cycles(fast, memory).counters["run"],
            "ilp_cycles": plan_cycles(best.plan, memory).counters["run"],
            "gap": best.gap if best.gap < float("inf") else None,
        }
    return list(rows.values())


def _totals(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(row["count"] * row[name] for row in rows)
            for name in ("compulsory_bytes", "heuristic_bytes", "ilp_bytes", "heuristic_cycles",
                         "ilp_cycles")}


def _print(rows: list[dict[str, Any]], totals: dict[str, int]) -> None:
    table = Table("layer", "count", "M x K x N", "compulsory bytes", "heuristic", "ILP",
                  "free replacement", "cycles, heuristic", "cycles, ILP", "gap")

    def against(row: dict[str, int], name: str) -> str:
        return f"{row[name]:,} ({row[name] / row['compulsory_bytes']:.3f})"

    for row in rows:
        table.add_row(
            row["layer"], str(row["count"]), f"{row['m']} x {row['k']} x {row['n']}",
            f"{row['compulsory_bytes']:,}", against(row, "heuristic_bytes"),
            against(row, "ilp_bytes"),
            "" if row["free_bytes"] is None else against(row, "free_bytes"),
            f"{row['heuristic_cycles']:,}", f"{row['ilp_cycles']:,}",
            "" if row["gap"] is None else f"{row['gap']:.2%}")
    table.add_row("total", str(sum(row["count"] for row in rows)), "",
                  f"{totals['compulsory_bytes']:,}", against(totals, "heuristic_bytes"),
                  against(totals, "ilp_bytes"), "", f"{totals['heuristic_cycles']:,}",
                  f"{totals['ilp_cycles']:,}", "")
    Console(highlight=False, markup=False, width=200).print(table)


def schedule_command(
    folder: Annotated[Path | None, typer.Argument(
        metavar="[DIR]", help="Folder that 'bitwright map' wrote; or give --shapes-only.")] = None,
    shapes_only: Annotated[str | None, typer.Option(
        "--shapes-only", metavar="CONFIG",
        help=f"A config.json, or one of {', '.join(EXAMPLES)}.")] = None,
    where: MachineChoice = MACHINE,
    weights: WeightChoice = WEIGHTS,
    tokens: Annotated[int | None, typer.Option(
        "--tokens", min=1, max=1 << 20, help="Tokens per launch; 128, or those of an image, if "
                                             "left out.")] = None,
    seconds: Annotated[float, typer.Option(
        min=0.1, help="Seconds that the solver may take per layer.")] = SECONDS,
    as_json: Json = False,
) -> None:
    """Compare DRAM bytes and cycles of the two schedulers, layer by layer.

    They stand beside the bytes that must move. "free replacement" is the least for the integer
    program's order of steps if any tile may stay as long as it likes, for layers of few steps. The
    machine, the weights and the tokens go with --shapes-only.
    """
    if (folder is None) == (shapes_only is None):
        raise typer.BadParameter("give a folder or --shapes-only", param_hint="DIR")
    if folder is not None:
        image = open_image(folder)
        machine, memory = image.machine, image.options.memory
        ops: Iterable[LinearOp] = image.layers.values()
    else:
        assert shapes_only is not None
        machine, memory = where.read(), Memory()
        options = Options(weights=weights.weights, group_size=weights.group_size,
                          asymmetric=weights.asymmetric)
        program: Program = shapes_program(read_config(shapes_only), machine, options,
                                          tokens=tokens)
        ops = program.linears
    rows = compare_schedules(ops, machine, memory, seconds)
    totals = _totals(rows)
    if as_json:
        print(json.dumps({"machine": machine.name, "layers": rows, "totals": totals}))
    else:
        _print(rows, totals)
