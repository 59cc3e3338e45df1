"""Open a checkpoint: safetensors files and their ``config.json``, checked against each other."""
import difflib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from bitwright.compiler.checkpoints.gguf_checkpoint import GgufCheckpoint
from bitwright.compiler.checkpoints.tensor_inventory import Architecture, architecture, canonical
from bitwright.compiler.file_formats.mapped_file import CheckpointError, size_of_file
from bitwright.compiler.file_formats.safetensors import SafetensorsFile
from bitwright.compiler.file_formats.sharded_safetensors import INDEX, ShardedFile
from bitwright.compiler.layouts import layout_of
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.architectures.config_fields import ConfigError
from bitwright.models.architectures.config_file import read_config_file
from bitwright.models.architectures.host_tensors import HostTensor
from bitwright.models.architectures.tensor_name_map import read_name_map
from bitwright.models.architectures.transformer import LinearShape, Transformer
from bitwright.models.command_line.printable import show
from bitwright.models.inference.arithmetic import weight_of


class _Canonical:
    """A file's tensors by canonical name."""

    def __init__(self, file: SafetensorsFile | ShardedFile, stored: Mapping[str, str]):
        self._file, self._stored, self.path = file, stored, file.path
        self.names = stored.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._file.shape(self._stored[name])

    def dtype(self, name: str) -> str:
        return self._file.dtype(self._stored[name])

    def raw(self, name: str, row: int | None = None) -> np.ndarray:
        return self._file.raw(self._stored[name], row)


class Checkpoint:
    """A model whose tensors are all accounted for. A context manager; made by
    :func:`open_checkpoint`.

    Members
    -------
    path : ``Path``
    config : ``dict``
        The contents of ``config.json``.
    model : :class:`Transformer`
        Its sizes and names.
    architecture : ``str``
        One of :data:`bitwright.models.architectures.families.FAMILIES`.
    linears : ``tuple`` of :class:`LinearShape`
        The matrices for the array, in order of execution.
    host : ``tuple`` of :class:`HostTensor`
        Embeddings, norms and routers.
    unused : ``tuple`` of ``str``
        Canonical names of stored tensors that are not read: buffers, a task head, a second copy
        of a tied embedding.
    quantized : ``str``
        The layout that ``quantization_config`` names; empty for weights in floats.
    """

    def __init__(self, file: SafetensorsFile | ShardedFile, config: Mapping[str, Any]):
        self._file = file
        self.path = file.path
        self.config = dict(config)
        self._stored = _stored_names(file, architecture(self.config))
        found = architecture(self.config, self._stored)
        self.model: Transformer = found.model
        self.architecture = found.name
        self.linears: tuple[LinearShape, ...] = found.linears
        self.host: tuple[HostTensor, ...] = found.host
        self._shapes = dict(found.shapes)
        self._tensors = _Canonical(file, self._stored)
        self._layout = layout_of(self.config)
        self.quantized = self._layout.name if self._layout else ""
        self._native, self._parts = self._find_native()
        self.unused = self._check(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def digest(self) -> str:
        """SHA-256 of the file, or of the index and the shards after it."""
        total = hashlib.sha256()
        for path in self._file.paths:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    total.update(block)
        return total.hexdigest()

    def native(self, linear: LinearShape) -> NativeMatrix | None:
        """The layer's weights as they are stored; None if they are in floats. Raises
        :class:`CheckpointError` for tensors that are not of the layout."""
        if self._layout is None or linear.name not in self._native:
            return None
        return self._layout.read(self._tensors, self._native[linear.name], linear.n, linear.k)

    def _find_native(self) -> tuple[dict[str, str], set[str]]:
        """Modules of the layers in the checkpoint's layout, by layer, and their tensors, which the
        layout's reader checks."""
        modules: dict[str, str] = {}
        parts: set[str] = set()
        if self._layout is None:
            return modules, parts
        for linear in self.linears:
            module = linear.tensor.removesuffix(".weight")
            if self._layout.holds(self._tensors, module):
                modules[linear.name] = module
                parts.update(self._layout.parts(self._tensors, module))
                parts.update(self._zero_bias(linear, module))
                self._shapes.pop(linear.tensor, None)
        if not modules:
            raise CheckpointError(f"{self.path}: config.json says {self.quantized}, and no layer "
                                  f"has {' or '.join(self._layout.marks) or 'its tensors'}: check "
                                  "that it belongs to this file")
        return modules, parts

    def _zero_bias(self, linear: LinearShape, module: str) -> set[str]:
        """The bias of zeros that some tools give every layer, if the model has none there."""
        name = f"{module}.bias"
        if linear.bias_tensor is not None or self._stored.get(name) is None:
            return set()
        if self._tensors.shape(name) != (linear.n,) or self._file.read(self._stored[name]).any():
            raise CheckpointError(f"{self.path}: tensor {show(name)} must be {linear.n} zeros, "
                                  "since the layer has no bias by config.json")
        return {name}

    def read(self, tensor: str) -> np.ndarray:
        """The tensor of that canonical name as a new float32 array; none of a layer that is not
        stored in floats."""
        if tensor not in self._shapes:
            raise KeyError(tensor)
        return self._file.read(self._stored[tensor])

    def weight(self, linear: LinearShape) -> np.ndarray:
        """``[n, k]`` float32."""
        return np.ascontiguousarray(weight_of(linear, {linear.tensor: self.read(linear.tensor)}))

    def bias(self, linear: LinearShape) -> np.ndarray | None:
        """``[n]`` float32, or None for a layer without one."""
        return self.read(linear.bias_tensor) if linear.bias_tensor else None

    def tensors(self) -> dict[str, np.ndarray]:
        """Every tensor in floats but the unused ones, float32, by canonical name."""
        return {name: self.read(name) for name in self._shapes}

    def _check(self, found: Architecture) -> tuple[str, ...]:
        unused = []
        for name in self._stored:
            if name in self._shapes or name in self._parts:
                continue
            if not (found.buffers.fullmatch(name) or found.heads.fullmatch(name)):
                close = difflib.get_close_matches(name, self._shapes, n=1, cutoff=0)
                raise CheckpointError(f"{self.path}: tensor {show(self._stored[name])} is unknown "
                                      f"in a {found.name} model; the closest known name is "
                                      f"{show(close[0])}: check config.json")
            unused.append(name)
        for name, expected in self._shapes.items():
            if name not in self._stored:
                raise CheckpointError(f"{self.path}: tensor {show(name)} of shape "
                                      f"{list(expected)} is missing: check that config.json "
                                      "belongs to this file and that the file is whole")
            shape = self._file.shape(self._stored[name])
            if shape != expected:
                raise CheckpointError(f"{self.path}: tensor {show(name)} must have shape "
                                      f"{list(expected)}, not {list(shape)}: check that "
                                      "config.json belongs to this file")
            self._file.check_readable(self._stored[name])
        return tuple(unused)


def _stored_names(file: SafetensorsFile | ShardedFile, found: Architecture) -> dict[str, str]:
    """Stored name of each tensor by canonical name."""
    names: dict[str, str] = {}
    for stored, name in canonical(found, file.names).items():
        if name in names:
            raise CheckpointError(f"{file.path}: tensors {show(names[name])} and {show(stored)} "
                                  "have one meaning: keep one of them")
        names[name] = stored
    return names


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of a ``config.json``: a JSON object of at most 1 MiB."""
    path = Path(path)
    size_of_file(path)
    try:
        return read_config_file(path)
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def _name_map(path: Path) -> dict[str, Any]:
    try:
        return read_name_map(path)
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def open_checkpoint(path: str | os.PathLike[str],
                    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
                    names: Path | None = None) -> Checkpoint | GgufCheckpoint:
    """Open a checkpoint and check every tensor's name, shape and type.

    Parameters
    ----------
    path : a safetensors file, an index of several, a folder with ``model.safetensors`` or
        ``model.safetensors.index.json``, or a ``.gguf`` file
    config : ``config.json``, or its contents; the one beside the file if not given. A ``.gguf``
        file has its own.
    names : a TOML file of :mod:`bitwright.models.architectures.tensor_name_map`, for a checkpoint
    with other names than its family

    Raises :class:`CheckpointError` for a file or configuration that cannot be read, an unknown
    architecture, and a tensor that is missing, unknown, or of another shape or type. Whether the
    values are finite is not looked at.
    """
    path = Path(path)
    if path.is_dir():
        path = path / (INDEX if (path / INDEX).exists() else "model.safetensors")
    size_of_file(path)
    if path.suffix == ".gguf":
        if names is not None:
            raise CheckpointError(f"{path} has the names of its format: leave out {names}")
        return GgufCheckpoint(path)
    if not isinstance(config, Mapping):
        config = read_config(path.with_name("config.json") if config is None else config)
    if names is not None:
        config = {**config, **_name_map(names)}
    file = (ShardedFile if path.suffix == ".json" else SafetensorsFile)(path)
    try:
        return Checkpoint(file, config)
    except BaseException:
        file.close()
        raise
