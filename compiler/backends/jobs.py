"""Makes jobs of a machine's memory layouts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.backends.backend import Gemm, Job, Output
from bitwright.hw.codegen.standalone_layout import Layout
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.packing.weight_image import PackedWeights, pack_activations
from bitwright.sim.cycle_model.model import CycleResult
from bitwright.sim.verilator.chain_run import ChainLayout
from bitwright.sim.verilator.series_run import Series

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
    plan, regions, packed = where.plan, where.regions, operands.packed
    return Job(
        machine=plan.machine, memory_bytes=where.size, expected=(expected,),
        programs=((0, len(where.code) // INSTRUCTION_BYTES),),
        contents=((0, where.code), (regions.weights, packed.weights),
                  (regions.scales, packed.scales), (regions.acts, pack_activations(
                      plan, operands.a))),
        products=(_gemm(operands, [Output(address=regions.outputs, plan=plan,
                                          correction=packed.correction)]),))


def chain_job(where: ChainLayout, operands: Sequence[Operands], expected: CycleResult) -> Job:
    """The job of several products in one program."""
    contents, products = [(0, where.code)], []
    for plan, regions, each in zip(where.plans, where.regions, operands, strict=True):
        contents += [(regions.weights, each.packed.weights), (regions.scales, each.packed.scales),
                     (regions.acts, pack_activations(plan, each.a))]
        products.append(_gemm(each, [Output(address=regions.outputs, plan=plan,
                                            correction=each.packed.correction)]))
    return Job(machine=where.plans[0].machine, memory_bytes=where.size, contents=tuple(contents),
               programs=((0, len(where.code) // INSTRUCTION_BYTES),), products=tuple(products),
               expected=(expected,))


def series_job(where: Series, operands: Operands, expected: Sequence[CycleResult]) -> Job:
    """The job of one product whose rows are taken by programs in a row."""
    packed, first = operands.packed, where.regions[0]
    contents = [(first.weights, packed.weights), (first.scales, packed.scales),
                *zip(where.programs, where.codes, strict=True)]
    outputs, row = [], 0
    for launch, regions in zip(where.launches, where.regions, strict=True):
        m = launch.plan.spec.m
        contents.append((regions.acts, pack_activations(launch.plan, operands.a[row:row + m])))
        outputs.append(Output(address=regions.outputs, plan=launch.plan,
                              correction=packed.correction))
        row += m
    if row != len(operands.a):
        raise ValueError(f"launches of {row} tokens do not take {len(operands.a)}")
    return Job(
        machine=where.launches[0].plan.machine, memory_bytes=where.size, contents=tuple(contents),
        programs=tuple((program, len(code) // INSTRUCTION_BYTES)
                       for program, code in zip(where.programs, where.codes, strict=True)),
        products=(_gemm(operands, outputs),), expected=tuple(expected))
