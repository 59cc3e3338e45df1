"""The command ``integer-errors``."""

import json

from rich.console import Console
from rich.table import Table

from bitwright.models.command_line.option_groups import Json
from bitwright.models.evaluation.integer_errors import rows

__all__ = ["integer_errors"]


def integer_errors(as_json: Json = False) -> None:
    """Measure the greatest errors of integer functions, beside published forms."""
    found = rows()
    if as_json:
        print(json.dumps([{"function": name, "form": form, "error": error}
                          for name, form, error in found]))
        return
    table = Table(title="Greatest absolute error", title_justify="left")
    for column in ("function", "form", "error"):
        table.add_column(column, justify="right" if column == "error" else "left")
    for name, form, error in found:
        table.add_row(name, form, f"{error:.1e}")
    Console().print(table)
