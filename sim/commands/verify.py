"""The command ``verify``."""

import json

import typer
from rich.console import Console
from rich.table import Table

from bitwright.hw.commands.machine_choice import MachineChoice
from bitwright.models.command_line.option_groups import Json, Seed, WeightChoice
from bitwright.models.command_line.options_and_files import say
from bitwright.models.quantization.schemes import SCHEMES
from bitwright.sim.commands.gemm_options import (
    Activations,
    GemmShape,
    MemoryChoice,
    stored_shape,
    with_activations,
)
from bitwright.sim.verification.gemm_fuzz import Case, Comparison, compare

__all__ = ["verify"]

MACHINE, WEIGHTS, MEMORY = MachineChoice(machine="tiny"), WeightChoice(), MemoryChoice()


def verify(
    shape: GemmShape,
    weights: WeightChoice = WEIGHTS,
    activations: Activations = None,
    where: MachineChoice = MACHINE,
    memory: MemoryChoice = MEMORY,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Run one random GEMM on RTL, golden model and cycle model, and compare them.

    Exit status 1 if a bit or a cycle differs.
    """
    m, k, n = shape.sizes
    chosen, group_size, columns = stored_shape(weights.weights, k, weights.group_size,
                                               weights.asymmetric)
    name = chosen.datatype.name if chosen.name in SCHEMES else weights.weights
    case = Case(machine=with_activations(where.read(), activations), m=m, k=columns, n=n,
                datatype=name, group_size=group_size, asymmetric=weights.asymmetric, seed=seed,
                memory=memory.read())
    found = compare(case, say)
    if as_json:
        print(json.dumps(found.to_dict()))
    else:
        _print(found)
    if not found.ok:
        raise typer.Exit(1)


def _print(found: Comparison) -> None:
    console = Console(highlight=False)
    case = found.case
    console.print(f"{case}: {found.mismatches} of {case.m * case.n} accumulators differ")
    table = Table("engine", "counter", "RTL", "model")
    rows = [("core", name, found.rtl.counters[name], found.model.counters[name])
            for name in ("run", "total")]
    rows += [(engine, name, value, found.model.engines[engine][name])
             for engine, values in found.rtl.engines.items() for name, value in values.items()]
    for engine, name, rtl, model in rows:
        table.add_row(engine, name, f"{rtl:,}", f"{model:,}",
                      style="" if rtl == model else "bold red")
    console.print(table)
    console.print(f"roofline {found.roofline_cycles:,.0f} cycles: efficiency "
                  f"{found.roofline_cycles / found.rtl.counters['run']:.3f}")
