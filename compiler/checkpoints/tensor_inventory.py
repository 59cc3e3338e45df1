"""Sorts the tensors of a checkpoint: the layers that the array runs, and the rest.

The family is named by ``config.json`` (``architectures``, ``model_type``), and
:mod:`bitwright.models.architectures.families` knows its parts. For each, every tensor is listed
with its expected shape:
one of a linear layer (``y = x @ weight.T + bias``, a matrix for the array), or one of the host's.
Canonical names are those of :class:`Names`, whatever the checkpoint puts before them.
"""
import fnmatch
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bitwright.models.architectures.families import FAMILIES, ConfigError, transformer
from bitwright.models.architectures.host_tensors import HostTensor, host_tensors
from bitwright.models.architectures.operator_graph import operators
from bitwright.models.architectures.transformer import LinearShape, Names, Transformer
from bitwright.models.file_formats.mapped_file import CheckpointError

__all__ = ["Architecture", "architecture", "canonical"]

_TASKS = r"(cls|score|classifier|qa_outputs)\..+"  # heads that are not run


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The meaning of every tensor of a model: ``linears`` in order of execution, and ``host``.

    ``buffers`` matches tensors that hold no weights, ``heads`` those of a head that is not run, or
    a second copy of a tied one; neither is read.
    """
    model: Transformer
    linears: tuple[LinearShape, ...]
    host: tuple[HostTensor, ...]
    shapes: Mapping[str, tuple[int, ...]]
    buffers: re.Pattern[str]
    heads: re.Pattern[str]

    @property
    def name(self) -> str:
        return self.model.family


def architecture(config: Mapping[str, Any], present: Collection[str] = ()) -> Architecture:
    """Every tensor of the model that ``config`` (the contents of ``config.json``) describes.

    ``shapes`` are those expected of every tensor, by canonical name. ``present`` are the
    checkpoint's canonical tensor names, in which the family's optional parts are looked up. Raises
    :class:`CheckpointError` for an unknown architecture, for a value that is missing or out of
    range, and for a variant that is not implemented.
    """
    try:
        model = transformer(config)
        family = FAMILIES[model.family]
        found: dict[str, Any] = {part: _is_present(getattr(model.names, part), present)
                                 for part in family.optional}
        model = replace(model, **found)
        if (key := family.conventions.eps_key) and config.get(key) is None:
            raise CheckpointError(f"config: {key} must be a number between 0 and 1, not None")
        host = host_tensors(model, operators(model, config))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    linears = tuple(model.linears())
    shapes = {tensor.tensor: tensor.shape for tensor in host}
    for linear in linears:
        shapes[linear.tensor] = linear.stored
        if linear.role == "patches":
            shapes[linear.tensor] = (linear.n, config["num_channels"],
                                     *(config["patch_size"],) * 2)
        if linear.bias_tensor:
            shapes[linear.bias_tensor] = (linear.n,)
    return Architecture(
        model=model, linears=linears, host=host, shapes=shapes,
        heads=re.compile("|".join(_heads(model)) or "(?!)"),
        buffers=re.compile("|".join(map(fnmatch.translate, model.names.unused)) or "(?!)"))


def _is_present(part: str, names: Collection[str]) -> bool:
    return any(f"{part}.{suffix}" in names for suffix in ("weight", "bias"))


def _heads(model: Transformer) -> list[str]:
    found = [] if model.outputs else [_TASKS]
    if model.tied or model.causal and not model.outputs:
        found.append(rf"{re.escape(model.names.head)}\.(weight|bias)")
    return found


def canonical(found: Architecture, stored: Collection[str]) -> dict[str, str]:
    """The canonical name of each tensor. A checkpoint of a model without a head may leave out the
    prefix that its body's names have in one with a head, or the reverse."""
    names: Names = found.model.names
    if not names.prefix:
        return {name: name for name in stored}
    if not names.layer.startswith(names.prefix):
        return {name: name.removeprefix(names.prefix) for name in stored}
    if any(name.startswith(names.prefix) for name in stored):
        return {name: name for name in stored}
    outside = {f"{names.head}.{part}" for part in ("weight", "bias")}
    return {name: name if name in outside or found.heads.fullmatch(name) else names.prefix + name
            for name in stored}
