"""Compares machines over many workloads."""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from bitwright.compiler.html_report.cycles_against_luts import PlotPoint, cycles_against_luts
from bitwright.compiler.interface.cost_estimates import (
    Estimate,
    Workload,
    estimate,
    workload_name,
)
from bitwright.compiler.interface.error_hierarchy import raises_error
from bitwright.compiler.interface.machine_choice import MachineLike, chosen_machine
from bitwright.compiler.ir.memory_map import MapError
from bitwright.hw.machine.description import Machine
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.command_line.options_and_files import write_text
from bitwright.models.errors import Error
from bitwright.models.quantization.schemes import scheme
from bitwright.sim.cycle_model.memory_timing import Memory

__all__ = ["COLUMNS", "Refusal", "Sweep", "SweepError", "sweep"]

COLUMNS = ("workload", "machine", "weights", "macs", "cycles", "utilization", "roofline_cycles",
           "dram_bytes", "family", "luts", "ff", "rams", "dsps", "lut_error", "measured",
           "refused")
FEWEST = 8   # estimates that are worth a process


class SweepError(Error, ValueError):
    """A sweep that shows nothing. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A workload that a machine does not run, with the reason."""
    workload: str
    machine: str
    weights: str
    reason: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Sweep:
    """Estimates of every workload on every machine that runs it, and what was refused."""
    estimates: tuple[Estimate, ...]
    refusals: tuple[Refusal, ...]

    def __len__(self) -> int:
        return len(self.estimates)

    def __iter__(self) -> Iterator[Estimate]:
        return iter(self.estimates)

    def __repr__(self) -> str:
        return f"Sweep({len(self.estimates)} estimates, {len(self.refusals)} refused)"

    def rows(self) -> list[dict[str, object]]:
        """Return one row per workload and machine, by the names of :data:`COLUMNS`.

        A value that is unknown is None; ``refused`` holds the reason of a refusal.
        """
        found: list[dict[str, object]] = []
        for each in self.estimates:
            use = each.resources[0] if each.resources else None
            found.append(dict.fromkeys(COLUMNS) | {
                "workload": each.workload, "machine": each.machine.name, "weights": each.weights,
                "macs": each.macs, "cycles": each.cycles, "utilization": each.utilization,
                "roofline_cycles": each.roofline_cycles, "dram_bytes": each.dram_bytes}
                | ({} if use is None else {
                    "family": use.family, "luts": use.luts, "ff": use.ff, "rams": use.rams,
                    "dsps": use.dsps, "lut_error": use.error, "measured": use.measured}))
        found += [dict.fromkeys(COLUMNS) | {
            "workload": each.workload, "machine": each.machine, "weights": each.weights,
            "refused": each.reason} for each in self.refusals]
        return found

    def to_csv(self) -> str:
        """Return :meth:`rows` as CSV with a header; a None is an empty cell."""
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows())
        return text.getvalue()

    def to_svg(self) -> str:
        """Return a plot of cycles against LUTs: a point per estimate, a line per workload.

        Machines with unknown LUTs are left out. Raises ``Error`` if no point is left.
        """
        points = [PlotPoint(workload=each.workload, machine=each.machine.name, luts=each.luts,
                            cycles=each.cycles)
                  for each in self.estimates if each.luts is not None]
        if not points:
            raise SweepError("the sweep has no estimate with known LUTs: there is nothing to plot")
        return cycles_against_luts(points)

    @raises_error
    def write_csv(self, path: str | Path) -> None:
        """Write :meth:`to_csv` to a file, whole or not at all."""
        write_text(Path(path), self.to_csv())

    @raises_error
    def write_svg(self, path: str | Path) -> None:
        """Write :meth:`to_svg` to a file, whole or not at all."""
        write_text(Path(path), self.to_svg())


@raises_error
def sweep(workloads: Iterable[Workload], machines: Iterable[MachineLike], *,
          weights: str = "int4", group_size: int | None = None, asymmetric: bool = False,
          tokens: int | None = None, memory: Memory = Memory(), jobs: int | None = None) -> Sweep:
    """Estimate every workload on every machine.

    Parameters are those of :func:`estimate`; ``jobs`` are processes at a time, one per CPU if left
    out. What a machine does not run becomes a refusal. An unknown machine or datatype raises
    ``Error`` before anything is estimated.

    >>> len(sweep(["16x256x256", "1x256x256"], ["tiny", "ulx3s-12f"]))
    4
    """
    chosen = [chosen_machine(each) for each in machines]
    scheme(weights).check(group_size, asymmetric, 8, False)
    pairs = [(work, config) for work in workloads for config in chosen]
    one = partial(_one, choice=(weights, group_size, asymmetric), tokens=tokens, memory=memory)
    processes = min(jobs or os.cpu_count() or 1, len(pairs) // FEWEST)
    if processes < 2:
        found = [one(pair) for pair in pairs]
    else:
        with ProcessPoolExecutor(processes, get_context("fork")) as pool:
            found = list(pool.map(one, pairs, chunksize=4))
    return Sweep(estimates=tuple(each for each in found if isinstance(each, Estimate)),
                 refusals=tuple(each for each in found if isinstance(each, Refusal)))


def _one(pair: tuple[Workload, Machine], choice: tuple[str, int | None, bool],
         tokens: int | None, memory: Memory) -> Estimate | Refusal:
    (work, config), (weights, group_size, asymmetric) = pair, choice
    try:
        return estimate(work, config, weights=weights, group_size=group_size,
                        asymmetric=asymmetric, tokens=tokens, memory=memory)
    except (PlanError, MapError) as error:
        return Refusal(workload=workload_name(work), machine=config.name, weights=weights,
                       reason=str(error))
