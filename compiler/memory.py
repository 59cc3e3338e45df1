"""Where everything of a model lies in the machine's memory, as one map for all its layers.

    0            program.bin    one program per layer, each on pages of its own
    weights      weights.bin    per layer: weights and scales on pages of their own, then what only
                                the host reads: correction int64[n], channel_scale float64[n],
                                bias float32[n] where there is one, columns int32[k] where a
                                layer gathers its activations; all little-endian
    acts         activations of the layer that runs
    outputs      outputs of the layer that runs

Addresses are bytes, 32 bits wide. A layer's programs, weights, activations and outputs start on
pages; the host's parts start at multiples of 8.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from hw.isa import INSTRUCTION_BYTES, ProgramError
from hw.kernel import Regions, gemm_program, program_bytes
from hw.plan import PAGE, Plan, align

__all__ = ["ADDRESS_LIMIT", "MapError", "MemoryMap", "Place", "Wanted", "allocate"]

ADDRESS_LIMIT = 1 << 32


class MapError(ValueError):
    """A model that cannot be mapped as asked. One line, for people."""


class Wanted(NamedTuple):
    """A layer to be placed. ``gathers``: an input feature is named for every stored column."""
    name: str
    plan: Plan
    has_bias: bool = False
    gathers: bool = False


@dataclass(frozen=True, kw_only=True)
class Place:
    """Byte addresses of one layer's parts. ``bias`` and ``columns`` are None for a layer without
    them."""
    program: int
    instructions: int
    weights: int
    scales: int
    correction: int
    channel_scale: int
    bias: int | None
    columns: int | None
    acts: int
    outputs: int

    @property
    def regions(self) -> Regions:
        return Regions(weights=self.weights, scales=self.scales, acts=self.acts,
                       outputs=self.outputs)


@dataclass(frozen=True, kw_only=True)
class MemoryMap:
    """Start and length of each region, in bytes; ``size`` is the whole image."""
    program_bytes: int
    weights: int
    weights_bytes: int
    acts: int
    acts_bytes: int
    outputs: int
    outputs_bytes: int
    size: int

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:#x}" for name, value in asdict(self).items())


@lru_cache(maxsize=256)
def instructions(plan: Plan) -> int:
    """Length of the plan's program, which no address changes as long as none is 0."""
    regions = Regions(weights=PAGE, scales=PAGE, acts=PAGE, outputs=PAGE)
    return len(program_bytes(gemm_program(plan, regions), plan.machine)) // INSTRUCTION_BYTES


def allocate(wanted: Sequence[Wanted]) -> tuple[MemoryMap, tuple[Place, ...]]:
    """Places of layers, in their order.

    Raises :class:`ProgramError` if a layer's program exceeds the machine's program buffer and
    :class:`MapError` if the map exceeds 32-bit addresses; both name the layer.
    """
    lengths, at = [], 0
    spots: list[dict[str, Any]] = []
    for name, plan, *_ in wanted:
        try:
            lengths.append(instructions(plan))
        except ProgramError as error:
            raise ProgramError(f"layer {name}: {error}") from None
        at = align(at + lengths[-1] * INSTRUCTION_BYTES)
    base, end = at, at
    for name, plan, has_bias, gathers in wanted:
        n = plan.spec.n
        weights = align(end)
        scales = align(weights + plan.stored_bytes)
        correction = align(scales + plan.scale_bytes, 8)
        channel_scale = correction + 8 * n
        end = bias = channel_scale + 8 * n
        end = columns = end + (4 * n if has_bias else 0)
        end += 4 * plan.spec.k if gathers else 0
        if end > ADDRESS_LIMIT:
            raise MapError(f"layer {name}: weights up to here end at byte {end}, and addresses end "
                           f"at {ADDRESS_LIMIT}; use a narrower datatype or fewer layers")
        spots.append({"weights": weights, "scales": scales, "correction": correction,
                      "channel_scale": channel_scale, "bias": bias if has_bias else None,
                      "columns": columns if gathers else None})
    acts = align(end)
    acts_bytes = align(max((layer.plan.act_bytes for layer in wanted), default=0))
    outputs_bytes = align(max((layer.plan.out_bytes for layer in wanted), default=0))
    outputs = acts + acts_bytes
    if outputs + outputs_bytes > ADDRESS_LIMIT:
        raise MapError(f"activations and outputs end at byte {outputs + outputs_bytes}, and "
                       f"addresses end at {ADDRESS_LIMIT}; use fewer --tokens")
    places, at = [], 0
    for length, spot in zip(lengths, spots, strict=True):
        places.append(Place(program=at, instructions=length, acts=acts, outputs=outputs, **spot))
        at = align(at + length * INSTRUCTION_BYTES)
    return MemoryMap(program_bytes=base, weights=base, weights_bytes=acts - base, acts=acts,
                     acts_bytes=acts_bytes, outputs=outputs, outputs_bytes=outputs_bytes,
                     size=outputs + outputs_bytes), tuple(places)
