"""Tables of rows of JSON values."""

from typing import Any

from rich.table import Table

__all__ = ["row_table"]

NUMBERS = ("bits", "planes", "digits", "terms", "min", "max", "group_size", "sqnr_db",
           "least_ratio", "greatest_ratio", "float", "int8")


def row_table(title: str, rows: list[dict[str, Any]], *columns: str) -> Table:
    """A table of these columns of the rows, numbers to the right."""
    def text(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, list):
            return ", ".join(value)
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.replace("_", " "), no_wrap=column == "name",
                         justify="right" if column in NUMBERS else "left")
    for row in rows:
        table.add_row(*(text(row[column]) for column in columns))
    return table
