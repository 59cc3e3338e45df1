"""The command ``estimate``."""

import json
from typing import Any

from bitwright.hw.commands.machine_choice import MachineChoice
from bitwright.models.command_line.option_groups import Json, WeightChoice
from bitwright.sim.commands.gemm_options import (
    Activations,
    GemmShape,
    MemoryChoice,
    stored_shape,
    with_activations,
)
from bitwright.sim.performance.gemm_estimate import estimate_gemm, shape_spec

__all__ = ["estimate"]

MACHINE, WEIGHTS, MEMORY = MachineChoice(), WeightChoice(), MemoryChoice()


def estimate(
    shape: GemmShape,
    weights: WeightChoice = WEIGHTS,
    activations: Activations = None,
    where: MachineChoice = MACHINE,
    memory: MemoryChoice = MEMORY,
    as_json: Json = False,
) -> None:
    """Estimate the cycles of a GEMM of any size by the cycle model."""
    m, k, n = shape.sizes
    config = with_activations(where.read(), activations)
    chosen, group_size, columns = stored_shape(weights.weights, k, weights.group_size,
                                               weights.asymmetric)
    spec = shape_spec(config, m, columns, n, chosen.datatype, group_size, weights.asymmetric)
    found = {"machine": config.name, "weights": weights.weights, "group_size": group_size,
             **estimate_gemm(config, spec, memory.read())}
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "value")
    for name, value in found.items():
        if not isinstance(value, dict):
            table.add_row(name.replace("_", " "), f"{value:,.4g}" if isinstance(value, float)
                          else f"{value:,}" if isinstance(value, int) else str(value))
    for engine, values in found["engines"].items():
        for name, value in values.items():
            table.add_row(f"{engine}: {name.replace('_', ' ')}", f"{value:,}")
    Console(highlight=False).print(table)
