"""Layers of an image that share launches when a whole model runs, and the programs of those."""

from collections.abc import Sequence

from bitwright.compiler.image.host_files import read_config
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.ir.program import LinearOp
from bitwright.hw.codegen.gemm_chain import chain_plan, chain_program, place_chain, split_chain
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.isa.program_tree import Node
from bitwright.models.architectures.families import ConfigError, transformer
from bitwright.models.architectures.operator_graph import operators, stages
from bitwright.models.architectures.operators import LinearOperator

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
