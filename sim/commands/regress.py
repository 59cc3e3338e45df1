"""The command ``regress``."""

from typing import Annotated

import typer

from bitwright.models.command_line.option_groups import Json
from bitwright.sim.cocotb_benches.regression import regress as run_regression

__all__ = ["regress"]


def regress(
    waves: Annotated[bool, typer.Option("--waves", help="Keep FST files.")] = False,
    seed: Annotated[int | None, typer.Option(
        "--seed", min=0, help="Seed of what is random; the same seed repeats a run. A new one is "
                              "drawn and printed if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Run the cocotb regression of the whole core.

    Exit status 1 if a test fails.
    """
    if run_regression(waves=waves, seed=seed, as_json=as_json):
        raise typer.Exit(1)
