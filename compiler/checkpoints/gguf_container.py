"""GGUF files. Their metadata are the model's configuration; each tensor has a block type.

Layers have the file's names. In a Llama, rows of ``attn_q`` and ``attn_k`` stay in the file's
order, the two halves of each rotation side by side, which is the order of their outputs.
"""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from bitwright.compiler.checkpoints.container import Container, Contents
from bitwright.compiler.layouts.gguf_blocks import GgufBlocks, check_gguf, read_gguf
from bitwright.compiler.layouts.layer_tensors import FLOATS
from bitwright.models.architectures.families import FAMILIES, GgufForm
from bitwright.models.command_line.printable import show
from bitwright.models.file_formats.gguf import GgufFile
from bitwright.models.file_formats.mapped_file import CheckpointError
from bitwright.models.inference.gguf_llama import GgufError, gguf_tokenizer

__all__ = ["GGUF"]

_DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16)}
_ROPE_FACTORS = "rope_freqs.weight"


class GgufTensors(GgufFile):
    """The tensors of a GGUF file, also in floats."""

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def check_readable(self, name: str) -> None:
        """Raise :class:`CheckpointError` for a matrix of a block type that is not read."""
        if self.dtype(name) not in FLOATS:
            check_gguf(self, name)

    def read(self, name: str) -> np.ndarray:
        """A new float32 array of the tensor, of whatever type it is stored in."""
        dtype = _DTYPES.get(self.dtype(name))
        if dtype is None:
            return read_gguf(self, name).dequantize().astype(np.float32)
        return self.raw(name).view(dtype).reshape(self.shape(name)).astype(np.float32)


def _form(file: GgufFile) -> tuple[str, GgufForm]:
    """The family of the file, by name, and its form."""
    kind = file.metadata.get("general.architecture")
    known = []
    for family in FAMILIES.values():
        if family.gguf is not None:
            if family.gguf.architecture == kind:
                return family.name, family.gguf
            known.append(family.gguf.architecture)
    raise CheckpointError(f"{file.path}: general.architecture {show(kind)} is not read; "
                          f"{', '.join(known)} {'is' if len(known) == 1 else 'are'}")


def _config(file: GgufTensors) -> dict[str, Any]:
    family, form = _form(file)
    table, metadata = form.names.token_table, file.metadata
    if table not in file.names:
        raise CheckpointError(f"{file.path}: tensor {show(table)} is missing")
    config = {key: metadata.get(f"{form.architecture}.{ours}") for key, ours in form.keys.items()}
    if (end := metadata.get("tokenizer.ggml.eos_token_id")) is not None:
        config["eos_token_id"] = end
    return {**config, **form.config, "model_type": family, "vocab_size": file.shape(table)[0],
            "tie_word_embeddings": f"{form.names.head}.weight" not in file.names,
            "rope_scaling": _rope_scaling(file, form.architecture), "tensor_names": "gguf"}


def _rope_scaling(file: GgufTensors, architecture: str) -> dict[str, Any] | None:
    kind = file.metadata.get(f"{architecture}.rope.scaling.type", "none")
    if _ROPE_FACTORS in file.names:
        if file.dtype(_ROPE_FACTORS) not in FLOATS:
            raise CheckpointError(f"{file.path}: tensor {show(_ROPE_FACTORS)} must be in "
                                  f"{', '.join(FLOATS)}")
        return {"rope_type": "factors", "factors": file.read(_ROPE_FACTORS).tolist()}
    if kind == "none":
        return None
    return {"rope_type": kind,
            "factor": file.metadata.get(f"{architecture}.rope.scaling.factor")}


def _tokenizer(file: GgufFile) -> bytes | None:
    try:
        return gguf_tokenizer(file).to_json().encode()
    except GgufError:  # a file without one, or of a kind that is not read
        return None


def _open(path: Path) -> Contents:
    file = GgufTensors(path)
    try:
        config = _config(file)
    except BaseException:
        file.close()
        raise
    return Contents(file=file, config=config, layout=GgufBlocks({}),
                    tokenizer=lambda: _tokenizer(file))


GGUF = Container(name="gguf", suffixes=(".gguf",), open=_open)
