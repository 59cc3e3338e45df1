"""Estimates the LUTs, flip-flops, block RAMs and multipliers of a machine. The model is fitted to
real syntheses.

LUTs and flip-flops are sums of a machine's features (elements, activations held, lanes filled, ...)
with coefficients that are least squares over the syntheses in ``resources.json``, relative to each
one's size and none negative. Multipliers are counted, and block RAMs are those that the buffers'
widths and depths need. ``error`` is the worst that the model is off for a synthesis of such
elements that was left out of the fit. Link, memory controller and clock of a board are part of all
of them (``python -m fpga resources`` shows them).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.memory_format import TABLE_ROWS, row_bits
from bitwright.models.plugins import Registry

__all__ = ["CHIPS", "RECORD", "Chip", "Estimate", "Sample", "Use", "estimate", "fits", "record",
           "samples", "shortage", "table_of"]

RECORD = Path(__file__).with_name("chip_resources.json")
SHAPES = {"ecp5": ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)),
          "ice40": ((16, 256), (8, 512), (4, 1024), (2, 2048))}  # of a block RAM: bits, words
MULTIPLIERS = {"ecp5": (1, 20), "ice40": (2, 17)}   # per element, for sums of so many bits
FIXED_RAMS = {"ecp5": 0, "ice40": 6}    # of link, counters, registers, loops
PROGRAM_BITS = 224      # of an instruction's 256; no field lies beyond


@dataclass(frozen=True, kw_only=True)
class Chip:
    """The size of a chip: LUT4s, which its makers call ``cells``, block RAMs, multipliers."""
    name: str
    family: str
    luts: int
    rams: int
    dsps: int
    cells: str = "LUT4s"


# The LFE5U-12F is sold with the die of the 25F.
CHIPS: Registry[Chip] = Registry("chip", (
    Chip(name="LFE5U-85F", family="ecp5", luts=83640, rams=208, dsps=156),
    Chip(name="LFE5U-45F", family="ecp5", luts=43848, rams=108, dsps=72),
    Chip(name="LFE5U-25F", family="ecp5", luts=24288, rams=56, dsps=28),
    Chip(name="LFE5U-12F", family="ecp5", luts=24288, rams=56, dsps=28),
    Chip(name="iCE40UP5K", family="ice40", luts=5280, rams=30, dsps=8, cells="logic cells")))


@dataclass(frozen=True, kw_only=True)
class Use:
    """The resources of a machine: LUT4s (logic cells on iCE40), flip-flops, block RAMs,
    multipliers."""
    luts: int
    ff: int
    rams: int
    dsps: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One synthesis: a machine on a board with a chip of this family, and what it took."""
    family: str
    machine: Mapping[str, Any]
    use: Use


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """``error`` is relative, of LUTs; ``measured`` says that this very machine was synthesized."""
    use: Use
    error: float
    measured: bool


def kind(machine: Machine) -> str:
    """Elements of one kind differ in sizes alone."""
    return machine.element.resource_kind(machine)


def features(machine: Machine, kinds: Sequence[str], family: str) -> list[float]:
    """Return the features that LUTs and flip-flops are linear in, for a model of elements of these
    ``kinds``."""
    elements = machine.rows * machine.cols
    lanes = machine.cols * machine.k_tile * machine.decodes
    own = kind(machine)
    width = machine.element.weight_bits(machine)
    filled = machine.rows * machine.builders * machine.act_bits
    found: list[float] = [1, machine.cols, machine.rows, filled, lanes, lanes * width]
    if family == "ice40":   # elsewhere queues are in distributed RAM, 16 deep in any case
        found += [machine.queue_depth > 1, machine.queue_depth]
    for name in kinds:
        mine = elements if name == own else 0
        found += [mine, mine * machine.k_tile * machine.act_bits * width]
    serial = elements * machine.scale_units * (machine.dequant == "serial")
    return [*found, serial]


def blocks(family: str, depth: int, bits: int, lane: int = 1) -> int:
    """Block RAMs of a memory of ``depth`` words, of which ``lane`` bits at once are written."""
    return min(-(-bits // max(width // lane * lane, min(width, lane))) * -(-depth // words)
               for width, words in SHAPES[family])


def counted(machine: Machine, family: str) -> tuple[int, int]:
    """Block RAMs and multipliers."""
    elements, beat = machine.rows * machine.cols, machine.memory_bits
    buffers: tuple[tuple[int, int, int, int], ...] = (
        (machine.weight_depth, machine.weight_word_bits, beat, 1),
        (machine.act_depth, machine.act_word_bits, beat, 1),
        (machine.scale_depth, machine.scale_word_bits, beat, 1),
        (machine.program_depth, PROGRAM_BITS, beat, 1),
        (machine.psum_depth, machine.psum_bits, 1, elements),
        (machine.out_depth, machine.out_word_bits, 1, machine.rows))
    if machine.decodes and family == "ice40":   # of other chips in distributed RAM
        buffers += ((TABLE_ROWS, row_bits(machine), 1, machine.cols),)
    rams = FIXED_RAMS[family] + sum(count * blocks(family, depth, bits, lane)
                                    for depth, bits, lane, count in buffers)
    fewest, widest = MULTIPLIERS[family]
    per = machine.element.multipliers(machine)
    per += (machine.dequant == "dsp") * (fewest + (machine.acc_bits > widest))
    return rams, elements * per


class Model:
    """The fit of one family of chips."""

    def __init__(self, samples: Sequence[Sample]):
        self.samples = samples
        self.machines = [Machine.from_dict(sample.machine) for sample in samples]
        self.kinds = sorted({kind(machine) for machine in self.machines})
        self._matrix = np.array([features(machine, self.kinds, sample.family)
                                 for machine, sample in zip(self.machines, samples, strict=True)])
        self._luts, self._ff = (np.array([getattr(sample.use, name) for sample in samples], float)
                                for name in ("luts", "ff"))

    @cached_property
    def coefficients(self) -> dict[str, np.ndarray]:
        """Return the coefficient of every feature, for LUTs and flip-flops."""
        return {name: self._fit(np.ones(len(self.samples), bool), values)
                for name, values in (("luts", self._luts), ("ff", self._ff))}

    def _fit(self, chosen: np.ndarray, values: np.ndarray) -> np.ndarray:
        from scipy.optimize import nnls  # slow to import, and seldom needed

        scale = values[chosen]
        return nnls(self._matrix[chosen] / scale[:, None], np.ones(len(scale)))[0]

    def errors(self) -> list[float | None]:
        """Return the relative error of LUTs per sample, each by the fit of the others. None for a
        sample that is alone of its kind."""
        found: list[float | None] = []
        for index, machine in enumerate(self.machines):
            if sum(kind(other) == kind(machine) for other in self.machines) < 2:
                found.append(None)
                continue
            chosen = np.arange(len(self.machines)) != index
            said = self._matrix[index] @ self._fit(chosen, self._luts)
            found.append(float(said / self._luts[index] - 1))
        return found

    def use(self, machine: Machine, family: str) -> Use:
        row = np.array(features(machine, self.kinds, family))
        rams, dsps = counted(machine, family)
        return Use(luts=round(row @ self.coefficients["luts"]),
                   ff=round(row @ self.coefficients["ff"]), rams=rams, dsps=dsps)


@cache
def samples() -> tuple[Sample, ...]:
    """The recorded syntheses."""
    return tuple(Sample(family=entry["family"], machine=entry["machine"], use=Use(**entry["use"]))
                 for entry in json.loads(RECORD.read_text())["samples"])


@cache
def model(family: str) -> Model:
    return Model([sample for sample in samples() if sample.family == family])


def estimate(family: str, machine: Machine) -> Estimate | None:
    """Estimate the resources of ``machine`` on chips of ``family``. None for elements of a kind
    that was never synthesized."""
    fitted = model(family)
    if kind(machine) not in fitted.kinds:
        return None
    known = next((sample.use for sample, other in zip(
        fitted.samples, fitted.machines, strict=True)
        if other.replace(name=machine.name) == machine), None)
    error = max((abs(error) for other, error in zip(fitted.machines, fitted.errors(), strict=True)
                 if error is not None and kind(other) == kind(machine)), default=1.0)
    return Estimate(use=known or fitted.use(machine, family), error=error,
                    measured=known is not None)


def shortage(chip: Chip, use: Use) -> list[str]:
    """Return what of the chip is exceeded, in words."""
    return [f"{wanted:,} {what} of {most:,}" for what, wanted, most in (
        (chip.cells, use.luts, chip.luts),
        ("block RAMs", use.rams, chip.rams), ("multipliers", use.dsps, chip.dsps))
        if wanted > most]


def fits(machine: Machine) -> dict[str, Any] | None:
    """Return the resources of ``machine`` on its chips, and the chips on which it fits. None where
    nothing is known of such a machine."""
    families = tuple(SHAPES) if machine.fabric == "generic" else (machine.fabric,)
    found = {}
    for family in families:
        if said := estimate(family, machine):
            found[family] = {
                **asdict(said.use), "error": round(said.error, 3), "measured": said.measured,
                "chips": {name: shortage(chip, said.use) for name, chip in CHIPS.items()
                          if chip.family == family}}
    return found or None


def table_of(family: str) -> list[dict[str, Any]]:
    """Every synthesis of a family beside what the model says of it; ``error`` is by the fit of the
    others, None for elements that are alone of their kind."""
    fitted, rows = model(family), []
    for sample, machine, error in zip(fitted.samples, fitted.machines, fitted.errors(),
                                      strict=True):
        said = fitted.use(machine, family)
        rows.append({
            "family": family, "error": error,
            "machine": f"{kind(machine)}, {machine.rows} x {machine.cols} of {machine.k_tile}",
            **{name: value for each in asdict(sample.use)
               for name, value in ((each, getattr(sample.use, each)),
                                   (f"{each}_model", getattr(said, each)))}})
    return rows


def record(found: Sequence[Sample], tools: Mapping[str, str]) -> dict[str, Any]:
    """The contents of :data:`RECORD`."""
    return {"tools": dict(tools), "samples": [asdict(sample) for sample in found]}
