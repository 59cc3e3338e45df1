"""Layers of an image that share launches when a whole model runs, and the programs of those."""

from collections.abc import Sequence

from compiler.graph import LinearOp
from compiler.host_files import read_config
from compiler.image import Image, ImageError
from hw.chain import chain_plan, chain_program, place_chain, split_chain
from hw.isa import INSTRUCTION_BYTES, Node
from models.families import ConfigError, transformer
from models.operators import LinearOperator
from models.wiring import operators, stages

__all__ = ["layer_chains", "program_of_chain"]


def layer_chains(image: Image, decode: bool = False) -> list[tuple[LinearOp, ...]]:
    """The layers of each launch, in order: those that do not read one another, as far as one
    program takes them. ``decode``: with the plans of their one-token programs.

    Raises :class:`ImageError` for a model that does not run."""
    config = read_config(image)
    try:
        graph = operators(transformer(config), config)
    except ConfigError as error:
        raise ImageError(f"{image.folder}: {error}") from None
    found: list[tuple[LinearOp, ...]] = []
    for stage in stages(graph):
        ops = [image.layer(op.name, decode) for op in stage if isinstance(op, LinearOperator)]
        start = 0
        for count in split_chain([chain_plan(op.planned) for op in ops],
                                 [op.chosen.name for op in ops]):
            found.append(tuple(ops[start:start + count]))
            start += count
    return found


def program_of_chain(ops: Sequence[LinearOp]) -> tuple[Node, ...]:
    """The program of layers that share a launch, alone in memory, itself at 0."""
    plans = [chain_plan(op.planned) for op in ops]
    regions, _, _ = place_chain(plans, plans[0].machine.program_depth * INSTRUCTION_BYTES)
    return chain_program(plans, regions)
