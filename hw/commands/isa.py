"""The command ``isa``."""

import json
from typing import Annotated

import typer

from bitwright.hw.isa.listing import isa_markdown, isa_rows, isa_text
from bitwright.models.command_line.option_groups import Json

__all__ = ["isa"]


def isa(
    markdown: Annotated[bool, typer.Option(
        "--markdown", help="Print Markdown, as in docs/reference/isa.md.")] = False,
    as_json: Json = False,
) -> None:
    """Print the instruction table."""
    if as_json:
        print(json.dumps(isa_rows()))
        return
    print(isa_markdown() if markdown else isa_text(), end="")
