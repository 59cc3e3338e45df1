"""Plots cycles against LUTs of machines as an SVG file of its own."""

from collections.abc import Sequence
from typing import NamedTuple

from bitwright.compiler.html_report.markup import Html, element, join
from bitwright.compiler.html_report.roofline import Axis

__all__ = ["PlotPoint", "cycles_against_luts"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 460, 84, 190, 20, 52
COLOURS = ("#2f6fde", "#d9730d", "#0b8a6a", "#b3306b", "#7a5bd0", "#6b7280", "#a07a00", "#0e7c9b")
NAMED = 20   # workloads that are named beside their lines
STYLE = ("text{font:12px system-ui,sans-serif;fill:#1b2330}.grid{stroke:#dde2ea}"
         ".work{fill:none;stroke:#9aa6b8;stroke-width:1}.end{text-anchor:end}"
         ".middle{text-anchor:middle}")


class PlotPoint(NamedTuple):
    """One estimate of a plot."""
    workload: str
    machine: str
    luts: int
    cycles: int


def cycles_against_luts(points: Sequence[PlotPoint]) -> str:
    """Return the plot: both axes logarithmic, a colour per machine, a line per workload.

    ``points`` are one or more. Hovering over a point names its workload and figures.
    """
    x = Axis([point.luts for point in points], LEFT, WIDTH - RIGHT)
    y = Axis([point.cycles for point in points], HEIGHT - BOTTOM, TOP)
    machines = list(dict.fromkeys(point.machine for point in points))
    colour = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(machines)}
    dots = [element("g", element("title", f"{point.workload} on {point.machine}: "
                                          f"{point.cycles:,} cycles, {point.luts:,} LUTs"),
                    element("circle", cx=f"{x.at(point.luts):.1f}",
                            cy=f"{y.at(point.cycles):.1f}", r=4, fill=colour[point.machine]))
            for point in points]
    drawing = element("svg", element("style", STYLE),
                      element("rect", width=WIDTH, height=HEIGHT, fill="#fff"),
                      _axes(x, y), _workloads(points, x, y), join(dots), _legend(colour),
                      xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {HEIGHT}",
                      width=WIDTH, height=HEIGHT, role="img", aria_label="Cycles against LUTs")
    return f"{drawing}\n"


def _axes(x: Axis, y: Axis) -> Html:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in x.ticks:
        at = f"{x.at(tick):.1f}"
        parts += [element("line", x1=at, x2=at, y1=TOP, y2=bottom, class_="grid"),
                  element("text", f"{tick:,.0f}", x=at, y=bottom + 18, class_="middle")]
    for tick in y.ticks:
        height = y.at(tick)
        parts += [element("line", x1=LEFT, x2=right, y1=f"{height:.1f}", y2=f"{height:.1f}",
                          class_="grid"),
                  element("text", f"{tick:,.0f}", x=LEFT - 8, y=f"{height + 4:.1f}",
                          class_="end")]
    middle = (TOP + bottom) / 2
    return join([*parts, element("text", "LUTs", x=(LEFT + right) / 2, y=HEIGHT - 10,
                                 class_="middle"),
                 element("text", "cycles", x=14, y=middle, class_="middle",
                         transform=f"rotate(-90 14 {middle})")])


def _workloads(points: Sequence[PlotPoint], x: Axis, y: Axis) -> Html:
    """A line through the points of each workload, named if there are few."""
    lines: dict[str, list[PlotPoint]] = {}
    for point in points:
        lines.setdefault(point.workload, []).append(point)
    parts = []
    for name, own in lines.items():
        own.sort(key=lambda point: point.luts)
        at = [(x.at(point.luts), y.at(point.cycles)) for point in own]
        parts.append(element("path", d="M" + " L".join(f"{px:.1f} {py:.1f}" for px, py in at),
                             class_="work"))
        if len(lines) <= NAMED:
            parts.append(element("text", name, x=f"{at[-1][0] + 8:.1f}", y=f"{at[-1][1] + 4:.1f}"))
    return join(parts)


def _legend(colour: dict[str, str]) -> Html:
    left = WIDTH - RIGHT + 100
    return join(part for row, (name, shade) in enumerate(colour.items()) for part in (
        element("circle", cx=left, cy=TOP + 8 + 20 * row, r=4, fill=shade),
        element("text", name, x=left + 10, y=TOP + 12 + 20 * row)))
