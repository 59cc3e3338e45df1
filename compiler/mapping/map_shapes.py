"""Estimates a model's cost on a machine from its configuration: no weights, no image."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bitwright.compiler.image.mapped_image import report
from bitwright.compiler.ir.lowering import dataflow
from bitwright.compiler.ir.memory_map import MapError
from bitwright.compiler.ir.program import Model, Options, Program
from bitwright.compiler.passes.pass_order import run_shape_passes
from bitwright.compiler.passes.session import Progress, Track
from bitwright.hw.machine.description import Machine
from bitwright.models.architectures.families import transformer
from bitwright.models.architectures.transformer import Transformer

__all__ = ["map_shapes", "shapes_program"]


def count_tokens(model: Transformer, tokens: int | None, context: int) -> int:
    """Return ``tokens`` if the model takes so many. Without it, return the tokens of an image, or
    the default."""
    if model.patches:
        if tokens not in (None, model.positions) or context:
            raise MapError(f"--tokens must be {model.positions}, the patches of an image and its "
                           "class token, without --context; leave both out")
        return model.positions
    wanted = min(Options.tokens, model.positions) if tokens is None else tokens
    if wanted + context > model.positions:
        raise MapError(f"--tokens and --context must be at most {model.positions} together, the "
                       f"positions of the model, not {wanted + context}")
    return wanted


def assumptions(model: Transformer, tokens: int) -> list[str]:
    """Return the report's assumptions, in sentences."""
    if model.experts == 1:
        return []
    counts = model.expert_tokens(tokens)
    seen = sum(count > 0 for count in counts)
    return [f"{model.chosen} of {model.experts} experts per token, tokens spread evenly: "
            f"{max(counts)} to the busiest expert of a layer, {min(counts)} to the least"
            + ("" if seen == model.experts else
               f"; the {model.experts - seen} experts without a token are left out")]


def shapes_program(config: Mapping[str, Any], machine: Machine, options: Options,
                   *, tokens: int | None = None, context: int = 0,
                   track: Track = lambda items, label: items) -> Program:
    """The mapped program of a model's shapes; parameters as of :func:`map_shapes`."""
    model = transformer(config)
    count = count_tokens(model, tokens, context)
    return run_shape_passes(
        Program(machine=machine, options=replace(options, tokens=count),
                model=Model(architecture=model.family),
                graph=dataflow(model, config, count, context)),
        Progress(track=track))


def map_shapes(config: Mapping[str, Any], machine: Machine, options: Options,
               *, tokens: int | None = None, context: int = 0,
               track: Track = lambda items, label: items) -> dict[str, Any]:
    """The report that mapping the model of ``config`` would give, but for what only weights tell.

    ``tokens`` stands for those of ``options``, after ``context`` earlier ones whose keys and values
    are kept; each layer is alone in memory. ``model`` in the report holds its family, parameters
    and assumptions. Raises ``ValueError`` of the kinds that
    the parts name, with a line for people.
    """
    model = transformer(config)
    program = shapes_program(config, machine, options, tokens=tokens, context=context, track=track)
    return {**report(program), "model": {
        "family": model.family, "parameters": model.parameters, "context": context,
        "assumptions": assumptions(model, program.options.tokens)}}
