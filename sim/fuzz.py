"""Random GEMMs: RTL against golden model bit for bit, against cycle model cycle for cycle."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hw.config import PRESETS, Machine
from hw.kernel import plan_gemm
from hw.pack import gemm_spec, pack_weights
from hw.plan import PlanError
from models.formats import DATATYPES
from models.golden import ACCUMULATOR_MAX, accumulator_bound, mpgemm
from models.matrix import QuantizedMatrix
from sim.cycles import CycleResult, run_cycles
from sim.gemm import layout, run_gemm
from sim.memory import Memory
from sim.verilated import RunResult, Say, silent

__all__ = ["Case", "Comparison", "MACHINES", "compare", "random_case", "random_matrix"]

# Small machines that differ in every parameter that shapes control or data flow.
MACHINES: tuple[Machine, ...] = (
    PRESETS["tiny"],
    Machine(name="wide", rows=4, cols=4, k_tile=32, builders=2, memory_bits=64, weight_depth=512,
            act_depth=256, scale_depth=256, psum_depth=32, out_depth=32, outstanding=2),
    PRESETS["icebreaker"],
)
MEMORIES = (Memory(latency=8), Memory(latency=40), Memory(latency=150, interval=2))


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


def random_matrix(case: Case, rng: np.random.Generator) -> QuantizedMatrix:
    """Random codes and scales within what the int32 accumulator holds."""
    datatype = DATATYPES[case.datatype]
    size = case.group_size or case.k
    groups = -(-case.k // size)
    codes = np.array(datatype.codes, dtype=np.uint8)
    shape = (case.n, groups)
    least = codes[np.argmin(datatype.decode(codes))]
    chosen = (np.full((case.n, groups * size), least) if case.extreme
              else rng.choice(codes, (case.n, groups * size)))
    offsets: dict[str, Any] = {}
    if case.asymmetric:
        offsets = {"offset_mantissa": rng.integers(-128, 128, shape).astype(np.int16),
                   "offset_shift": rng.integers(0, 4, shape).astype(np.uint8)}
    mantissa = (np.full(shape, 255) if case.extreme
                else rng.integers(0, 256, shape)).astype(np.int16)

    def matrix(mantissa: np.ndarray, shift: np.ndarray) -> QuantizedMatrix:
        return QuantizedMatrix(datatype=datatype, codes=chosen.astype(np.uint8), group_size=size,
                               scale_mantissa=mantissa, scale_shift=shift, k_logical=case.k,
                               channel_scale=np.ones(case.n), **offsets)

    shift = rng.integers(0, 3, shape).astype(np.uint8)
    qm = matrix(mantissa, shift)
    while accumulator_bound(qm).max() > ACCUMULATOR_MAX and mantissa.max() > 1:
        mantissa = (mantissa // 2).astype(np.int16)
        qm = matrix(mantissa, shift)
    return qm


def compare(case: Case, say: Say = silent) -> Comparison:
    """Run ``case`` on golden model, RTL and cycle model.

    Raises :class:`PlanError` if it does not fit the machine."""
    rng = np.random.default_rng(case.seed)
    qm = random_matrix(case, rng)
    bound = int(accumulator_bound(qm).max())
    if bound > ACCUMULATOR_MAX:
        raise PlanError(f"accumulators of {case} reach {bound}, beyond int32's "
                        f"{ACCUMULATOR_MAX}; use a smaller K, larger groups or fewer bits")
    a = (np.full((case.m, case.k), -128) if case.extreme
         else rng.integers(-128, 128, (case.m, case.k)))
    where = layout(plan_gemm(case.machine, gemm_spec(case.m, qm)))
    model = run_cycles(case.machine, where.program, case.memory)
    y, rtl = run_gemm(where, pack_weights(where.plan, qm), a, case.memory, say,
                      max_cycles=2 * model.counters["total"] + 1000)
    return Comparison(case=case, mismatches=int((y != mpgemm(a, qm)).sum()), rtl=rtl, model=model,
                      roofline_cycles=where.plan.roofline(case.memory.interval)[0])


def random_case(seed: int) -> Case:
    """Case number ``seed``: ragged shapes, sizes of 1, every datatype, machine and memory."""
    rng = np.random.default_rng(seed)
    names = sorted(DATATYPES)
    datatype = names[seed % len(names)]
    integer = datatype.startswith("int") and datatype != "int1"
    def size(most: int) -> int:
        return 1 if rng.random() < 0.15 else int(rng.integers(1, most))
    return Case(machine=MACHINES[seed // len(names) % len(MACHINES)], m=size(20), k=size(300),
                n=size(80), datatype=datatype,
                group_size=int(rng.choice([0, 16, 32, 40, 64, 128])),
                asymmetric=bool(integer and rng.random() < 0.4),
                memory=MEMORIES[int(rng.integers(len(MEMORIES)))], seed=seed,
                extreme=bool(rng.random() < 0.1))
