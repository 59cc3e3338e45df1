"""Reads checkpoints and quantizes matrices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.compiler.checkpoints.checkpoint import Checkpoint
from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.compiler.interface.error_hierarchy import ArgumentError, raises_error
from bitwright.models.quantization import schemes
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix

__all__ = ["LinearLayer", "ModelCheckpoint", "quantize", "read_checkpoint"]


@dataclass(frozen=True, kw_only=True)
class LinearLayer:
    """A matrix for the array: ``k`` input features, ``n`` output channels."""
    name: str
    tensor: str
    role: str
    k: int
    n: int


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelCheckpoint:
    """A checkpoint whose tensors all have a meaning. A context manager that closes its files.

    Members
    -------
    path : the file, or the index of several files
    family : the model family, such as ``llama``
    layout : how weights are stored: empty for floats, else a low-bit layout such as ``gptq``
    parameters : weights and biases of the whole model
    layers : the matrices for the array, in the order of execution
    """
    path: Path
    family: str
    layout: str
    parameters: int
    layers: tuple[LinearLayer, ...]
    source: Checkpoint = field(compare=False)

    def __repr__(self) -> str:
        return (f"ModelCheckpoint({self.path.name}: {self.family}, {len(self.layers)} layers, "
                f"{self.parameters:,} parameters, {self.layout or 'floats'})")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. The description stays."""
        self.source.close()

    @raises_error
    def weight(self, layer: str) -> NDArray[np.float32]:
        """Return the layer's weights, float32 ``[n, k]``.

        Raises ``Error`` for an unknown layer and for weights that are stored as low-bit codes.
        """
        for linear in self.source.linears:
            if linear.name == layer:
                if self.source.native(linear) is not None:
                    raise ArgumentError(f"layer {layer} of {self.path.name} is stored in "
                                        f"{self.layout} codes: map_model takes them as they are")
                return self.source.weight(linear)
        raise ArgumentError(f"no layer of {self.path.name} is named {layer!r}: see its layers")


@raises_error
def read_checkpoint(path: str | Path, *, config: str | Path | Mapping[str, Any] | None = None,
                    names: str | Path | None = None) -> ModelCheckpoint:
    """Open a checkpoint and check the name, shape and type of every tensor.

    Parameters
    ----------
    path : a safetensors file, the index of several, their folder, a ``.gguf`` file, or a file of
        another kind that a plug-in reads
    config : ``config.json`` or its contents; the one beside the file if left out
    names : a ``.toml`` file with the family and the tensor names of a checkpoint that has others

    Weights stay on disk until :meth:`ModelCheckpoint.weight` reads them. Raises
    ``CheckpointError`` for a file or a configuration that cannot be used.

    >>> with read_checkpoint("model.safetensors") as checkpoint:    # doctest: +SKIP
    ...     weights = checkpoint.weight(checkpoint.layers[0].name)
    """
    source = open_checkpoint(path, config, None if names is None else Path(names))
    return ModelCheckpoint(
        path=source.path, family=source.architecture, layout=source.quantized,
        parameters=source.model.parameters, source=source,
        layers=tuple(LinearLayer(name=each.name, tensor=each.tensor, role=each.role, k=each.k,
                                 n=each.n) for each in source.linears))


@raises_error
def quantize(weights: ArrayLike, scheme: str = "int4", *, group_size: int | None = None,
             asymmetric: bool = False, scale_bits: int = 8, clip_search: bool = False,
             flush_small_scales: bool = False) -> QuantizedMatrix:
    """Quantize a matrix to codes, integer group scales and float channel scales.

    Parameters
    ----------
    weights : finite floats ``[n, k]``: output channels by input features
    scheme : a datatype, mixture or scheme (``bitwright formats`` lists them), or the path of a
        datatype's ``.toml`` file
    group_size : input features per scale, 0 for the whole channel; the scheme's own if left out
    asymmetric : give every group an offset; ``int2`` to ``int8`` only
    scale_bits : bits of a group scale's mantissa
    clip_search : choose every group's range by squared error
    flush_small_scales : raise scales too small for their form to the least there is

    ``dequantize()`` of the result gives the weights back in floats, and ``sqnr_db(weights)`` the
    signal to quantization noise in dB. Raises ``Error`` for weights that are not finite and for
    choices that do not go together.

    >>> quantize([[0.5, -1.0, 0.25, 1.0]], "int4", group_size=4).codes.shape
    (1, 4)
    """
    return schemes.quantize(weights, scheme, group_size, asymmetric, scale_bits, clip_search,
                            "flush" if flush_small_scales else "error")
