"""Transforms a layer's inputs on the host before they are quantized: divides outliers, then
rotates."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.ir.program import Options
from bitwright.models.quantization.hadamard import has_rotation, rotate

__all__ = ["prepared", "scale_name", "turns"]

Floats = NDArray[np.floating]


def scale_name(layer: str) -> str:
    """Tensor that multiplies the layer's inputs, [k]; not every image has one."""
    return f"{layer}.input_scale"


def turns(options: Options, k: int) -> bool:
    """Say whether the inputs of a layer of ``k`` features are rotated: rotation is asked for, and a
    Hadamard matrix of that order is known."""
    return options.rotate and has_rotation(k)


def prepared(options: Options, tensors: Mapping[str, Floats], layer: str, x: Floats) -> Floats:
    """Inputs ``x`` [T, k] of a layer as its weights in the image want them. ``tensors`` are the
    host's."""
    scale = tensors.get(scale_name(layer))
    if scale is not None:
        x = x * scale
    return rotate(x) if turns(options, x.shape[-1]) else x
