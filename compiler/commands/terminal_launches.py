"""Whole-model runs on the terminal."""

from collections.abc import Iterable

import numpy as np
from rich.console import Console
from rich.table import Table

from bitwright.compiler.backends.backend import Reports
from bitwright.compiler.backends.registry import BACKENDS
from bitwright.compiler.commands.terminal_report import terminal
from bitwright.compiler.image.host_files import read_tokenizer
from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.runtime.launcher import Launches, Totals
from bitwright.compiler.runtime.text_run import TextRun

__all__ = ["print_launches", "print_text_run"]

BEST = 5  # next tokens shown


def _cells(name: str, part: Totals, reports: Reports) -> Iterable[str]:
    yield name
    yield from (f"{value:,}" for value in (part.products, part.macs, part.accumulators))
    if reports.cycles:
        yield from (f"{value:,}" for value in (part.launches, part.cycles))
        yield from (f"{part.engines[engine]['busy']:,}" for engine in part.engines)
    if reports.counters:
        yield f"{part.rtl_cycles:,}"
    if reports.results:
        yield f"{part.wrong_bits:,}"
    if reports.counters:
        yield f"{part.wrong_counters:,}"


def print_launches(out: Console, launches: Launches) -> None:
    """A row per operator, or per operators that share launches, and their sum."""
    backend, reports, total = launches.backend, launches.reports, launches.totals
    table = Table(title=f"products on {launches.machine.name}, {backend}")
    columns = ["operators", "products", "MACs", "accumulators"]
    if reports.cycles:
        columns += ["launches", "cycles (model)", *(f"{engine} busy" for engine in total.engines)]
    if reports.counters:
        columns.append(f"cycles ({BACKENDS[backend].title})")
    if reports.results:
        columns.append("wrong bits")
    if reports.counters:
        columns.append("launches of other counters")
    for column in columns:
        table.add_column(column, justify="left" if column == "operators" else "right")
    for name, part in (*launches.by_operator.items(), ("total", total)):
        table.add_row(*_cells(name, part, reports))
    out.print(table)
    if reports.results:
        counters = (f"; launches whose counters differ: {total.wrong_counters} of "
                    f"{total.launches:,}" if reports.counters else "")
        out.print(f"mismatching bits: {total.wrong_bits} in {total.accumulators:,} accumulators"
                  f"{counters}")
        equal = "equal to the last bit" + " and cycle" * reports.counters
        out.print(equal if launches.good else
                  f"something differs, first in {launches.first_difference}")


def print_text_run(image: Image, run: TextRun) -> None:
    """Result, comparison, and the table of operators."""
    out = terminal()
    out.print(f"text        {run.text!r}, {run.tokens} tokens")
    if run.is_embedding:
        head = ", ".join(f"{value:+.4f}" for value in run.output[:6])
        out.print(f"embedding   [{head}, …], {len(run.output)} values")
    else:
        best = np.argsort(-run.output, kind="stable")[:BEST]
        tokenizer = read_tokenizer(image)
        out.print("next token  " + ", ".join(f"{tokenizer.decode([int(index)])!r}"
                                             for index in best))
    out.print(f"cosine      {run.cosine:.6f} to {run.reference}, in floating point")
    print_launches(out, run.launches)
    seconds = f"{run.seconds:.1f} s"
    if run.launches.reports.counters:
        rate = run.launches.totals.rtl_cycles / run.seconds
        seconds += f", {rate:,.0f} cycles per second"
    out.print(f"wall time: {seconds}")
