"""Writes Markdown, for the pages that come from code."""

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["markdown_table"]


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table with a line per row; a ``|`` in a cell is escaped."""
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |\n"

    return line(heads) + line(["---"] * len(heads)) + "".join(map(line, rows))
