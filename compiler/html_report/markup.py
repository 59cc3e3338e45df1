"""Builds HTML and SVG so that no text can become markup."""

from collections.abc import Iterable
from html import escape
from typing import Any

__all__ = ["Html", "element", "join", "table"]

VOID = {"circle", "line", "path", "rect"}


class Html(str):
    """Text that is markup already."""


def join(parts: Iterable[Html]) -> Html:
    return Html("".join(parts))


def element(name: str, /, *children: Any, **attributes: Any) -> Html:
    """An element. Children that are no :class:`Html`, and all attributes, are escaped; attributes
    that are None are left out. ``data_v`` is written ``data-v``, and ``class_`` ``class``."""
    said = "".join(f' {key.strip("_").replace("_", "-")}="{escape(str(value))}"'
                   for key, value in attributes.items() if value is not None)
    if name in VOID:
        return Html(f"<{name}{said}/>")
    inside = "".join(child if isinstance(child, Html) else escape(str(child))
                     for child in children)
    return Html(f"<{name}{said}>{inside}</{name}>")


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]], *, numbers: Iterable[int] = (),
          sortable: bool = False) -> Html:
    """A table; cells are text, markup, or a pair of either and the value that sorts it. Columns in
    ``numbers`` are set to the right."""
    right = set(numbers)

    def cell(index: int, value: Any) -> Html:
        shown, key = value if isinstance(value, tuple) else (value, None)
        return element("td", shown, class_="number" if index in right else None, data_v=key)

    def head(index: int, text: str) -> Html:
        return element("th", element("button", text, type="button") if sortable else text,
                       scope="col", class_="number" if index in right else None)

    lines = (element("tr", *(cell(index, value) for index, value in enumerate(row)))
             for row in rows)
    body = Html("\n".join(lines))
    top = element("thead", element("tr", *(head(i, text) for i, text in enumerate(heads))))
    return element("div", element("table", top, element("tbody", body),
                                  class_="sortable" if sortable else None), class_="scroll")
