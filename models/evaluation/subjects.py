"""Loads the subjects of the quality survey: weights of linear layers, and the tokens to read."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from bitwright.models.architectures.config_file import read_config_file
from bitwright.models.assets.fetch import model_path
from bitwright.models.inference import reference_bert as bert
from bitwright.models.inference.gguf_llama import GgufModel
from bitwright.models.inference.perplexity import windows
from bitwright.models.inference.reference_llama import Llama, LlamaConfig
from bitwright.models.quantization.rounding import finite

__all__ = ["Decoder", "encoder_layers"]

Weights = dict[str, NDArray[np.float32]]


class Decoder:
    """A Llama in memory, float32, and the first ``count`` windows of a text.

    Parameters
    ----------
    path : a GGUF file
    text : a file, read as it is: no token is added, no line is left out
    """

    def __init__(self, path: Path, text: Path, count: int) -> None:
        file = GgufModel(path)
        self.config: LlamaConfig = file.config()
        self.weights: Weights = {name: file[name] for name in file}
        self.matrices = [name.removesuffix(".weight") for name in file.matrices()]
        self.windows = windows(file.tokenizer().encode(text.read_text(encoding="utf-8")), count)
        Llama(self.config, self.weights)  # names a missing tensor
        for name, weights in self.layers.items():
            finite(f"{name}: weights", weights)

    @property
    def layers(self) -> Weights:
        """Weights [N, K] of the linear layers, by layer."""
        return {name: self.weights[f"{name}.weight"] for name in self.matrices}

    @classmethod
    @lru_cache(maxsize=1)
    def kept(cls, path: Path, text: Path, count: int) -> "Decoder":
        """Return the decoder, and keep it for the next call."""
        return cls(path, text, count)


@lru_cache(maxsize=1)
def encoder_layers() -> Weights:
    """Weights [N, K] of MiniLM's linear layers, by layer."""
    folder = model_path("minilm")
    names = bert.linear_names(read_config_file(folder / "config.json"))
    tensors = load_file(folder / "model.safetensors")
    return {name: tensors[f"{name}.weight"] for name in names}
