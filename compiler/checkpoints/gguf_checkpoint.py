"""A GGUF file of architecture ``llama`` as a checkpoint, its metadata being the configuration."""

import difflib
import hashlib
import os
from pathlib import Path
from typing import Any, Self

import ml_dtypes
import numpy as np

from bitwright.compiler.checkpoints.tensor_inventory import Architecture, architecture
from bitwright.compiler.file_formats.gguf import GgufFile
from bitwright.compiler.file_formats.mapped_file import CheckpointError
from bitwright.compiler.layouts.gguf_blocks import read_gguf
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.architectures.host_tensors import HostTensor
from bitwright.models.architectures.transformer import LinearShape, Transformer
from bitwright.models.command_line.printable import show

__all__ = ["GgufCheckpoint"]

_FLOATS = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16)}
_KEYS = {"hidden_size": "embedding_length", "intermediate_size": "feed_forward_length",
         "num_hidden_layers": "block_count", "num_attention_heads": "attention.head_count",
         "num_key_value_heads": "attention.head_count_kv", "head_dim": "attention.key_length",
         "max_position_embeddings": "context_length", "rope_theta": "rope.freq_base",
         "rms_norm_eps": "attention.layer_norm_rms_epsilon"}
_ROPE_FACTORS = "rope_freqs.weight"


class GgufCheckpoint:
    """A Llama model, as :class:`Checkpoint` gives it. A context manager. Raises
    :class:`CheckpointError` for another architecture, and for a tensor that is missing, unknown or
    of another shape.

    Layers have the file's names. Rows of ``attn_q`` and ``attn_k`` are in the file's order, the two
    halves of each rotation side by side, which is that of their outputs.

    Members
    -------
    path, config, model, architecture, linears, host : as in :class:`Checkpoint`
    quantized : ``str``
        "gguf", empty where every layer is in floats.
    """
    architecture = "llama"

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._file = GgufFile(path)
        try:
            self.config = self._config()
            found = architecture(self.config)
            self.model: Transformer = found.model
            self.linears: tuple[LinearShape, ...] = found.linears
            self.host: tuple[HostTensor, ...] = found.host
            self._shapes = found.shapes
            self._check(found)
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

    def native(self, linear: LinearShape) -> NativeMatrix | None:
        """The layer's weights as they are stored; None if they are in floats."""
        if self._file.dtype(linear.tensor) in _FLOATS:
            return None
        return read_gguf(self._file, linear.tensor)

    def read(self, tensor: str) -> np.ndarray:
        """The tensor as a new float32 array, of whatever type it is stored in."""
        if tensor not in self._shapes:
            raise KeyError(tensor)
        return self._read(tensor)

    def weight(self, linear: LinearShape) -> np.ndarray:
        """``[n, k]`` float32."""
        return self._read(linear.tensor)

    def bias(self, linear: LinearShape) -> np.ndarray | None:
        """None: the architecture has no biases."""
        return None

    def _read(self, name: str) -> np.ndarray:
        dtype = _FLOATS.get(self._file.dtype(name))
        if dtype is None:
            return read_gguf(self._file, name).dequantize().astype(np.float32)
        stored = self._file.blocks(name).view(dtype)
        return stored.reshape(self._file.shape(name)).astype(np.float32)

    def _config(self) -> dict[str, Any]:
        metadata, names = self._file.metadata, self._file.names
        kind = metadata.get("general.architecture")
        if kind != "llama":
            raise CheckpointError(f"{self.path}: general.architecture {show(kind)} is not read; "
                                  "llama is")
        if "token_embd.weight" not in names:
            raise CheckpointError(f"{self.path}: tensor 'token_embd.weight' is missing")
        config = {key: metadata.get(f"llama.{ours}") for key, ours in _KEYS.items()}
        if (end := metadata.get("tokenizer.ggml.eos_token_id")) is not None:
            config["eos_token_id"] = end
        return {**config, "architectures": ["LlamaForCausalLM"], "model_type": "llama",
                "hidden_act": "silu", "vocab_size": self._file.shape("token_embd.weight")[0],
                "tie_word_embeddings": "output.weight" not in names,
                "rope_scaling": self._rope_scaling(), "tensor_names": "gguf"}

    def _rope_scaling(self) -> dict[str, Any] | None:
        kind = self._file.metadata.get("llama.rope.scaling.type", "none")
        if _ROPE_FACTORS in self._file.names:
            if self._file.dtype(_ROPE_FACTORS) not in _FLOATS:
                raise CheckpointError(f"{self.path}: tensor {show(_ROPE_FACTORS)} must be in "
                                      f"{', '.join(_FLOATS)}")
            return {"rope_type": "factors", "factors": self._read(_ROPE_FACTORS).tolist()}
        if kind == "none":
            return None
        return {"rope_type": kind, "factor": self._file.metadata.get("llama.rope.scaling.factor")}

    def _check(self, found: Architecture) -> None:
        for name in self._file.names:
            if name not in self._shapes and not found.buffers.fullmatch(name):
                close = difflib.get_close_matches(name, self._shapes, n=1, cutoff=0)
                raise CheckpointError(f"{self.path}: tensor {show(name)} is unknown in a llama "
                                      f"model; the closest known name is {show(close[0])}")
        for name, expected in self._shapes.items():
            where = f"{self.path}: tensor {show(name)}"
            if name not in self._file.names:
                raise CheckpointError(f"{where} of shape {list(expected)} is missing: the file is "
                                      "not a whole llama model")
            if (shape := self._file.shape(name)) != expected:
                raise CheckpointError(f"{where} must have shape {list(expected)}, not "
                                      f"{list(shape)}")
