"""Builds the sections of the page from the report."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bitwright.compiler.html_report import charts
from bitwright.compiler.html_report.byte_units import size
from bitwright.compiler.html_report.charts import Part, percent, stack, swatch
from bitwright.compiler.html_report.markup import Html, element, join, table
from bitwright.hw.machine.description import Machine
from bitwright.sim.cycle_model.recorder import CAUSES

__all__ = ["cycles", "datatypes", "engines", "hosted", "layers", "summary", "traffic"]

Report = Mapping[str, Any]
Row = Mapping[str, Any]
MIX_COLOURS = 8  # of the style sheet; further kinds begin again


def weights_text(row: Row) -> str:
    """Scheme, datatype if that has another name, group."""
    name = "" if row["datatype"] == row["weights"] else f" ({row['datatype']})"
    offset = " asymmetric" if row["asymmetric"] else ""
    return f"{row['weights']}{name} g{row['group_size']}{offset}"


def shape_text(row: Row) -> str:
    return f"{row['m']} x {row['k']} x {row['n']}"


def summary(report: Report) -> Html:
    """Build the summary: six tiles."""
    totals = report["totals"]
    moved, least = totals["dram_bytes"], totals["compulsory_bytes"]
    tiles = (
        ("cycles", f"{totals['cycles']:,}", f"{totals['layers']} launches, one per layer"),
        ("of the peak", f"{totals['utilization']:.1%}",
         f"{totals['macs'] / totals['cycles']:,.1f} MACs per cycle"),
        ("of the roofline", f"{totals['roofline_cycles'] / totals['cycles']:.1%}",
         f"which is {totals['roofline_cycles']:,.0f} cycles"),
        ("bits per weight", f"{totals['bits_per_weight']:.2f}",
         f"{size(totals['weight_bytes'] + totals['scale_bytes'])} with scales"),
        ("moved to and from DRAM", size(moved),
         f"{moved / least:.2f} times the minimum of {size(least)}"),
        ("of all MACs on the array", f"{totals['array_share']:.2%}",
         f"{totals['macs']:,} MACs, and {totals['attention']['macs']:,} of attention"),
    )
    return element("div", join(element(
        "div", element("span", name, class_="name"), element("strong", value),
        element("span", more), class_="tile") for name, value, more in tiles), class_="tiles")


def cycles(report: Report) -> Html:
    """Every cycle of every launch by its one cause."""
    found = report["totals"]["causes"]
    parts, total = charts.causes(found), report["totals"]["cycles"]
    meaning = {charts.CAUSE_NAMES[cause]: text for cause, text in CAUSES.items()}
    return join((stack(parts), charts.key(parts, ("cause", "cycles", "share", "in these cycles"), [
        (f"{part.value:,}", percent(part.value / total), meaning[part.name]) for part in parts],
        (1, 2))))


def engines(report: Report) -> Html:
    """Build the table of what each engine did. Its waits may overlap its own work, so they are bars
    of their own."""
    totals, interval = report["totals"], report["memory"]["interval"]
    whole, found = totals["total_cycles"], totals["engines"]

    def row(name: str, count: int, colour: str) -> tuple[str, float, str, str]:
        return name, count / whole, f"{percent(count / whole)}, {count:,}", colour

    load, execute, store = (found[name] for name in ("load", "execute", "store"))
    return charts.meters((
        row("DRAM bus: moving data", (load["busy"] + store["busy"]) * interval, "c-compute"),
        row("load: moving data", load["busy"] * interval, "c-compute"),
        row("load: no room for weights", load["wait_w_free"], "c-weights"),
        row("load: no room for activations", load["wait_a_free"], "c-activations"),
        row("execute: slices", execute["busy"], "c-compute"),
        row("execute: wait for weights", execute["wait_w_ready"], "c-weights"),
        row("execute: wait for activations", execute["wait_a_ready"], "c-activations"),
        row("execute: output buffer full", execute["wait_out_free"], "c-outputs"),
        row("execute: wait for tables", execute["wait_tables"], "c-tables"),
        row("store: moving data", store["busy"] * interval, "c-compute"),
        row("store: wait for results", store["wait_out_ready"], "c-outputs"),
    ))


def traffic(report: Report) -> Html:
    """Bytes moved against the minimum: in all, and for layers of one shape."""
    totals = report["totals"]
    kinds = (("weights", "weight_bytes", "c-weights"), ("scales", "scale_bytes", "c-scales"),
             ("activations", "act_bytes", "c-activations"),
             ("results", "output_bytes", "c-outputs"))
    parts = [Part(name, totals[key], size(totals[key]), colour) for name, key, colour in kinds]
    moved, least = totals["dram_bytes"], totals["compulsory_bytes"]
    again = Part("moved again", moved - least, size(moved - least), "c-instructions")
    bars = join(element("div", element("span", name, class_="name"), stack(shown, moved),
                        element("span", size(count), class_="value"), class_="meter")
                for name, shown, count in (("minimum", parts, least),
                                           ("moved", [*parts, again], moved)))
    legend = element("p", join(element("span", swatch(part.colour), f"{part.name} {part.shown}",
                                       class_="key") for part in (*parts, again)), class_="legend")
    return join((element("div", bars, class_="meters"), legend, _shapes(report["layers"])))


def _shapes(rows: Sequence[Row]) -> Html:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        alike = (shape_text(row), weights_text(row), row["dram_bytes"], row["compulsory_bytes"])
        groups.setdefault(alike, []).append(row)
    return table(
        ("M x K x N", "weights", "layers", "minimum each", "moved each", "ratio", "for instance"),
        ((shape, weights, len(found), (size(least), least), (size(moved), moved),
          (f"{moved / least:.2f}", moved / least), found[0]["name"])
         for (shape, weights, moved, least), found in groups.items()),
        numbers=(2, 3, 4, 5), sortable=True)


def datatypes(report: Report) -> Html:
    """Kinds of weights and their shares."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in report["layers"]:
        groups.setdefault((weights_text(row), row["slices_per_weight"]), []).append(row)
    total = sum(row["k"] * row["n"] for row in report["layers"])
    parts, cells = [], []
    for index, ((name, slices), rows) in enumerate(groups.items()):
        weights = sum(row["k"] * row["n"] for row in rows)
        stored = sum(row["weight_bytes"] + row["scale_bytes"] for row in rows)
        noise = [row["sqnr_db"] for row in rows if row["sqnr_db"] is not None]
        parts.append(Part(name, weights, percent(weights / total), f"d-{index % MIX_COLOURS}"))
        cells.append((len(rows), slices, f"{weights:,}", percent(weights / total),
                      f"{8 * stored / weights:.2f}", size(stored),
                      f"{min(noise):.1f} to {max(noise):.1f} dB" if noise else "not known"))
    return join((stack(parts), charts.key(parts, (
        "weights", "layers", "slices", "number", "share", "bits per weight", "stored", "SQNR"),
        cells, (1, 2, 3, 4, 5, 6))))


def hosted(report: Report) -> Html:
    return table(("operator", "count", "MACs", "share of all MACs", "elements", "reason"), (
        (row["operator"], row["count"], (f"{row['macs']:,}", row["macs"]),
         (percent(row["share"]), row["share"]), (f"{row['elements']:,}", row["elements"]),
         row["reason"]) for row in report["totals"]["host"]), numbers=(1, 2, 3, 4), sortable=True)


def _layer(index: int, row: Row, whole: int) -> Iterable[Any]:
    ratio = row["dram_bytes"] / row["compulsory_bytes"]
    sqnr = row["sqnr_db"]
    return (
        index, element("span", row["name"], class_="layer"),
        (shape_text(row), row["macs"]), weights_text(row), row["slices_per_weight"],
        (f"{row['bits_per_weight']:.2f}", row["bits_per_weight"]),
        (f"{row['cycles']:,}", row["cycles"]), (percent(row["cycles"] / whole), row["cycles"]),
        (stack(charts.causes(row["causes"]), small=True), row["causes"]["compute"] / row["cycles"]),
        (f"{row['utilization']:.1%}", row["utilization"]),
        (f"{row['roofline_cycles'] / row['cycles']:.1%}", row["roofline_cycles"] / row["cycles"]),
        row["bound"], (size(row["dram_bytes"]), row["dram_bytes"]), (f"{ratio:.2f}", ratio),
        ("" if sqnr is None else f"{sqnr:.1f}", -1 if sqnr is None else sqnr),
        element("span", "; ".join(row["notes"]), class_="notes"),
    )


def layers(report: Report) -> Html:
    """A row for every layer."""
    whole = report["totals"]["cycles"]
    return table(
        ("#", "layer", "M x K x N", "weights", "slices", "bits per weight", "cycles", "share",
         "by cause", "of the peak", "of the roofline", "bound by", "DRAM", "x minimum", "SQNR, dB",
         "notes"),
        (_layer(index, row, whole) for index, row in enumerate(report["layers"], 1)),
        numbers=(0, 2, 4, 5, 6, 7, 9, 10, 12, 13, 14), sortable=True)


def machine_line(report: Report, machine: Machine) -> str:
    memory = report["memory"]
    return (f"{machine.name}: {machine.rows} x {machine.cols} {machine.pe} elements, "
            f"{report['tokens']:,} tokens; memory of {machine.memory_bits} bits, first beat after "
            f"{memory['latency']} cycles, a beat every "
            f"{memory['interval'] if memory['interval'] > 1 else 'cycle'}"
            + (" cycles" if memory["interval"] > 1 else ""))


def programs_line(programs: Mapping[str, int], tokens: int) -> str:
    """Cycles of the linear layers, by program."""
    return (f"programs: {tokens} tokens in {programs['prefill']:,} cycles, one token in "
            f"{programs['decode']:,}; after a launch of the same layer, whose weights stay where "
            f"they fit, in {programs['prefill_again']:,} and {programs['decode_again']:,}")
