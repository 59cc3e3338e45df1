"""Measures a model's activations: the float model reads a few lines of text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.checkpoints.checkpoint import Checkpoint
from bitwright.compiler.image.file_names import TOKENIZER_FILE
from bitwright.compiler.ir.memory_map import MapError
from bitwright.models.assets.tokenizer import TextTokenizer
from bitwright.models.inference.arithmetic import FloatArithmetic
from bitwright.models.inference.network import Network
from bitwright.models.quantization.smoothquant import input_scale

__all__ = ["TEXT", "input_scales", "read_lines"]

TEXT = (
    "The quarterly report shows that sales grew by seven percent.",
    "Why do cats sleep for most of the day?",
    "Mix the flour, two eggs and a pinch of salt; then let the dough rest.",
    "The spacecraft entered orbit around Mars after a journey of seven months.",
    "He missed the last train, so he walked home along the river in the rain.",
    "def add(a, b): return a + b  # the sum of two numbers",
    "In 1969, Neil Armstrong became the first person to walk on the Moon.",
    "Vaccines train the immune system to recognize a virus before it strikes.",
)

Floats = NDArray[np.floating[Any]]


class _Recorder(FloatArithmetic):
    """Keeps the greatest magnitude of every input feature, by layer."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.maxima: dict[str, Floats] = {}

    def linear(self, name: str, x: Floats) -> Floats:
        here = np.abs(x).max(axis=0)
        self.maxima[name] = np.maximum(self.maxima.get(name, here), here)
        return super().linear(name, x)


def read_lines(path: Path) -> tuple[str, ...]:
    """Lines of a UTF-8 file that are not empty. Raises :class:`MapError` if there are none."""
    try:
        lines = tuple(line for line in path.read_text(encoding="utf-8").splitlines()
                      if line.strip())
    except UnicodeDecodeError as error:
        raise MapError(f"{path} is not UTF-8 text: {error.reason}") from None
    if not lines:
        raise MapError(f"{path} has no text to calibrate with")
    return lines


def input_scales(checkpoint: Checkpoint, strength: float,
                 text: Sequence[str] = TEXT) -> Mapping[str, NDArray[np.float32]]:
    """:func:`input_scale` of every layer that runs on ``text``, each line on its
    own. All weights are in memory meanwhile. Raises :class:`MapError` for a checkpoint that is not
    in floats or that reads no text."""
    if checkpoint.quantized:
        raise MapError(f"--smooth changes weights, and those of {checkpoint.path.name} are mapped "
                       "as they are: leave it out")
    where = checkpoint.path.with_name(TOKENIZER_FILE)
    if not where.is_file():
        raise MapError(f"--smooth reads text, and {where} is not there; put it beside the "
                       "checkpoint")
    config, tensors = checkpoint.config, checkpoint.tensors()
    model = checkpoint.model
    recorder = _Recorder(model, tensors)
    network = Network(model, config, tensors, recorder)
    tokenizer = TextTokenizer(where)
    for line in text:
        network(tokenizer.encode(line)[:model.positions or None])
    return {linear.name: input_scale(recorder.maxima[linear.name], checkpoint.weight(linear),
                                     strength)
            for linear in checkpoint.linears if linear.name in recorder.maxima}
