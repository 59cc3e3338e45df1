"""``python -m models``: what the models know, on the command line."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from models.formats import DATATYPES, Datatype, datatype

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  rich_markup_mode=None)


@app.callback()
def models() -> None:
    """Number formats and models."""


def describe(dt: Datatype) -> dict[str, Any]:
    """One datatype as JSON values. ``values`` are integers by code, null for an unused code."""
    return {
        "name": dt.name,
        "bits": dt.bits,
        "planes": dt.planes,
        "digits": len(dt.digits),
        "terms": dt.max_terms,
        "min": dt.wmin * 2.0 ** dt.exponent,
        "max": dt.wmax * 2.0 ** dt.exponent,
        "symmetric": dt.symmetric,
        "exponent": dt.exponent,
        "coefs": list(dt.coefs),
        "constant": dt.constant,
        "correction": dt.correction,
        "values": [v if c in dt.codes else None for c, v in enumerate(dt.values)],
    }


@app.command()
def formats(
    names: Annotated[list[str] | None, typer.Argument(help="Datatypes; all if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the weight datatypes: bits, bit-planes, terms and range."""
    rows = [describe(datatype(name)) for name in names or DATATYPES]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table()
    columns = ("name", "bits", "planes", "digits", "terms", "min", "max", "symmetric")
    for column in columns:
        table.add_column(column, justify="left" if column == "name" else "right")
    for row in rows:
        table.add_row(*(f"{row[c]:g}" if c in ("min", "max")
                        else {True: "yes", False: "no"}[row[c]] if c == "symmetric"
                        else str(row[c]) for c in columns))
    Console().print(table)


def main() -> None:
    """Run the command line. Exit status 2 for wrong usage, 1 for any other error, in one line."""
    try:
        app()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
