"""A GGUF file of architecture ``llama`` as a checkpoint, its metadata being the configuration."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import ml_dtypes
import numpy as np

from compiler.gguf_file import GgufFile
from compiler.layouts.gguf import read_gguf
from compiler.layouts.native import NativeMatrix
from compiler.names import Linear, architecture
from compiler.safetensors_file import CheckpointError, show

__all__ = ["GgufCheckpoint"]

# By role, in a block.
_TENSORS = {"query": "attn_q", "key": "attn_k", "value": "attn_v",
            "attention_output": "attn_output", "ffn_gate": "ffn_gate", "ffn_up": "ffn_up",
            "ffn_down": "ffn_down"}
_FLOATS = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16)}
_KEYS = {"hidden_size": "embedding_length", "intermediate_size": "feed_forward_length",
         "num_hidden_layers": "block_count", "num_attention_heads": "attention.head_count",
         "num_key_value_heads": "attention.head_count_kv", "head_dim": "attention.key_length",
         "max_position_embeddings": "context_length",
         "rms_norm_eps": "attention.layer_norm_rms_epsilon"}


class GgufCheckpoint:
    """The layers of a Llama model for the array, as :class:`Checkpoint` gives them. A context
    manager. Raises :class:`CheckpointError` for another architecture, and for a tensor that is
    missing or of another shape.

    Layers have the file's names. Rows of ``attn_q`` and ``attn_k`` are in the file's order, the two
    halves of each rotation side by side, which is that of their outputs.

    Members
    -------
    path, config, architecture, linears : as in :class:`Checkpoint`
    quantized : ``str``
        "gguf", empty where every layer is in floats.
    """
    architecture = "llama"

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._file = GgufFile(path)
        try:
            self.config = self._config()
            self.linears = tuple(self._renamed(linear)
                                 for linear in architecture(self.config).linears)
            for linear in self.linears:
                self._check(linear)
        except BaseException:
            self.close()
            raise
        floats = all(self._file.dtype(linear.tensor) in _FLOATS for linear in self.linears)
        self.quantized = "" if floats else "gguf"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def digest(self) -> str:
        """SHA-256 of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def native(self, linear: Linear) -> NativeMatrix | None:
        """The layer's weights as they are stored; None if they are in floats."""
        if self._file.dtype(linear.tensor) in _FLOATS:
            return None
        return read_gguf(self._file, linear.tensor)

    def weight(self, linear: Linear) -> np.ndarray:
        """``[n, k]`` float32 of a layer stored in floats."""
        stored = self._file.blocks(linear.tensor).view(_FLOATS[self._file.dtype(linear.tensor)])
        return stored.reshape(linear.n, linear.k).astype(np.float32)

    def bias(self, linear: Linear) -> np.ndarray | None:
        """None: the architecture has no biases."""
        return None

    def _config(self) -> dict[str, Any]:
        metadata, names = self._file.metadata, self._file.names
        kind = metadata.get("general.architecture")
        if kind != "llama":
            raise CheckpointError(f"{self.path}: general.architecture {show(kind)} is not read; "
                                  "llama is")
        if "token_embd.weight" not in names:
            raise CheckpointError(f"{self.path}: tensor 'token_embd.weight' is missing")
        config = {key: metadata.get(f"llama.{ours}") for key, ours in _KEYS.items()}
        return {**config, "architectures": ["LlamaForCausalLM"], "model_type": "llama",
                "hidden_act": "silu", "vocab_size": self._file.shape("token_embd.weight")[0],
                "tie_word_embeddings": "output.weight" not in names}

    def _renamed(self, linear: Linear) -> Linear:
        if linear.role == "lm_head":
            name = "token_embd" if self.config["tie_word_embeddings"] else "output"
            return replace(linear, name="output", tensor=f"{name}.weight")
        name = f"blk.{linear.name.split('.')[2]}.{_TENSORS[linear.role]}"
        return replace(linear, name=name, tensor=f"{name}.weight")

    def _check(self, linear: Linear) -> None:
        where = f"{self.path}: tensor {show(linear.tensor)}"
        if linear.tensor not in self._file.names:
            raise CheckpointError(f"{where} is missing: the file is not a whole llama model")
        if (shape := self._file.shape(linear.tensor)) != (linear.n, linear.k):
            raise CheckpointError(f"{where} must have shape {[linear.n, linear.k]}, not "
                                  f"{list(shape)}")
