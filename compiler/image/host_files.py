"""Writes what an image holds for the host: tensors outside matrix products, configuration,
tokenizer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from bitwright.compiler.checkpoints.checkpoint import Checkpoint
from bitwright.compiler.image.file_names import (
    CONFIG_FILE,
    TENSORS_FILE,
    TOKENIZER_FILE,
)
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.ir.layer_inputs import scale_name
from bitwright.models.assets.tokenizer import TextTokenizer
from bitwright.models.file_formats.mapped_file import CheckpointError, parse_json_object

__all__ = ["CONFIG_FILE", "TENSORS_FILE", "TOKENIZER_FILE", "read_config", "read_tensors",
           "read_tokenizer", "write_host_files"]

Tensors = Mapping[str, np.ndarray]


# ---- writing ------------------------------------------------------------------------------
def write_host_files(checkpoint: Checkpoint, input_scales: Tensors, folder: Path) -> None:
    """The checkpoint's files for the host, float32 tensors, with ``input_scales`` by layer; no
    ``tokenizer.json`` where the checkpoint has none beside it, or in it, that is read."""
    tensors = {host.tensor: checkpoint.read(host.tensor) for host in checkpoint.host}
    tensors |= {scale_name(layer): scale for layer, scale in input_scales.items()}
    save_file(tensors, folder / TENSORS_FILE)
    text = json.dumps(checkpoint.config, indent=1, sort_keys=True)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    if (tokenizer := checkpoint.tokenizer()) is not None:
        (folder / TOKENIZER_FILE).write_bytes(tokenizer)


# ---- reading ------------------------------------------------------------------------------
def read_tensors(image: Image) -> Mapping[str, np.ndarray]:
    """Embeddings, norms and the like, float32, by canonical name."""
    path = image.folder / TENSORS_FILE
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ImageError(f"{path} is no safetensors file: {error}; map the model again") from None


def read_config(image: Image) -> dict[str, Any]:
    """The checkpoint's configuration."""
    path = image.folder / CONFIG_FILE
    try:
        return parse_json_object(path.read_bytes(), str(path))
    except CheckpointError as error:
        raise ImageError(f"{error}; map the model again") from None


def read_tokenizer(image: Image) -> TextTokenizer:
    """Raises :class:`ImageError` if the image has none."""
    if TOKENIZER_FILE not in image.files:
        raise ImageError(f"{image.folder} has no {TOKENIZER_FILE}, so that it reads no text: put "
                         "the checkpoint's beside it and map the model again")
    try:
        return TextTokenizer(image.folder / TOKENIZER_FILE)
    except ValueError as error:
        raise ImageError(str(error).splitlines()[0]) from None
