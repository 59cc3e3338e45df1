"""Reports and progress on the terminal."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bitwright.compiler.html_report.byte_units import size
from bitwright.compiler.html_report.sections import programs_line
from bitwright.compiler.ir.program import LinearOp
from bitwright.compiler.passes.session import Track
from bitwright.compiler.runtime.run_layer import Result
from bitwright.models.command_line.options_and_files import say
from bitwright.models.command_line.progress_lines import counted

__all__ = ["print_report", "print_result", "progress", "terminal"]


def terminal() -> Console:
    """Plain text at full width when it does not go to a terminal."""
    return Console(markup=False, highlight=False,
                   width=None if sys.stdout.isatty() else 240)


def chip_lines(report: Mapping[str, Any]) -> list[str]:
    """What the machine takes of the chips of each family, and on which it fits."""
    found = []
    for family, said in (report["chips"] or {}).items():
        how = "by synthesis" if said["measured"] else f"estimated within {said['error']:.0%}"
        chips = ", ".join(f"{name} ({'; '.join(short)})" if short else f"{name} (fits)"
                          for name, short in said["chips"].items())
        found.append(f"{report['machine']} on {family} boards: {said['luts']:,} LUTs, "
                     f"{said['rams']} block RAMs, {said['dsps']} multipliers, {how}: {chips}")
    return found


def print_report(report: Mapping[str, Any]) -> None:
    """The table of layers, totals, and what is left to the host."""
    console = terminal()
    table = Table(title=f"{report['totals']['layers']} layers on {report['machine']}, "
                        f"{report['pe']} elements, {report['tokens']} tokens")
    for column in ("layer", "M x K x N", "weights", "slices", "bits/weight", "cycles",
                   "utilization", "bound", "DRAM bytes", "notes"):
        table.add_column(column, overflow="fold", justify="right" if column in (
            "slices", "bits/weight", "cycles", "utilization", "DRAM bytes") else "left")
    for row in report["layers"]:
        table.add_row(row["name"], f"{row['m']} x {row['k']} x {row['n']}",
                      row["weights"] + ("" if row["datatype"] == row["weights"] else
                                        f" ({row['datatype']})") + f" g{row['group_size']}"
                      + (" asymmetric" if row["asymmetric"] else ""),
                      str(row["slices_per_weight"]), f"{row['bits_per_weight']:.2f}",
                      f"{row['cycles']:,}", f"{row['utilization']:.1%}", row["bound"],
                      size(row["dram_bytes"]), "; ".join(row["notes"]))
    console.print(table)
    totals = report["totals"]
    console.print(f"total: {totals['macs']:,} MACs in {totals['cycles']:,} cycles, "
                  f"{totals['utilization']:.1%} of the peak; "
                  f"{totals['roofline_cycles'] / totals['cycles']:.1%} of the roofline; "
                  f"{totals['bits_per_weight']:.2f} bits per weight stored "
                  f"({size(totals['weight_bytes'] + totals['scale_bytes'])}); "
                  f"{size(totals['dram_bytes'])} moved, "
                  f"{totals['dram_bytes'] / totals['compulsory_bytes']:.2f} times the least",
                  soft_wrap=True)
    if programs := totals.get("programs"):
        console.print(programs_line(programs, report["tokens"]), soft_wrap=True)
    if (attention := totals["attention"])["launches"]:
        console.print(f"attention: {attention['macs']:,} MACs in {attention['launches']:,} more "
                      f"launches of {attention['cycles']:,} cycles, keys and values "
                      f"{attention['keys_and_values']}; {size(attention['dram_bytes'])} moved",
                      soft_wrap=True)
    for line in chip_lines(report):
        console.print(line, soft_wrap=True)
    if model := report.get("model"):
        after = f" after {model['context']:,}" if model["context"] else ""
        console.print(f"model: {model['family']} of {model['parameters']:,} parameters, from its "
                      f"configuration alone; tokens: {report['tokens']:,}{after}", soft_wrap=True)
        for text in model["assumptions"]:
            console.print(f"assumed: {text}", soft_wrap=True)
    hosted = Table(title=f"on the host: {1 - totals['array_share']:.2%} of all "
                         "multiply-accumulates")
    for column in ("operator", "count", "MACs", "share", "elements", "reason"):
        hosted.add_column(column, justify="left" if column in ("operator", "reason") else "right")
    for row in totals["host"]:
        hosted.add_row(row["operator"], str(row["count"]), f"{row['macs']:,}",
                       f"{row['share']:.2%}", f"{row['elements']:,}", row["reason"])
    console.print(hosted)


def print_result(result: Result) -> None:
    """One run, a line per fact."""
    console = terminal()
    console.print(f"layer       {result.layer}")
    console.print(f"backend     {result.backend}")
    if result.cycles is not None:
        console.print(f"cycles      {result.cycles:,}"
                      + ("" if result.model_cycles is None
                         else f" (cycle model {result.model_cycles:,})"))
    if result.mismatches is not None:
        console.print(f"mismatches  {result.mismatches}")
    if result.sha256:
        console.print(f"sha256      {result.sha256}")
    for engine, sources in (result.engines or {}).items():
        for source, counters in sources.items():
            console.print(f"{engine:11} {source}: " + ", ".join(
                f"{name} {count:,}" for name, count in counters.items()))


@contextmanager
def progress(quiet: bool) -> Iterator[Track]:
    """Show progress over layers on the error stream: a bar if that is a terminal and ``quiet`` is
    not set, else a line now and then."""
    if quiet or not sys.stderr.isatty():
        yield lambda items, label: counted(items, label, say)
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        def track(items: tuple[LinearOp, ...], label: str) -> Iterable[LinearOp]:
            return bar.track(items, description=label)
        yield track
