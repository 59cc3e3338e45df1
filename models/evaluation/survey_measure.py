"""Runs one job of the quality survey: quantizes a model's weights, measures errors, reads the text.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.models.evaluation.subjects import Decoder, Weights, encoder_layers
from bitwright.models.evaluation.variants import TEXTBOOK, Variant
from bitwright.models.inference.perplexity import make_integer_activations, perplexity
from bitwright.models.inference.reference_bert import float_linear
from bitwright.models.inference.reference_llama import Llama
from bitwright.models.quantization.schemes import quantize

__all__ = ["MIXTURE_GROUP", "MIXTURE_PARTS", "Job", "Source", "work"]

MIXTURE_PARTS = {
    "bitmod4": ("int4", "fp4", "fp4_er_neg", "fp4_er_pos", "fp4_ea_neg", "fp4_ea_pos"),
    "bitmod3": ("int3", "fp3", "fp3_er_neg", "fp3_er_pos", "fp3_ea_neg", "fp3_ea_pos"),
}
MIXTURE_GROUP = 128


@dataclass(frozen=True)
class Source:
    """The subject of a survey: a GGUF file and the first ``windows`` windows of a text."""
    model: Path
    text: Path
    windows: int


@dataclass(frozen=True)
class Job:
    """One piece of work. ``kind`` is ``shipped`` (perplexity of the model as it is), ``text``
    (perplexity and errors of a variant), ``error`` (errors alone) or ``mixture`` (of the mixture
    ``variant.name``, both ways to choose, and its parts). ``model``: ``smollm2``, ``minilm``."""
    kind: str
    model: str
    variant: Variant | None = None

    @property
    def key(self) -> str:
        v = self.variant
        return f"{self.kind}/{self.model}" + (f"/{v.label}/{v.group_size}" if v else "")


def _layers(source: Source, model: str) -> Weights:
    if model == "minilm":
        return encoder_layers()
    return Decoder.kept(source.model, source.text, source.windows).layers


def _quantized(layers: Weights, variant: Variant) -> tuple[Weights, dict[str, Any]]:
    """Quantized weights, and their errors as JSON values: decibels per layer (null: no error)."""
    new: Weights = {}
    decibels, bits, noise_total, signal_total, count = [], 0.0, 0.0, 0.0, 0
    for name, w in layers.items():
        try:
            values, per_weight = variant.dequantized(w)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        noise = float(np.square(values - w).sum())
        signal = float(np.square(w, dtype=np.float64).sum())
        decibels.append(round(float(10 * np.log10(signal / noise)), 2) if noise else None)
        noise_total, signal_total = noise_total + noise, signal_total + signal
        bits, count = bits + per_weight * w.size, count + w.size
        new[name] = values.astype(np.float32)
    finite = [d for d in decibels if d is not None]
    return new, {
        "weights": variant.label, "group_size": variant.group_size,
        "bits": round(bits / count, 4),
        "mean_db": round(float(np.mean(finite)), 3) if finite else None,
        "total_db": round(float(10 * np.log10(signal_total / noise_total)), 3)
        if noise_total else None,
        "squared_error": float(f"{noise_total:.6g}"), "db": decibels}


def _read(decoder: Decoder, layers: Weights, integer: bool) -> float:
    weights = decoder.weights | {f"{name}.weight": w for name, w in layers.items()}
    linear = make_integer_activations() if integer else float_linear
    return round(perplexity(Llama(decoder.config, weights, linear), decoder.windows), 4)


def _mixture(layers: Weights, base: str) -> dict[str, Any]:
    """Return the ratios of the squared errors of ``base`` and ``base_mse`` to the errors of each
    part, layer by layer, by mixture and part."""
    def errors(weights: str) -> NDArray[np.float64]:
        return np.array([np.square(quantize(w, weights, MIXTURE_GROUP).dequantize() - w).sum()
                         for w in layers.values()])

    def against(ratio: NDArray[np.float64]) -> dict[str, Any]:
        return {"worst": round(float(ratio.max()), 5), "mean": round(float(ratio.mean()), 5),
                "worst_layer": list(layers)[int(ratio.argmax())],
                "every": [round(float(r), 4) for r in ratio]}

    parts = {part: errors(part) for part in MIXTURE_PARTS[base]}
    mixtures = {name: errors(name) for name in (base, f"{base}_mse")}
    return {name: {part: against(mine / other) for part, other in parts.items()}
            for name, mine in mixtures.items()}


def work(source: Source, job: Job) -> Any:
    """Return the results of ``job`` as JSON values. Runs in a process of its own."""
    layers = _layers(source, job.model)
    if job.kind == "shipped":
        decoder = Decoder.kept(source.model, source.text, source.windows)
        return {"float": _read(decoder, {}, False), "int8": _read(decoder, {}, True)}
    assert job.variant is not None
    if job.kind == "mixture":
        return _mixture(layers, job.variant.name)
    new, errors = _quantized(layers, job.variant)
    if job.kind == "text":
        decoder = Decoder.kept(source.model, source.text, source.windows)
        compared = job.variant.name in TEXTBOOK  # for comparison only: no array runs them
        errors |= {"float": _read(decoder, new, False),
                   "int8": None if compared else _read(decoder, new, True)}
    return errors
