"""Simulates launches of one layer in a row. Weights are stored once; each launch has its own
activations and outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.codegen.gemm_program import Regions, program_bytes
from bitwright.hw.codegen.launch_programs import Launch, launch_program
from bitwright.hw.codegen.standalone_layout import regions_of
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.packing.weight_image import PackedWeights, pack_activations, unpack_outputs
from bitwright.hw.tiling.tile_plan import align
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import CycleResult, run_cycles
from bitwright.sim.verilator.simulator import Contents, RunResult, memory_image, run
from bitwright.sim.verilator.verilator_build import SimulationError

__all__ = ["Series", "launch_cycles", "run_series", "series", "series_contents"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """The place of the launches in memory, with the code of each and its address."""
    launches: tuple[Launch, ...]
    regions: tuple[Regions, ...]
    codes: tuple[bytes, ...]
    programs: tuple[int, ...]
    size: int

    @property
    def starts(self) -> tuple[tuple[int, int], ...]:
        """Address and number of instructions of each launch's program."""
        return tuple((program, len(code) // INSTRUCTION_BYTES)
                     for program, code in zip(self.programs, self.codes, strict=True))


def launch_cycles(launch: Launch, memory: Memory) -> CycleResult:
    """Return the cycle model's result for a launch. Program and regions have pages of their own, so
    neither the place in memory nor an earlier launch changes it."""
    program = launch_program(launch, regions_of(launch.plan)[0])
    return run_cycles(launch.plan.machine, program, memory)


def series(launches: Sequence[Launch]) -> Series:
    """Weights and scales as for the first launch alone; behind them activations of all, outputs of
    all, and programs of all."""
    first, at = regions_of(launches[0].plan)
    acts, outputs, programs = [], [], []
    for launch in launches:
        acts.append(at)
        at = align(at + launch.plan.act_bytes)
    for launch in launches:
        outputs.append(at)
        at = align(at + launch.plan.out_bytes)
    regions = tuple(replace(first, acts=one, outputs=other)
                    for one, other in zip(acts, outputs, strict=True))
    codes = tuple(program_bytes(launch_program(launch, where), launch.plan.machine)
                  for launch, where in zip(launches, regions, strict=True))
    for code in codes:
        programs.append(at)
        at = align(at + len(code))
    return Series(launches=tuple(launches), regions=regions, codes=codes,
                  programs=tuple(programs), size=at)


def series_contents(where: Series, packed: PackedWeights, a: NDArray[np.integer]) -> Contents:
    """What memory holds before the launches run, which take the rows of ``a`` in order."""
    parts = [(where.regions[0].weights, packed.weights), (where.regions[0].scales, packed.scales),
             *zip(where.programs, where.codes, strict=True)]
    row = 0
    for launch, regions in zip(where.launches, where.regions, strict=True):
        m = launch.plan.spec.m
        parts.append((regions.acts, pack_activations(launch.plan, a[row:row + m])))
        row += m
    if row != len(a):
        raise ValueError(f"launches of {row} tokens do not take {len(a)}")
    return tuple(parts)


def run_series(where: Series, packed: PackedWeights, a: NDArray[np.integer],
               memory: Memory = Memory(), *, max_cycles: int = 2_000_000_000
               ) -> tuple[NDArray[np.int64], RunResult]:
    """Accumulators int64 [m, n] of all launches from the RTL, which take the rows of ``a`` in
    order, and its counters. The machine is not reset between launches."""
    image = memory_image(where.size, series_contents(where, packed, a))
    begin, end = where.regions[0].outputs, where.programs[0]
    result = run(where.launches[0].plan.machine, image, where.starts,
                 dump=(begin, end - begin), memory=memory, max_cycles=max_cycles)
    if result.error:
        raise SimulationError(f"the machine stopped: {result.error}")
    found = [unpack_outputs(launch.plan, result.dump[regions.outputs - begin:][
        :launch.plan.out_bytes], packed.correction)
        for launch, regions in zip(where.launches, where.regions, strict=True)]
    return np.concatenate(found), result
