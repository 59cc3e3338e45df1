"""Draws the machine's blocks, with their sizes and how busy they were."""

from collections.abc import Mapping, Sequence
from typing import Any

from bitwright.compiler.html_report.byte_units import size
from bitwright.compiler.html_report.charts import percent
from bitwright.compiler.html_report.markup import Html, element, join
from bitwright.hw.machine.description import Machine

__all__ = ["diagram"]

WIDTH, HEIGHT = 940, 420


def _box(x: int, y: int, width: int, height: int, title: str, lines: Sequence[str] = (),
         kind: str = "box") -> Html:
    texts = [element("text", title, x=x + 10, y=y + 20, class_="title")]
    texts += [element("text", line, x=x + 10, y=y + 38 + 16 * index)
              for index, line in enumerate(lines)]
    return element("g", element("rect", x=x, y=y, width=width, height=height, rx=6, class_=kind),
                   *texts)


def _arrow(*points: tuple[int, int], both: bool = False) -> Html:
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    return element("path", d=path, class_="arrow", marker_end="url(#head)",
                   marker_start="url(#head)" if both else None)


def _buffer(machine: Machine, depth: int, width: int) -> list[str]:
    return [f"{depth:,} words of {width:,} bits", size(depth * width / 8)]


def _element_lines(machine: Machine) -> list[str]:
    return [f"{machine.rows} rows: tokens", f"{machine.cols} columns: output channels",
            f"{machine.pe}: {machine.element.summary(machine)}",
            f"{machine.k_tile} activations of {machine.act_bits} bits each, "
            f"{machine.banks} bank{'s' * (machine.banks > 1)}",
            f"{machine.psum_depth:,} partial sums each; scales by {machine.dequant}",
            f"{machine.one_bit_products:,} products of a slice per cycle"]


def diagram(machine: Machine, memory: Mapping[str, int], totals: Mapping[str, Any]) -> Html:
    """Shares are of all cycles, fetches of programs included."""
    cycles, engines = totals["total_cycles"], totals["engines"]
    beats = engines["load"]["busy"] + engines["store"]["busy"]
    busy = {name: percent(engines[name]["busy"] / cycles) for name in engines}
    moving = {name: percent(engines[name]["busy"] * memory["interval"] / cycles)
              for name in ("load", "store")}
    fill = machine.fill_entries * machine.table_steps
    decode = ["codes of 4 bits, decoded", "at the head of each column"] if machine.decodes else []
    parts = [
        _box(10, 130, 150, 124, "Memory (DRAM)", [
            f"{machine.memory_bits}-bit AXI4 port", f"{machine.beat_bytes} bytes per beat",
            f"{memory['interval']} cycle{'s' * (memory['interval'] > 1)} per beat",
            f"first beat after {memory['latency']}", "bus busy "
            f"{percent(beats * memory['interval'] / cycles)}"], "box memory"),
        _box(210, 20, 170, 74, "Dispatcher", [
            f"{machine.program_depth:,} instructions",
            f"to engines' queues of {machine.queue_depth}"]),
        _box(210, 130, 170, 90, "Load engine", [
            f"{machine.outstanding} bursts of {machine.burst_beats} beats",
            f"moving data {moving['load']}"], "box engine"),
        _box(210, 345, 170, 62, "Store engine", [
            "32-bit results", f"moving data {moving['store']}"], "box engine"),
        _box(430, 20, 200, 62, "Activation buffer",
             _buffer(machine, machine.act_depth, machine.act_word_bits), "box buffer"),
        _box(430, 110, 200, 62, "Scale buffer",
             _buffer(machine, machine.scale_depth, machine.scale_word_bits), "box buffer"),
        _box(430, 200, 200, 62 + 16 * len(decode), "Weight buffer",
             _buffer(machine, machine.weight_depth, machine.weight_word_bits) + decode,
             "box buffer"),
        _box(430, 345, 200, 62, "Output buffers", [
            f"{machine.rows} x {machine.out_depth:,} words", f"of {machine.out_word_bits} bits",
        ], "box buffer"),
        _box(680, 20, 250, 62, "Filler" if machine.decodes else "Table filler", [
            f"{machine.builders} builders per row",
            f"{fill} cycle{'s' * (fill > 1)} per K-tile"], "box engine"),
        _box(680, 130, 250, 150, "Array", _element_lines(machine) + [
            f"slices {busy['execute']} of all cycles"], "box engine"),
        _arrow((160, 160), (210, 160)), _arrow((295, 130), (295, 94)),
        _arrow((380, 150), (405, 150), (405, 51), (430, 51)),
        _arrow((380, 150), (430, 150)), _arrow((380, 200), (405, 200), (405, 231), (430, 231)),
        _arrow((630, 51), (680, 51)), _arrow((805, 82), (805, 130)),
        _arrow((630, 150), (680, 150)), _arrow((630, 231), (680, 231)),
        _arrow((805, 280), (805, 376), (630, 376)), _arrow((430, 376), (380, 376)),
        _arrow((210, 376), (85, 376), (85, 254)),
    ]
    tip = element("defs", element("marker", element("path", d="M0 0 L8 4 L0 8 z", class_="head"),
                                  id="head", markerWidth=8, markerHeight=8, refX=7, refY=4,
                                  orient="auto-start-reverse"))
    return element("svg", tip, join(parts), viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="diagram",
                   role="img", aria_label="Block diagram of the machine")
