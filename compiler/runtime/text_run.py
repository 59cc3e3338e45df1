"""A text through a whole mapped model: its result, and what the launches add up to."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.image.host_files import read_tokenizer
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.ir.kv_format import KeyForm
from bitwright.compiler.runtime.launcher import Launches
from bitwright.compiler.runtime.mapped_model import MappedModel, checkpoint_network
from bitwright.models.assets.fetch import cached_file
from bitwright.models.inference.network import Network
from bitwright.models.inference.reference_bert import sentence_embedding
from bitwright.models.nonlinear.floating_point import FLOAT, Functions
from bitwright.sim.verilator.verilator_build import Say, silent

__all__ = ["TextRun", "cosine", "run_text"]

DEQUANTIZED = "the mapped weights in floating point"


@dataclass(frozen=True, kw_only=True)
class TextRun:
    """``output`` is the sentence embedding of an encoder, and the last token's logits of a decoder.
    ``cosine`` is that to the same model in floating point, ``reference`` says with which weights.
    ``simulator_seconds`` are those of all runs on the backend, added up."""
    text: str
    tokens: int
    output: NDArray[np.floating[Any]]
    is_embedding: bool
    cosine: float
    reference: str
    launches: Launches
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        launches = self.launches
        found: dict[str, Any] = {
            "text": self.text, "tokens": self.tokens, "cosine": self.cosine,
            "reference": self.reference, "seconds": self.seconds, **launches.to_dict()}
        if launches.reports.results:
            found["simulator_seconds"] = launches.seconds
        key = "embedding" if self.is_embedding else "logits"
        return found | {key: [float(value) for value in self.output]}


def cosine(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float:
    """Return the cosine of the angle between two vectors."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _output(network: Network, ids: list[int]) -> NDArray[np.floating[Any]]:
    if network.model.causal:
        return network(ids, last_only=True)[-1]
    return sentence_embedding(network(ids))


def _reference(mapped: MappedModel, checkpoint: Path | None) -> tuple[Network, str]:
    path = checkpoint or cached_file(mapped.image.model.sha256)
    if path is None:
        return mapped.dequantized(), DEQUANTIZED
    return checkpoint_network(path), path.name


def run_text(image: Image, text: str, backend: str, form: KeyForm | None,
             checkpoint: Path | None = None, say: Say = silent,
             workers: int | None = None, functions: Functions = FLOAT) -> TextRun:
    """Run ``text`` through the image's model; compare with ``checkpoint`` in floating point, or the
    checkpoint in the cache of :mod:`bitwright.models.assets.fetch`, or the image's own weights."""
    tokenizer, mapped = read_tokenizer(image), MappedModel(image)
    if mapped.model.patches:
        raise ImageError(f"{image.folder} holds a {mapped.model.family} model, which reads images")
    ids = tokenizer.encode(text)
    if not ids:
        raise ImageError("the text has no tokens; give --text some")
    reference, name = _reference(mapped, checkpoint)
    if reference.model.vocabulary != mapped.model.vocabulary or (
            reference.model.hidden != mapped.model.hidden):
        raise ImageError(f"{name} is of another size than the model in {image.folder}")
    exact = _output(reference, ids)
    del reference
    with Launches(image.machine, backend, image.options.memory, say, workers) as launches:
        started = time.monotonic()
        output = _output(mapped.on_array(launches, form, functions), ids)
        launches.finish()
        seconds = time.monotonic() - started
    return TextRun(text=text, tokens=len(ids), output=output, is_embedding=not mapped.model.causal,
                   cosine=cosine(output, exact), reference=name, launches=launches,
                   seconds=seconds)
