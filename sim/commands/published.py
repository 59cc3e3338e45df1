"""The command ``published``."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bitwright.models.architectures.families import EXAMPLES, read_config, transformer
from bitwright.models.command_line.option_groups import Json
from bitwright.models.errors import UnknownNameError, unknown_name
from bitwright.sim.performance.bitmod_hpca25 import PUBLISHED, estimate_model, weight_bits

__all__ = ["published"]


def published(
    model: Annotated[str, typer.Option(
        help=f"A config.json, or one of {', '.join(EXAMPLES)}.")],
    machine: Annotated[str, typer.Option(
        help=f"A published accelerator: {' or '.join(PUBLISHED)}.")] = "bitmod-hpca25",
    tokens: Annotated[int, typer.Option(
        min=1, max=1 << 20, help="Tokens of the prefill; with --generate, of the context.")] = 256,
    generate: Annotated[bool, typer.Option(
        "--generate", help="Estimate one generated token.")] = False,
    bits: Annotated[str | None, typer.Option(
        "--weights-bits", help="Stored bits per weight, scales included; 6.0625, or 16 for the "
                               "FP16 array, if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Estimate a whole model's cycles on an accelerator from a publication.

    It computes the closed-form model behind BitMoD's published figures.
    """
    if machine not in PUBLISHED:
        raise UnknownNameError(unknown_name("published machine", machine, PUBLISHED))
    where = PUBLISHED[machine]
    width = weight_bits(where, bits)
    found = estimate_model(where, transformer(read_config(model)), tokens, generate, width)
    if as_json:
        print(json.dumps({"machine": machine, "tokens": tokens, "generate": generate,
                          "weight_bits": float(width), **found.to_dict()}))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    table = Table("operator", "count", "M x K x N", "compute", "DRAM", "bound",
                  title="cycles of one operator each")
    for row in found.rows:
        table.add_row(row["name"], str(row["count"]), f"{row['m']} x {row['k']} x {row['n']}",
                      f"{row['compute_cycles']:,}", f"{row['dram_cycles']:,}", row["bound"])
    console.print(table)
    console.print(f"total {found.cycles:,} cycles; compute only {found.compute_cycles:,}, DRAM "
                  f"only {found.dram_cycles:,}")
