"""Makes jobs of a machine's memory layouts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.backends.backend import Gemm, Job, Output
from bitwright.hw.codegen.standalone_layout import Layout
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.packing.weight_image import PackedWeights
from bitwright.sim.cycle_model.model import CycleResult
from bitwright.sim.verilator.chain_run import ChainLayout, chain_contents
from bitwright.sim.verilator.gemm_run import gemm_contents
from bitwright.sim.verilator.series_run import Series, series_contents

__all__ = ["Operands", "chain_job", "layout_job", "series_job"]


@dataclass(frozen=True, kw_only=True)
class Operands:
    """A product's activations [m, k] by stored column, its weights as a machine reads them and as
    integers [n, k], and what the golden model gives."""
    a: NDArray[np.integer]
    packed: PackedWeights
    weights: Callable[[], NDArray[np.int64]]
    golden: NDArray[np.int64]


def _gemm(operands: Operands, outputs: Sequence[Output]) -> Gemm:
    return Gemm(a=operands.a, weights=operands.weights, golden=operands.golden,
                outputs=tuple(outputs))


def layout_job(where: Layout, operands: Operands, expected: CycleResult) -> Job:
    """The job of one product in a memory of its own."""
    plan, packed = where.plan, operands.packed
    return Job(
        machine=plan.machine, memory_bytes=where.size, expected=(expected,),
        programs=((0, len(where.code) // INSTRUCTION_BYTES),),
        contents=gemm_contents(where, packed, operands.a),
        products=(_gemm(operands, [Output(address=where.regions.outputs, plan=plan,
                                          correction=packed.correction)]),))


def chain_job(where: ChainLayout, operands: Sequence[Operands], expected: CycleResult) -> Job:
    """The job of several products in one program."""
    products = tuple(_gemm(each, [Output(address=regions.outputs, plan=plan,
                                         correction=each.packed.correction)])
                     for plan, regions, each in zip(where.plans, where.regions, operands,
                                                    strict=True))
    contents = chain_contents(where, [each.packed for each in operands],
                              [each.a for each in operands])
    return Job(machine=where.plans[0].machine, memory_bytes=where.size, contents=contents,
               programs=((0, len(where.code) // INSTRUCTION_BYTES),), products=products,
               expected=(expected,))


def series_job(where: Series, operands: Operands, expected: Sequence[CycleResult]) -> Job:
    """The job of one product whose rows are taken by programs in a row."""
    outputs = [Output(address=regions.outputs, plan=launch.plan,
                      correction=operands.packed.correction)
               for launch, regions in zip(where.launches, where.regions, strict=True)]
    return Job(
        machine=where.launches[0].plan.machine, memory_bytes=where.size,
        contents=series_contents(where, operands.packed, operands.a), programs=where.starts,
        products=(_gemm(operands, outputs),), expected=tuple(expected))
