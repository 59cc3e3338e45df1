"""Runs random GEMMs on the RTL: bit for bit against the golden model, cycle for cycle against the
cycle model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bitwright.hw.elements import ELEMENTS
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.inference.golden import mpgemm
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import CycleResult
from bitwright.sim.verification.random_operands import (
    has_offsets,
    random_activations,
    random_matrix,
    supported,
)
from bitwright.sim.verilator.gemm_run import simulate_gemm
from bitwright.sim.verilator.simulator import RunResult
from bitwright.sim.verilator.verilator_build import Say, silent

__all__ = ["Case", "Comparison", "compare", "machines", "random_case", "random_gemm"]

# Small machines that differ in the parameters that shape control or data flow of any element.
COMMON: tuple[Machine, ...] = (
    PRESETS["tiny"],
    Machine(name="wide", rows=4, cols=4, k_tile=32, builders=2, memory_bits=64, weight_depth=512,
            act_depth=256, scale_depth=256, psum_depth=32, out_depth=32, outstanding=2),
    # The board's program memory holds 256 instructions, which the host's cuts fit.
    PRESETS["icebreaker"].replace(program_depth=1024),
)
MEMORIES = (Memory(latency=8), Memory(latency=40), Memory(latency=150, interval=2))


def machines() -> tuple[Machine, ...]:
    """Return the machines that are compared: common ones, then the samples of every element."""
    return (*COMMON, *(Machine(pe=name, **fields) for name, element in ELEMENTS.items()
                       for fields in element.samples))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One GEMM on one machine with one memory."""
    machine: Machine
    m: int
    k: int
    n: int
    datatype: str
    group_size: int = 64         # 0 for one group per channel
    asymmetric: bool = False
    memory: Memory = field(default_factory=Memory)
    seed: int = 0
    extreme: bool = False        # least weights and activations, largest scales

    def __str__(self) -> str:
        kind = self.datatype + ("+offset" if self.asymmetric else "")
        return (f"{self.machine.name} {self.m}x{self.k}x{self.n} {kind} group {self.group_size} "
                f"latency {self.memory.latency}/{self.memory.interval} seed {self.seed}")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Outcome of one case; ``mismatches`` counts accumulators that differ."""
    case: Case
    mismatches: int
    rtl: RunResult
    model: CycleResult
    roofline_cycles: float

    @property
    def differences(self) -> dict[str, tuple[int, int]]:
        """Counters that differ, as (RTL, model)."""
        rtl, model = self.rtl.counters, self.model.counters
        return {name: (rtl[name], model[name]) for name in rtl if rtl[name] != model[name]}

    @property
    def ok(self) -> bool:
        return not self.mismatches and not self.differences

    def to_dict(self) -> dict[str, Any]:
        rtl, model = self.rtl, self.model
        return {
            "mismatches": self.mismatches, "rtl_cycles": rtl.counters["run"],
            "model_cycles": model.counters["run"], "roofline_cycles": self.roofline_cycles,
            "rtl_total_cycles": rtl.counters["total"],
            "model_total_cycles": model.counters["total"],
            "engines": {engine: {"rtl": rtl.engines[engine], "model": model.engines[engine]}
                        for engine in rtl.engines},
        }


def compare(case: Case, say: Say = silent, simulator: Path | None = None) -> Comparison:
    """Run ``case`` on golden model, RTL (``simulator`` in place of the machine's own) and cycle
    model.

    Raises :class:`PlanError` if it does not fit the machine."""
    rng = np.random.default_rng(case.seed)
    qm = random_matrix(case.machine, case.datatype, case.n, case.k, case.group_size, rng,
                       asymmetric=case.asymmetric, extreme=case.extreme)
    a = random_activations(case.machine, case.m, case.k, rng, case.extreme)
    found = simulate_gemm(case.machine, qm, a, case.memory, say, simulator=simulator)
    return Comparison(case=case, mismatches=int((found.y != mpgemm(a, qm)).sum()), rtl=found.rtl,
                      model=found.model,
                      roofline_cycles=found.plan.roofline(case.memory.interval)[0])


def random_case(seed: int) -> Case:
    """Case number ``seed``: every machine in turn, and every datatype that it runs."""
    known = machines()
    machine = known[seed % len(known)]
    names = supported(machine)
    return random_gemm(machine, names[seed // len(known) % len(names)], seed)


def random_gemm(machine: Machine, datatype: str, seed: int,
                most: tuple[int, int, int] = (20, 300, 80)) -> Case:
    """A case of ragged shape m, k, n below ``most``, often 1 in one of them; any group size and
    memory."""
    rng = np.random.default_rng(seed)

    def size(most: int) -> int:
        return 1 if rng.random() < 0.15 else int(rng.integers(1, most))
    m, k, n = map(size, most)
    return Case(machine=machine, m=m, k=k, n=n, datatype=datatype,
                group_size=int(rng.choice([0, 16, 32, 40, 64, 128])),
                asymmetric=bool(has_offsets(datatype) and rng.random() < 0.4),
                memory=MEMORIES[int(rng.integers(len(MEMORIES)))], seed=seed,
                extreme=bool(rng.random() < 0.1))
