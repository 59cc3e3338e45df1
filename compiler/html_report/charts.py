"""Draws bars, and the legend of their colours."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bitwright.compiler.html_report.markup import Html, element, join, table

__all__ = ["CAUSE_NAMES", "Part", "causes", "key", "meters", "percent", "stack", "swatch"]

CAUSE_NAMES = {
    "compute": "compute", "scales": "multiplying by scales", "drain": "results leaving the array",
    "tables": "filling tables", "handover": "handing over tables", "weights": "wait for weights",
    "activations": "wait for activations", "outputs": "output buffer full",
    "stores": "store queue full", "loads": "load queue full", "instructions": "dispatching",
    "finish": "last results",
}


class Part(NamedTuple):
    """A part of a bar; ``colour`` is a class of the style sheet."""
    name: str
    value: float
    shown: str
    colour: str


def percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 or share == 0 else "<0.1%"


def causes(found: Mapping[str, int]) -> list[Part]:
    """The parts of a bar of cycles by cause."""
    total = sum(found.values())
    return [Part(name, count, f"{count:,} cycles, {percent(count / total)}", f"c-{cause}")
            for cause, name in CAUSE_NAMES.items() if (count := found[cause])]


def stack(parts: Iterable[Part], whole: float | None = None, small: bool = False) -> Html:
    """A bar of parts side by side, as long as its share of ``whole``. A small one explains itself
    once, a large one part by part."""
    parts = [part for part in parts if part.value]
    whole = whole or sum(part.value for part in parts) or 1
    said = [f"{part.name}: {part.shown}" for part in parts]
    return element("div", *(
        element("i", class_=part.colour, style=f"width:{100 * part.value / whole:.3f}%",
                data_tip=None if small else text)
        for part, text in zip(parts, said, strict=True)),
        class_="stack small" if small else "stack", role="img", aria_label="; ".join(said),
        data_tip="\n".join(said) if small else None)


def swatch(colour: str) -> Html:
    return element("b", class_=f"swatch {colour}")


def key(parts: Sequence[Part], heads: Sequence[str], more: Sequence[Sequence[Any]],
        numbers: Iterable[int]) -> Html:
    """A table of what the colours of a bar mean; ``more`` are the cells of each part."""
    return table(heads, ([element("span", swatch(part.colour), part.name, class_="key"), *cells]
                         for part, cells in zip(parts, more, strict=True)), numbers=numbers)


def meters(rows: Iterable[tuple[str, float, str, str]]) -> Html:
    """A bar per row: name, share, what is shown of it, colour."""
    return element("div", join(
        element("div", element("span", name, class_="name"),
                element("div", element("i", class_=colour, style=f"width:{100 * share:.3f}%"),
                        class_="stack small", role="img", aria_label=f"{name}: {shown}"),
                element("span", shown, class_="value"), class_="meter")
        for name, share, shown, colour in rows), class_="meters")
