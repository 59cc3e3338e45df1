"""Places everything of a model in the machine's memory: one map for all its layers.

    0            program.bin    the programs of every layer, each on pages of its own
    weights      weights.bin    per layer: weights and scales on pages of their own, then what only
                                the host reads: correction int64[n], channel_scale float64[n],
                                bias float32[n] where there is one, columns int32[k] where a
                                layer gathers its activations; all little-endian
    acts         activations of the layer that runs
    outputs      outputs of the layer that runs

Addresses are bytes, 32 bits wide. A layer's programs, weights, activations and outputs start on
pages; the host's parts start at multiples of 8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from bitwright.hw.codegen.gemm_program import ANYWHERE, Regions, program_bytes
from bitwright.hw.codegen.launch_programs import Launch, follows, launch_program
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES, ProgramError
from bitwright.hw.tiling.tile_plan import Plan, align
from bitwright.models.errors import Error

__all__ = ["ADDRESS_LIMIT", "AGAIN", "Code", "DECODE", "MapError", "MemoryMap", "PREFILL", "Place",
           "Wanted", "allocate", "launches_of"]

ADDRESS_LIMIT = 1 << 32
PREFILL, DECODE, AGAIN = "prefill", "decode", "_again"  # names of programs


class MapError(Error, ValueError):
    """A model that cannot be mapped as asked. One line, for people."""


class Code(NamedTuple):
    """A program: its byte offset in ``program.bin``, and its length."""
    offset: int
    instructions: int


def launches_of(plan: Plan, one: Plan | None) -> dict[str, Launch]:
    """A layer's launches by the names of their programs: ``prefill``; with a plan for one token
    ``decode``; and, where weights stay for both, ``prefill_again`` and ``decode_again``, for a
    launch right after another of the layer."""
    found = {PREFILL: Launch(plan)}
    if one is not None:
        found[DECODE] = Launch(one)
        if follows(one, plan):
            found |= {PREFILL + AGAIN: Launch(plan, True), DECODE + AGAIN: Launch(one, True)}
    return found


class Wanted(NamedTuple):
    """A layer to be placed. ``gathers``: an input feature is named for every stored column. ``one``
    is the plan of its one-token program."""
    name: str
    plan: Plan
    has_bias: bool = False
    gathers: bool = False
    one: Plan | None = None

    @property
    def launches(self) -> dict[str, Launch]:
        return launches_of(self.plan, self.one)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Byte addresses of one layer's parts. ``codes`` are its programs by name. ``bias`` and
    ``columns`` are None for a layer without them."""
    codes: Mapping[str, Code] = field(hash=False)
    weights: int
    scales: int
    correction: int
    channel_scale: int
    bias: int | None
    columns: int | None
    acts: int
    outputs: int

    @property
    def program(self) -> int:
        """Address of the layer's first program."""
        return self.codes[PREFILL].offset

    @property
    def instructions(self) -> int:
        return self.codes[PREFILL].instructions

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
def instructions(launch: Launch) -> int:
    """Length of the launch's program, which no address changes as long as none is 0."""
    code = program_bytes(launch_program(launch, ANYWHERE), launch.plan.machine)
    return len(code) // INSTRUCTION_BYTES


def allocate(wanted: Sequence[Wanted]) -> tuple[MemoryMap, tuple[Place, ...]]:
    """Places of layers, in their order.

    Raises :class:`ProgramError` if a layer's program exceeds the machine's program buffer and
    :class:`MapError` if the map exceeds 32-bit addresses; both name the layer.
    """
    codes: list[dict[str, Code]] = []
    spots: list[dict[str, Any]] = []
    at = 0
    for layer in wanted:
        codes.append({})
        for program, launch in layer.launches.items():
            try:
                codes[-1][program] = code = Code(at, instructions(launch))
            except ProgramError as error:
                raise ProgramError(f"layer {layer.name}: {error}") from None
            at = align(at + code.instructions * INSTRUCTION_BYTES)
    base, end = at, at
    for name, plan, has_bias, gathers, _ in wanted:
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
    plans = [launch.plan for layer in wanted for launch in layer.launches.values()]
    acts_bytes = align(max((plan.act_bytes for plan in plans), default=0))
    outputs_bytes = align(max((plan.out_bytes for plan in plans), default=0))
    outputs = acts + acts_bytes
    if outputs + outputs_bytes > ADDRESS_LIMIT:
        raise MapError(f"activations and outputs end at byte {outputs + outputs_bytes}, and "
                       f"addresses end at {ADDRESS_LIMIT}; use fewer --tokens")
    places = tuple(Place(codes=of_layer, acts=acts, outputs=outputs, **spot)
                   for of_layer, spot in zip(codes, spots, strict=True))
    return MemoryMap(program_bytes=base, weights=base, weights_bytes=acts - base, acts=acts,
                     acts_bytes=acts_bytes, outputs=outputs, outputs_bytes=outputs_bytes,
                     size=outputs + outputs_bytes), places
