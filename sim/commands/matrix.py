"""The command ``matrix``."""

import json
import sys

import typer
from rich.console import Console
from rich.table import Table

from bitwright.models.command_line.option_groups import Json
from bitwright.models.command_line.options_and_files import say
from bitwright.sim.verification.conformance import check as check_matrix

__all__ = ["matrix"]


def matrix(as_json: Json = False) -> None:
    """Run every datatype on every machine, and compare RTL with the models.

    Every group size is run. What does not run is refused with the reason. Exit status 1 if a bit
    or a counter differs.
    """
    rows = check_matrix(say=say)
    if as_json:
        print(json.dumps(rows))
    else:
        table = Table("machine", "elements", "datatypes", "GEMMs", "differ", "refused")
        for row in rows:
            table.add_row(row["machine"], row["pe"], str(len(row["datatypes"])), str(row["ran"]),
                          str(len(row["failed"])), ", ".join(row["refused"]))
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
        console.print(table)
        reasons = {reason: None for row in rows for reason in row["refused"].values()}
        for reason in reasons:
            console.print(f"refused: {reason}", markup=False)
        for row in rows:
            for failure in row["failed"]:
                console.print(f"FAILED {failure}", markup=False)
    if any(row["failed"] for row in rows):
        raise typer.Exit(1)
