"""Draws the roofline: every layer's rate against the limits of peak and memory."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bitwright.compiler.html_report.markup import Html, element, join
from bitwright.hw.machine.description import Machine

__all__ = ["roofline"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 380, 64, 28, 16, 48
NAMED = 6  # layers that a point names


class Axis:
    """A logarithmic axis from pixel ``start`` to ``end``, widened to whole ticks of 1, 2, 5."""

    def __init__(self, values: Iterable[float], start: float, end: float):
        known = sorted(values)
        ticks = [step * 10.0 ** power for power in range(-9, 16) for step in (1, 2, 5)]
        low = max(tick for tick in ticks if tick <= known[0] * 0.7)
        high = min(tick for tick in ticks if tick >= known[-1] * 1.4)
        self.low, self.high, self.start, self.end = low, high, start, end
        within = [tick for tick in ticks if low <= tick <= high]
        decades = [tick for tick in within if math.log10(tick).is_integer()]
        self.ticks = decades if len(decades) > 2 else within

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)


def _label(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _axes(x: Axis, y: Axis) -> list[Html]:
    bottom, parts = HEIGHT - BOTTOM, []
    for tick in x.ticks:
        at = f"{x.at(tick):.1f}"
        parts += [element("line", x1=at, x2=at, y1=TOP, y2=bottom, class_="grid"),
                  element("text", _label(tick), x=at, y=bottom + 18, class_="middle")]
    for tick in y.ticks:
        at = f"{y.at(tick):.1f}"
        parts += [element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="grid"),
                  element("text", _label(tick), x=LEFT - 8, y=f"{y.at(tick) + 4:.1f}",
                          class_="end")]
    middle = (TOP + bottom) / 2
    return [*parts,
            element("text", "MACs per byte of the minimum", x=(LEFT + WIDTH - RIGHT) / 2,
                    y=HEIGHT - 8, class_="middle"),
            element("text", "MACs per cycle", x=14, y=middle, class_="middle",
                    transform=f"rotate(-90 14 {middle})")]


def _roofs(x: Axis, y: Axis, bandwidth: float, peaks: Mapping[int, float]) -> list[Html]:
    """The slope that memory allows, and a peak for each number of slices."""
    top = max(peaks.values())
    ridge = min(max(top / bandwidth, x.low), x.high)
    start = max(x.low, y.low / bandwidth)
    slope = [(start, start * bandwidth), (ridge, min(ridge * bandwidth, y.high))]
    parts = [element("line", x1=f"{x.at(slope[0][0]):.1f}", y1=f"{y.at(slope[0][1]):.1f}",
                     x2=f"{x.at(slope[1][0]):.1f}", y2=f"{y.at(slope[1][1]):.1f}", class_="roof",
                     data_tip=f"memory: {bandwidth:g} bytes per cycle")]
    for slices, peak in peaks.items():
        at, said = f"{y.at(peak):.1f}", f"{slices} slice{'s' * (slices > 1)}: {peak:,.0f}"
        begin = min(max(peak / bandwidth, x.low), x.high)
        parts += [element("line", x1=f"{x.at(begin):.1f}", x2=WIDTH - RIGHT, y1=at, y2=at,
                          class_="roof", data_tip=f"peak for weights of {said} MACs per cycle"),
                  element("text", said, x=WIDTH - RIGHT - 4, y=f"{y.at(peak) - 6:.1f}",
                          class_="end")]
    return parts


def _points(rows: Sequence[Mapping[str, Any]], x: Axis, y: Axis) -> list[Html]:
    """A point for all layers of one place."""
    places: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        place = (f"{x.at(row['macs'] / row['compulsory_bytes']):.1f}",
                 f"{y.at(row['macs'] / row['cycles']):.1f}")
        places.setdefault(place, []).append(row)
    parts = []
    for (cx, cy), here in places.items():
        row = here[0]
        names = [one["name"] for one in here[:NAMED]]
        if more := len(here) - len(names):
            names.append(f"and {more} more")
        tip = "\n".join([
            *names, f"{row['m']} x {row['k']} x {row['n']}, {row['weights']}",
            f"{row['macs'] / row['compulsory_bytes']:,.2f} MACs per byte",
            f"{row['macs'] / row['cycles']:,.1f} MACs per cycle, "
            f"{row['roofline_cycles'] / row['cycles']:.1%} of the roofline, bound by "
            f"{row['bound']}"])
        parts.append(element("circle", cx=cx, cy=cy, r=f"{5 + 1.5 * math.log2(len(here)):.1f}",
                             class_=f"point {row['bound']}", tabindex=0, data_tip=tip,
                             data_layers=len(here)))
    return parts


def roofline(rows: Sequence[Mapping[str, Any]], machine: Machine, interval: int) -> Html:
    """Layers as points; a larger one stands for several of the same shape."""
    bandwidth = machine.beat_bytes / interval
    peaks = {slices: machine.macs_per_cycle(slices)
             for slices in sorted({row["slices_per_weight"] for row in rows})}
    intensities = [row["macs"] / row["compulsory_bytes"] for row in rows]
    rates = [row["macs"] / row["cycles"] for row in rows]
    x = Axis([*intensities, max(peaks.values()) / bandwidth], LEFT, WIDTH - RIGHT)
    y = Axis([*rates, *peaks.values()], HEIGHT - BOTTOM, TOP)
    return element("svg", join(_axes(x, y)), join(_roofs(x, y, bandwidth, peaks)),
                   join(_points(rows, x, y)), viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="roofline",
                   role="img", aria_label="Roofline of all layers")
