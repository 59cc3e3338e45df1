"""A mapped image as a network that runs: on the array, or in floating point to compare with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.compiler.image.host_files import read_config, read_tensors
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.ir.kv_format import KeyForm
from bitwright.compiler.ir.layer_inputs import prepared
from bitwright.compiler.runtime.array_arithmetic import Array
from bitwright.compiler.runtime.launcher import Launches
from bitwright.compiler.runtime.run_layer import bias, matrix
from bitwright.models.architectures.families import ConfigError, transformer
from bitwright.models.inference.arithmetic import Arithmetic, FloatCache
from bitwright.models.inference.network import Network
from bitwright.models.nonlinear.floating_point import FLOAT, Functions

__all__ = ["MappedModel", "checkpoint_network"]

Floats = NDArray[np.floating[Any]]


class _Dequantized(Arithmetic):
    """The image's weights in floating point, float32, read for every product."""

    def __init__(self, image: Image, tensors: Mapping[str, np.ndarray], layers: int) -> None:
        self.image, self.tensors, self.layers = image, tensors, layers

    def linear(self, name: str, x: Floats) -> Floats:
        op = self.image.layer(name)
        x = prepared(self.image.options, self.tensors, name, x)
        y: Floats = x @ matrix(self.image, op).dequantize().T.astype(x.dtype)
        offset = bias(self.image, op)
        return y if offset is None else y + offset

    def cache(self) -> FloatCache:
        return FloatCache(self.layers)


class MappedModel:
    """The model of an image: configuration and host tensors, read once.

    Raises :class:`ImageError` for an image without them, or of a model that does not run.
    """

    def __init__(self, image: Image) -> None:
        self.image, self.config, self.tensors = image, read_config(image), read_tensors(image)
        try:
            self.model = transformer(self.config)
        except ConfigError as error:
            raise ImageError(f"{image.folder}: {error}") from None

    def _network(self, arithmetic: Any, functions: Functions = FLOAT) -> Network:
        try:
            return Network(self.model, self.config, self.tensors, arithmetic, functions)
        except ValueError as error:
            raise ImageError(f"{self.image.folder}: {error}") from None

    def on_array(self, launches: Launches, form: KeyForm | None,
                 functions: Functions = FLOAT) -> Network:
        """Matrix products on the array; attention also, unless ``form`` is None. ``functions`` are
        what is between them."""
        return self._network(Array(self.image, self.tensors, launches, self.model.layers, form),
                             functions)

    def dequantized(self) -> Network:
        """All in floating point, with the weights that the image stands for."""
        return self._network(_Dequantized(self.image, self.tensors, self.model.layers))


def checkpoint_network(path: Path) -> Network:
    """The model of a checkpoint in floating point, with its own weights, which a GGUF file may hold
    in fewer bits."""
    with open_checkpoint(path) as checkpoint:
        if not checkpoint.has_floats:
            raise ImageError(f"{path} holds {checkpoint.quantized} weights: name one in floats")
        names = [host.tensor for host in checkpoint.host]
        for linear in checkpoint.linears:
            names += [linear.tensor, *filter(None, [linear.bias_tensor])]
        tensors = {name: checkpoint.read(name) for name in names}
        return Network(checkpoint.model, checkpoint.config, tensors)
