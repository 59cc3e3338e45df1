"""The command ``error``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bitwright.models.command_line.option_groups import Json
from bitwright.models.commands.tables import row_table
from bitwright.models.evaluation.weight_errors import measure, summary

__all__ = ["error"]


def error(
    checkpoint: Annotated[Path, typer.Argument(help="A safetensors file of floating point.")],
    weights: Annotated[list[str], typer.Option(
        help="Datatype, mixture, scheme or .toml file; repeatable.")],
    base: Annotated[str | None, typer.Option(
        help="Compare with this one; the first of --weights if left out.")] = None,
    group_size: Annotated[int | None, typer.Option(
        min=0, help="Input features per scale, 0 for the whole channel; the scheme's own if left "
                    "out.")] = None,
    clip_search: Annotated[bool, typer.Option(
        "--clip-search", help="Choose every group's range by squared error.")] = False,
    only: Annotated[str, typer.Option(help="Only matrices whose name contains this.")] = "",
    as_json: Json = False,
) -> None:
    """Measure the squared errors of a checkpoint's quantized matrices.

    It shows their ratios to those of a base; JSON has them matrix by matrix.
    """
    against = weights[0] if base is None else base
    names = list(dict.fromkeys((*weights, against)))
    found = list(measure(checkpoint, names, group_size, clip_search, only))
    if as_json:
        print(json.dumps([asdict(errors) for errors in found]))
        return
    rows = [summary(found, name, against) for name in names]
    Console().print(row_table(f"{len(found)} matrices; ratios of squared errors to {against}",
                              rows, "name", "sqnr_db", "least_ratio", "greatest_ratio",
                              "worst_matrix"))
