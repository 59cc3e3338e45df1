"""Runs one layer, or a text through the whole model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.image.host_files import read_tensors
from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.interface.error_hierarchy import ArgumentError, raises_error
from bitwright.compiler.interface.model_mapping import load_image
from bitwright.compiler.ir.kv_format import KeyForm
from bitwright.compiler.ir.layer_inputs import prepared
from bitwright.compiler.runtime.run_layer import (
    as_activations,
    bias,
    execute,
    matrix,
    random_activations,
)
from bitwright.compiler.runtime.text_run import run_text
from bitwright.models.inference.golden import dequantize_output

__all__ = ["LayerRun", "ModelRun", "run"]

HOST = "float"   # of ``kv``: attention's products stay on the host


@dataclass(frozen=True, kw_only=True, repr=False)
class LayerRun:
    """One layer on one backend; None where the backend does not know.

    Members
    -------
    cycles : clock cycles of the run
    model_cycles : those that the cycle model says, where the backend measured its own
    mismatches : accumulators that differ from the golden model's
    accumulators : int64 ``[m, n]``
    outputs : float64 ``[m, n]``, of float activations alone: ``x @ weight.T + bias``
    engines : counters in cycles by engine, then by source (``rtl``, ``model``)
    good : no bit and no counter differs
    """
    layer: str
    backend: str
    good: bool
    cycles: int | None = None
    model_cycles: int | None = None
    mismatches: int | None = None
    accumulators: NDArray[np.int64] | None = None
    outputs: NDArray[np.float64] | None = None
    engines: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)

    def __repr__(self) -> str:
        cycles = "" if self.cycles is None else f", {self.cycles:,} cycles"
        return (f"LayerRun({self.layer} on {self.backend}{cycles}, "
                f"{'good' if self.good else 'NOT good'})")


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelRun:
    """A text through the whole model on one backend.

    Members
    -------
    tokens : tokens of the text
    output : the sentence embedding of an encoder, the last token's logits of a decoder
    cosine : between ``output`` and the same model in floats; ``reference`` names its weights
    launches : what the launches on the array add up to, as ``bitwright run --json`` gives it
    good : no bit and no counter differs
    """
    text: str
    backend: str
    good: bool
    tokens: int
    output: NDArray[np.floating[Any]]
    cosine: float
    reference: str
    launches: Mapping[str, Any]

    def __repr__(self) -> str:
        return (f"ModelRun({self.tokens} tokens on {self.backend}, cosine {self.cosine:.4f}, "
                f"{'good' if self.good else 'NOT good'})")


@overload
def run(image: Image | str | Path, *, layer: str, activations: NDArray[Any] | None = None,
        backend: str = "golden", seed: int = 0, decode: bool = False) -> LayerRun: ...
@overload
def run(image: Image | str | Path, *, text: str, backend: str = "golden", kv: str = "int8"
        ) -> ModelRun: ...
@raises_error
def run(image: Image | str | Path, *, layer: str | None = None, text: str | None = None,
        activations: NDArray[Any] | None = None, backend: str = "golden", seed: int = 0,
        decode: bool = False, kv: str = "int8") -> LayerRun | ModelRun:
    """Run one ``layer``, or a ``text`` through the whole model.

    Parameters
    ----------
    image : what :func:`map_model` or :func:`load_image` returned, or the folder
    layer : name of the layer; give this or ``text``
    text : text for a model with a tokenizer; give this or ``layer``
    activations : ``[m, k]`` of the layer: int8 or int16 of the machine's width, or floats, which
        are quantized per token; random integers if left out
    backend : ``golden`` (exact arithmetic), ``cycles`` (the cycle model, no values), ``rtl``
        (Verilator, compared with both), or a registered one
    seed : of random activations
    decode : run the layer's one-token program
    kv : keys and values of attention, of a text: ``int8``, ``int4``, or ``float`` for the host

    The result's ``good`` says that no bit and no counter differs. Raises ``InputError`` for
    activations that do not belong to the layer, and ``ImageError`` for an unknown layer.

    >>> run("mapped", layer="encoder.layer.0.output.dense").good    # doctest: +SKIP
    True
    """
    if (layer is None) == (text is None):
        raise ArgumentError("run takes one of layer and text: give a layer's name or a text")
    opened = image if isinstance(image, Image) else load_image(image)
    if text is not None:
        return _run_model(opened, text, backend, kv)
    assert layer is not None
    return _run_layer(opened, layer, decode, backend, seed if activations is None else activations)


def _run_model(image: Image, text: str, backend: str, kv: str) -> ModelRun:
    found = run_text(image, text, backend, None if kv == HOST else KeyForm(kv))
    return ModelRun(text=text, backend=backend, good=found.launches.good, tokens=found.tokens,
                    output=found.output, cosine=found.cosine, reference=found.reference,
                    launches=found.launches.to_dict())


def _run_layer(image: Image, layer: str, decode: bool, backend: str, given: NDArray[Any] | int
               ) -> LayerRun:
    op, bits = image.layer(layer, decode), image.machine.act_bits
    scale = None
    if isinstance(given, int):
        a = random_activations(op, given, bits)
    else:
        a, scale = as_activations(op, np.asarray(given), "activations", bits,
                                  partial(prepared, image.options, read_tensors(image), layer))
    found = execute(image, op, backend, a)
    outputs = None
    if scale is not None and found.accumulators is not None:
        outputs = dequantize_output(found.accumulators, matrix(image, op), scale, bias(image, op))
    return LayerRun(layer=layer, backend=backend, good=found.good, cycles=found.cycles,
                    model_cycles=found.model_cycles, mismatches=found.mismatches,
                    accumulators=found.accumulators, outputs=outputs, engines=found.engines or {})
