"""Reads reports as plain objects."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bitwright.compiler.image.file_names import REPORT_FILE
from bitwright.compiler.interface.error_hierarchy import raises_error
from bitwright.models.errors import Error
from bitwright.models.file_formats.mapped_file import parse_json_object
from bitwright.sim.cycle_model.memory_timing import Memory

__all__ = ["AttentionCost", "HostWork", "LayerReport", "Report", "ReportError", "Resources",
           "Totals", "load_report", "report_of", "resources_of"]

T = TypeVar("T")


class ReportError(Error, ValueError):
    """A file that is no report. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The resources that a machine takes of chips of one ``family``.

    LUTs are LUT4s (logic cells on iCE40). ``error`` is the relative error of the LUTs, the worst
    of such machines; ``measured`` says that this very machine was synthesized. ``chips`` are the
    chips on which it fits.
    """
    family: str
    luts: int
    ff: int
    rams: int
    dsps: int
    error: float
    measured: bool
    chips: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class LayerReport:
    """The cost of one layer, as docs/reference/report.md explains it. Sizes are bytes, times clock
    cycles."""
    name: str
    m: int
    k: int
    n: int
    weights: str
    datatype: str
    group_size: int
    asymmetric: bool
    macs: int
    cycles: int
    total_cycles: int
    utilization: float
    roofline_cycles: float
    bound: str
    bits_per_weight: float
    weight_bytes: int
    scale_bytes: int
    act_bytes: int
    output_bytes: int
    dram_bytes: int
    compulsory_bytes: int
    instructions: int
    sqnr_db: float | None
    accumulator_bound: int | None
    causes: Mapping[str, int]
    engines: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]
    programs: Mapping[str, int | None] | None = None

    def __repr__(self) -> str:
        return (f"LayerReport({self.name}: {self.m}x{self.k}x{self.n} {self.weights}, "
                f"{self.cycles:,} cycles)")


@dataclass(frozen=True, kw_only=True)
class HostWork:
    """Operators of one kind that the host runs; ``share`` is of all multiply-accumulates."""
    operator: str
    count: int
    macs: int
    elements: int
    share: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class AttentionCost:
    """The cost of attention's products on the array."""
    keys_and_values: str
    launches: int
    macs: int
    cycles: int
    dram_bytes: int
    compulsory_bytes: int


@dataclass(frozen=True, kw_only=True, repr=False)
class Totals:
    """Sums over all layers; ``array_share`` is of all multiply-accumulates.

    ``programs`` has the cycles of each kind of program, of a model mapped with one-token programs.
    """
    layers: int
    macs: int
    cycles: int
    total_cycles: int
    utilization: float
    roofline_cycles: float
    bits_per_weight: float
    weight_bytes: int
    scale_bytes: int
    act_bytes: int
    output_bytes: int
    dram_bytes: int
    compulsory_bytes: int
    array_share: float
    causes: Mapping[str, int]
    engines: Mapping[str, Mapping[str, int]]
    attention: AttentionCost
    host: tuple[HostWork, ...]
    programs: Mapping[str, int] | None = None

    def __repr__(self) -> str:
        return (f"Totals({self.layers} layers, {self.cycles:,} cycles, "
                f"{self.utilization:.1%} of the array)")


@dataclass(frozen=True, kw_only=True, repr=False)
class Report:
    """The cost of a mapped model on its machine."""
    machine: str
    pe: str
    tokens: int
    memory: Memory
    totals: Totals
    layers: tuple[LayerReport, ...]
    resources: tuple[Resources, ...]

    def __repr__(self) -> str:
        return (f"Report({self.totals.layers} layers on {self.machine}, {self.tokens} tokens, "
                f"{self.totals.cycles:,} cycles)")


def _fields(kind: type[T], values: Mapping[str, Any], **more: Any) -> T:
    """``kind`` from the entries of its names; ``more`` takes the place of entries."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: values[name] for name in names & {*values} - {*more}}, **more)


def resources_of(chips: Mapping[str, Any] | None) -> tuple[Resources, ...]:
    """``chips`` of a report as objects; empty where nothing is known of such a machine."""
    return tuple(_fields(Resources, use, family=family, chips=tuple(
        name for name, shortage in use["chips"].items() if not shortage))
        for family, use in (chips or {}).items())


def report_of(values: Mapping[str, Any]) -> Report:
    """A report's dictionary as objects. Raises ``LookupError`` or ``TypeError`` for another one."""
    totals = values["totals"]
    return _fields(
        Report, values, memory=Memory(**values["memory"]),
        resources=resources_of(values["chips"]),
        layers=tuple(_fields(LayerReport, row, notes=tuple(row["notes"]))
                     for row in values["layers"]),
        totals=_fields(Totals, totals, attention=_fields(AttentionCost, totals["attention"]),
                       host=tuple(_fields(HostWork, row) for row in totals["host"])))


@raises_error
def load_report(path: str | Path) -> Report:
    """Read the report of a mapped model: the folder, or its ``report.json``.

    Raises ``Error`` for a file that cannot be read or is no report.

    >>> max(load_report("mapped").layers, key=lambda layer: layer.cycles)    # doctest: +SKIP
    """
    path = Path(path)
    if path.is_dir():
        path = path / REPORT_FILE
    try:
        return report_of(parse_json_object(path.read_bytes(), str(path)))
    except (LookupError, TypeError, AttributeError) as error:
        raise ReportError(f"{path} is no report of this version ({error}): map the model again"
                          ) from error
