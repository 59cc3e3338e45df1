"""The command ``formats``."""

import json
from typing import Annotated, Any

import typer

from bitwright.models.command_line.option_groups import Json
from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES, datatype
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.quantization.schemes import SCHEMES, Scheme

__all__ = ["describe", "describe_scheme", "formats"]


def describe(dt: Datatype | Mixture) -> dict[str, Any]:
    """One datatype or mixture as JSON values. ``values`` are integers by code, null for an unused
    code; of a mixture, a list of them per candidate."""
    def values(one: Datatype) -> list[int | None]:
        return [v if c in one.codes else None for c, v in enumerate(one.values)]

    return {
        "name": dt.name,
        "kind": "mixture" if isinstance(dt, Mixture) else "datatype",
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
        "candidates": [d.name for d in dt.datatypes] if isinstance(dt, Mixture) else None,
        "values": ([values(d) for d in dt.datatypes] if isinstance(dt, Mixture) else values(dt)),
    }


def describe_scheme(found: Scheme) -> dict[str, Any]:
    """One scheme as JSON values. ``group_size`` is the default, or the only one if ``block``."""
    return {"name": found.name, "kind": "scheme", "datatype": found.datatype.name,
            "group_size": found.block or found.group_size, "block": found.block > 0,
            "summary": found.summary}


def _rows(names: list[str] | None) -> list[dict[str, Any]]:
    known: dict[str, Datatype | Mixture] = {**DATATYPES, **MIXTURES}
    rows = [describe(known.get(name) or datatype(name)) for name in names or known
            if name in known or name not in SCHEMES]
    return rows + [describe_scheme(SCHEMES[name]) for name in names or SCHEMES if name in SCHEMES]


def formats(
    names: Annotated[list[str] | None, typer.Argument(
        help="Datatypes, mixtures, schemes or .toml files; all if left out.")] = None,
    as_json: Json = False,
) -> None:
    """List weight datatypes, mixtures and schemes.

    Of a datatype it shows bits, bit-planes, terms and range; of a scheme its datatype and group
    size.
    """
    rows = _rows(names)
    if as_json:
        print(json.dumps(rows))
    else:
        _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console

    from bitwright.models.commands.tables import row_table

    widths = ("name", "bits", "planes", "digits", "terms", "min", "max")
    for kind, title, columns in (
            ("datatype", "Datatypes", (*widths, "symmetric")),
            ("mixture", "Mixtures", (*widths, "candidates")),
            ("scheme", "Schemes", ("name", "datatype", "group_size", "summary"))):
        if chosen := [row for row in rows if row["kind"] == kind]:
            Console().print(row_table(title, chosen, *columns))
