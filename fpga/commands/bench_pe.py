"""The command ``bench-pe``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from bitwright.fpga.benchmarks.pe_density import CASES, bench, record
from bitwright.fpga.benchmarks.pe_density_page import HEADS, cells, page, verdicts
from bitwright.fpga.commands.fpga_options import console, write_json
from bitwright.fpga.toolchain.synthesis import DEVICES
from bitwright.hw.elements import ELEMENTS
from bitwright.models.command_line.option_groups import Json, JsonFile, Seed, one_of
from bitwright.models.command_line.options_and_files import say, write_text

__all__ = ["bench_pe"]


def bench_pe(
    pe: Annotated[str | None, typer.Option(
        help=f"One kind of element: {', '.join(ELEMENTS)}.")] = None,
    device: Annotated[str | None, typer.Option(
        help=f"One device: {', '.join(DEVICES)}.")] = None,
    k_tile: Annotated[int | None, typer.Option(
        "--k-tile", min=1, help="One size, in activations.")] = None,
    seed: Seed = 1,
    out: JsonFile = None,
    page_: Annotated[Path | None, typer.Option("--page", help="Markdown file to write.")] = None,
    as_json: Json = False,
) -> None:
    """Measure every processing element: LUT4s, Fmax, work per cycle."""
    if pe is not None:
        one_of("--pe", pe, ELEMENTS)
    if device is not None:
        one_of("--device", device, DEVICES)
    cases = [case for case in CASES
             if pe in (None, case.machine.pe) and device in (None, case.device)
             and k_tile in (None, case.machine.k_tile)]
    if not cases:
        raise typer.BadParameter("no element is measured with these; leave one of them out")
    found = record(bench(cases, seed=seed, say=say))
    write_json(out, found)
    if page_ is not None:
        write_text(page_, page(found))
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    table = Table(*HEADS)
    for row in found["rows"]:
        table.add_row(*cells(row))
    out = console()
    out.print(table)
    out.print("W1…W8: multiply-accumulates per cycle and 1,000 LUT4s, 8-bit activations")
    for text in verdicts(found):
        out.print(text)
