"""The ``--pe`` option of every command that takes a machine."""

from typing import Annotated

import typer

from bitwright.hw.elements.known_elements import ELEMENTS

__all__ = ["Pe", "known_element"]


def known_element(value: str | None) -> str | None:
    """Return the name of a registered element, or None. Any other name is wrong usage."""
    if value is not None and value not in ELEMENTS:
        raise typer.BadParameter(f"must be one of {', '.join(ELEMENTS)}, not {value!r}")
    return value


Pe = Annotated[str | None, typer.Option(
    "--pe", callback=known_element, metavar="|".join(ELEMENTS),
    help="Kind of processing element, in place of the machine's own.")]
