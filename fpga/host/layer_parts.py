"""A layer as what a board runs at once: whole, or cut to fit the board's memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.backends.backend import Gemm, Job, Output
from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.ir.program import LinearOp
from bitwright.compiler.runtime.run_layer import stored_weights
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.codegen.standalone_layout import Layout, layout, regions_of
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.isa.program_tree import parse
from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.weight_image import (
    PackedWeights,
    by_column,
    gemm_spec,
    pack_activations,
    pack_weights,
)
from bitwright.hw.tiling.gemm_spec import GemmSpec, PlanError
from bitwright.hw.tiling.plan_search import candidates
from bitwright.hw.tiling.tile_plan import align
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.sim.cycle_model.model import CycleResult

__all__ = ["Cut", "Part", "cut", "placed", "repacked"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """``tokens`` and ``channels`` of a layer, as they lie in the board's memory; ``program`` is the
    address of the code, ``a`` are the activations [m, k] by stored column."""
    tokens: slice
    channels: slice
    where: Layout
    program: int
    packed: PackedWeights
    a: NDArray[np.integer]

    @property
    def regions(self) -> dict[str, tuple[int, bytes]]:
        """Address and content of everything that is loaded, by what it is."""
        places = self.where.regions
        return {"program": (self.program, self.where.code),
                "weights": (places.weights, self.packed.weights),
                "scales": (places.scales, self.packed.scales),
                "activations": (places.acts, pack_activations(self.where.plan, self.a))}

    def job(self, qm: QuantizedMatrix, golden: NDArray[np.int64], expected: CycleResult) -> Job:
        """The part as a job for a backend, of the layer's matrix and its golden accumulators."""
        plan = self.where.plan
        output = Output(address=self.where.regions.outputs, plan=plan,
                        correction=self.packed.correction)
        return Job(
            machine=plan.machine, memory_bytes=self.where.size, expected=(expected,),
            contents=tuple(self.regions.values()),
            programs=((self.program, len(self.where.code) // INSTRUCTION_BYTES),),
            products=(Gemm(a=self.a, golden=golden[self.tokens, self.channels], outputs=(output,),
                           weights=lambda: qm.channels(self.channels).effective[
                               :, :self.a.shape[1]]),))


@dataclass(frozen=True, kw_only=True)
class Cut:
    """At most so many tokens and output channels at once."""
    tokens: int
    channels: int

    def count(self, m: int, n: int) -> int:
        return -(-m // self.tokens) * -(-n // self.channels)


# ---- as the image has it ------------------------------------------------------------------
def placed(image: Image, op: LinearOp, a: NDArray[np.integer]) -> Part:
    """The whole layer where the image has it, with activations ``a`` [m, k] by stored column."""
    plan, place = op.planned, op.placed
    code = image.code(op)
    size = max(place.program + place.instructions * INSTRUCTION_BYTES,
               place.weights + plan.stored_bytes, place.scales + plan.scale_bytes,
               place.acts + plan.act_bytes, place.outputs + plan.out_bytes)
    return Part(tokens=slice(0, op.m), channels=slice(0, op.n), program=place.program,
                where=Layout(plan=plan, regions=place.regions, program=parse(code), code=code,
                             size=size),
                packed=stored_weights(image, op), a=a)


# ---- packed again -------------------------------------------------------------------------
def _fits(machine: Machine, spec: GemmSpec, room: int) -> bool:
    """Say whether a part of this shape can run in ``room`` bytes."""
    try:
        if min(regions_of(plan)[1] for plan in candidates(machine, spec)) > room:
            return False    # whichever plan it will be
        return regions_of(plan_gemm(machine, spec))[1] <= room
    except PlanError:
        return False


def _pieces(size: int, unit: int) -> Iterator[int]:
    """Sizes of equal pieces of ``size``, in whole units, from the largest on."""
    last = 0
    for count in range(1, -(-size // unit) + 1):
        piece = min(size, align(-(-size // count), unit))
        if piece != last:
            yield piece
        last = piece


def cut(machine: Machine, spec: GemmSpec, room: int) -> Cut:
    """The fewest parts, equal but for the last, whose programs fit the machine and whose regions
    fit ``room`` bytes; of those the ones with the most tokens. Raises :class:`PlanError` if not
    even the smallest does."""
    fits = cache(lambda m, n: _fits(machine, replace(spec, m=m, n=n), room))
    best: Cut | None = None
    for tokens in _pieces(spec.m, 1):
        width = machine.cols * (machine.rows if tokens == 1 else 1)
        for channels in _pieces(spec.n, width):
            how = Cut(tokens=tokens, channels=channels)
            if best is not None and how.count(spec.m, spec.n) >= best.count(spec.m, spec.n):
                break
            if all(fits(m, n) for m in {tokens, spec.m % tokens or tokens}
                   for n in {channels, spec.n % channels or channels}):
                best = how
                break
    if best is None:
        raise _too_small(machine, replace(spec, m=1, n=min(spec.n, machine.cols * machine.rows)),
                         room)
    return best


def _too_small(machine: Machine, least: GemmSpec, room: int) -> PlanError:
    try:
        size = regions_of(plan_gemm(machine, least))[1]
    except PlanError as error:
        return error
    return PlanError(f"one token and {least.n} channels of {least.k} inputs already take "
                     f"{size:,} bytes, and the board's memory has {room:,}: use a board with "
                     "more, or a narrower datatype")


def repacked(machine: Machine, qm: QuantizedMatrix, a: NDArray[np.integer], how: Cut
             ) -> Iterator[Part]:
    """The parts of a layer with activations ``a`` [m, features], packed for ``machine``. Those of
    the same channels follow each other."""
    columns = by_column(qm, a)
    for first in range(0, qm.n, how.channels):
        channels = slice(first, min(first + how.channels, qm.n))
        part, packed = qm.channels(channels), None
        before: Layout | None = None
        for start in range(0, len(a), how.tokens):
            tokens = slice(start, min(start + how.tokens, len(a)))
            rows = columns[tokens]
            where = layout(plan_gemm(machine, gemm_spec(machine, len(rows), part)))
            if before is None or where.plan != before.plan:
                packed = pack_weights(where.plan, part)
            assert packed is not None
            before = where
            yield Part(tokens=tokens, channels=channels, where=where, program=0, packed=packed,
                       a=rows)
