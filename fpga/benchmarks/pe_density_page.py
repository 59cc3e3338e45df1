"""The bench of the elements as a table of text, and as the page that docs/ keeps of it."""

from collections.abc import Mapping
from typing import Any

from bitwright.fpga.benchmarks.pe_density import LEAST_MHZ, TYPES

__all__ = ["HEADS", "cells", "page", "verdicts"]

HEADS = ("element", "device", "K", "logic", "carry", "RAM", "RAMW", "total", "FF", "DSP", "EBR",
         "MHz", *TYPES)

_INTRODUCTION = """# Bench of the elements

`python -m fpga bench-pe --out docs/results/bench-pe.json --page docs/results/bench-pe.md` makes
[bench-pe.json](bench-pe.json) and this page (`--pe`, `--device` and `--k-tile` choose). One element
with scale multiplier and psum memory, registers around it not counted; Yosys 0.70 and nextpnr, seed
{seed}, target 250 MHz; ECP5 is LFE5U-85F speed 6, out of context. LUT4s as nextpnr's packer totals
them, logic cells on iCE40. W1…W8: multiply-accumulates per cycle and 1,000 LUT4s with 8-bit
activations, from the slots a weight takes in the array.
"""
_CONCLUSION = """
Against a `mac` that takes just that width the ratios are 1.4, far from 5 and 2.5: it uses the same
carry cells (two gated rows per chain, one logic LUT in all), and a table of four activations
replaces the leaf adders alone. A decoder serves all rows of its column. On UP5K, `serial` and `mac`
of 64 activations find no place beside the registers around them.
"""


def figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return one row of the bench, under :data:`HEADS`."""
    lut4, work = row["lut4"], row.get("macs_per_cycle_per_1000_lut4", {})
    return [row["label"], row["device"], str(row["k_tile"]),
            *(f"{lut4[kind]:,}" for kind in ("logic", "carry", "ram", "ramw", "total")),
            f"{row['ff']:,}", str(row["dsp"]), str(row["ebr"]), f"{row['fmax_mhz']:.1f}",
            *(figure(work.get(kind)) for kind in TYPES)]


def verdicts(found: Mapping[str, Any]) -> list[str]:
    """Return each target, and whether it was met."""
    return [
        *(f"{row['element']} {row['type']}: {figure(row['measured'])}"
          + (f" (K = {row['k_tile']}, {row['fmax_mhz']} MHz)" if row["k_tile"] else "")
          + f", target {row['target']:g} at {LEAST_MHZ} MHz: "
          + ("met" if row["met"] else "not met") for row in found["targets"]),
        *(f"lut over {row['mac']}, {row['type']}: {row['lut']} / {row['other']} = {row['ratio']}, "
          f"target {row['target']:g}" for row in found["ratios"])]


def page(found: Mapping[str, Any]) -> str:
    """Markdown of a whole bench, as :func:`record` gives it."""
    lines = [_INTRODUCTION.format(seed=found["rows"][0]["seed"]),
             f"| {' | '.join(HEADS)} |", "| --- " * len(HEADS) + "|",
             *(f"| {' | '.join(cells(row))} |" for row in found["rows"]), "",
             *(f"* {text}" for text in verdicts(found))]
    return "\n".join(lines) + "\n" + _CONCLUSION
