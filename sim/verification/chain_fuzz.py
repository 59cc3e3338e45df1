"""Runs random chains on the RTL: bit for bit against golden models, cycle for cycle against the
cycle model."""

from dataclasses import dataclass, replace

import numpy as np

from bitwright.hw.codegen.gemm_chain import split_chain
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.codegen.standalone_layout import layout
from bitwright.hw.packing.weight_image import by_column, gemm_spec, pack_weights
from bitwright.models.inference.golden import mpgemm
from bitwright.sim.cycle_model.model import run_cycles
from bitwright.sim.verification.gemm_fuzz import Case, machines, random_gemm
from bitwright.sim.verification.random_operands import random_activations, random_matrix, supported
from bitwright.sim.verilator.chain_run import chain_layout, run_chain

__all__ = ["ChainCase", "ChainComparison", "compare_chain", "random_chain"]

MOST_PRODUCTS = 6


@dataclass(frozen=True)
class ChainCase:
    """Products of one machine with one memory, in as few launches as they take."""
    cases: tuple[Case, ...]
    seed: int

    def __str__(self) -> str:
        first = self.cases[0]
        shapes = ", ".join(f"{case.m}x{case.k}x{case.n} {case.datatype}"
                           + ("+offset" if case.asymmetric else "")
                           + f" group {case.group_size}" for case in self.cases)
        return (f"{first.machine.name}: {shapes}; latency {first.memory.latency}/"
                f"{first.memory.interval} seed {self.seed}")


@dataclass(frozen=True, kw_only=True)
class ChainComparison:
    """``launches`` are products in each launch, ``mismatches`` accumulators that differ, and
    ``differences`` counters by launch, as (RTL, model). ``cycles`` are those of all launches,
    ``apart`` those of every product alone, in the cycle model."""
    case: ChainCase
    launches: tuple[int, ...]
    mismatches: int
    differences: dict[str, tuple[int, int]]
    cycles: int
    apart: int

    @property
    def ok(self) -> bool:
        return not self.mismatches and not self.differences


def random_chain(seed: int) -> ChainCase:
    """Chain number ``seed``: every machine in turn; some products alike, some of other shapes, and
    of other datatypes where nothing is decoded."""
    rng = np.random.default_rng([seed, 1])
    known = machines()
    machine = known[seed % len(known)]
    names = supported(machine)
    name = names[seed // len(known) % len(names)]
    most = (20, 300 if machine.act_bits <= 8 else 60, 80)
    cases: list[Case] = []
    for index in range(int(rng.integers(2, MOST_PRODUCTS + 1))):
        if cases and rng.random() < 0.5:
            cases.append(cases[-1])
            continue
        if not machine.decodes and rng.random() < 0.3:
            name = str(rng.choice(names))
        found = random_gemm(machine, name, seed * MOST_PRODUCTS + index, most)
        cases.append(replace(found, memory=cases[0].memory if cases else found.memory))
    return ChainCase(tuple(cases), seed)


def compare_chain(chain: ChainCase) -> ChainComparison:
    """Run ``chain`` on golden models, RTL and cycle model. Raises :class:`PlanError` if one of its
    products does not fit the machine."""
    machine, memory = chain.cases[0].machine, chain.cases[0].memory
    rng = np.random.default_rng(chain.seed)
    plans, packed, acts, golden = [], [], [], []
    for case in chain.cases:
        qm = random_matrix(machine, case.datatype, case.n, case.k, case.group_size, rng,
                           asymmetric=case.asymmetric, extreme=case.extreme)
        a = random_activations(machine, case.m, case.k, rng, case.extreme)
        plans.append(plan_gemm(machine, gemm_spec(machine, case.m, qm)))
        packed.append(pack_weights(plans[-1], qm))
        acts.append(by_column(qm, a))
        golden.append(mpgemm(a, qm))
    launches = split_chain(plans, [case.datatype for case in chain.cases])
    start, mismatches, cycles = 0, 0, 0
    differences: dict[str, tuple[int, int]] = {}
    for number, count in enumerate(launches):
        part = slice(start, start + count)
        start += count
        where = chain_layout(plans[part])
        model = run_cycles(machine, where.program, memory)
        found, rtl = run_chain(where, packed[part], acts[part], memory,
                               max_cycles=2 * model.counters["total"] + 1000)
        mismatches += sum(int((y != right).sum())
                          for y, right in zip(found, golden[part], strict=True))
        cycles += model.counters["run"]
        differences |= {f"{name} of launch {number}": (rtl.counters[name], model.counters[name])
                        for name in rtl.counters if rtl.counters[name] != model.counters[name]}
    apart = sum(run_cycles(machine, layout(plan).program, memory).counters["run"]
                for plan in plans)
    return ChainComparison(case=chain, launches=tuple(launches), mismatches=mismatches,
                           differences=differences, cycles=cycles, apart=apart)
