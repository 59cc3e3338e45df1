"""Checks a model's tensors against its configuration, and reads them."""

import difflib
import hashlib
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from bitwright.compiler.checkpoints.container import Contents
from bitwright.compiler.checkpoints.tensor_inventory import Architecture, architecture, canonical
from bitwright.compiler.file_formats.tensor_file import TensorFile
from bitwright.compiler.layouts import layout_of
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.architectures.host_tensors import HostTensor
from bitwright.models.architectures.transformer import LinearShape, Transformer
from bitwright.models.assets.tokenizer import TOKENIZER_FILE
from bitwright.models.command_line.printable import show
from bitwright.models.file_formats.mapped_file import CheckpointError
from bitwright.models.inference.arithmetic import weight_of

__all__ = ["Checkpoint"]


class CanonicalTensors:
    """A file's tensors by canonical name."""

    def __init__(self, file: TensorFile, stored: Mapping[str, str]):
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
        The contents of ``config.json``, or what the file itself says by the same keys.
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
        The layout of the layers that are stored in few bits; empty for weights in floats.
    has_floats : ``bool``
        Whether :meth:`read` gives every weight, also one that is stored in few bits.
    """

    def __init__(self, contents: Contents, config: Mapping[str, Any]):
        self._file = file = contents.file
        self._contents = contents
        self.path = file.path
        self.config = dict(config)
        self._stored = _stored_names(file, architecture(self.config))
        found = architecture(self.config, self._stored)
        self.model: Transformer = found.model
        self.architecture = found.name
        self.linears: tuple[LinearShape, ...] = found.linears
        self.host: tuple[HostTensor, ...] = found.host
        self._shapes = dict(found.shapes)
        self._tensors = CanonicalTensors(file, self._stored)
        self._layout = contents.layout or layout_of(self.config)
        self._native, self._parts = self._find_native()
        self.quantized = self._layout.name if self._layout and self._native else ""
        self.unused = self._check(found)

    @property
    def has_floats(self) -> bool:
        return not self.quantized or self._layout is not None and self._layout.whole_tensors

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
            if not self._layout.holds(self._tensors, module):
                continue
            modules[linear.name] = module
            if not self._layout.whole_tensors:
                parts.update(self._layout.parts(self._tensors, module))
                parts.update(self._zero_bias(linear, module))
                self._shapes.pop(linear.tensor, None)
        if not modules and self._contents.layout is None:
            raise CheckpointError(f"{self.path}: config.json says {self._layout.name}, and no "
                                  f"layer has {' or '.join(self._layout.marks) or 'its tensors'}: "
                                  "check that it belongs to this file")
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

    def tokenizer(self) -> bytes | None:
        """The ``tokenizer.json`` in the file or beside it; None if there is none."""
        if self._contents.tokenizer is not None:
            return self._contents.tokenizer()
        beside = self.path.with_name(TOKENIZER_FILE)
        return beside.read_bytes() if beside.is_file() else None

    def _check(self, found: Architecture) -> tuple[str, ...]:
        own = self._contents.config is not None
        known, belongs = ("", "") if own else (
            ": check config.json", ": check that config.json belongs to this file")
        unused = []
        for name in self._stored:
            if name in self._shapes or name in self._parts:
                continue
            if not (found.buffers.fullmatch(name) or found.heads.fullmatch(name)):
                close = difflib.get_close_matches(name, self._shapes, n=1, cutoff=0)
                raise CheckpointError(f"{self.path}: tensor {show(self._stored[name])} is unknown "
                                      f"in a {found.name} model; the closest known name is "
                                      f"{show(close[0])}{known}")
            unused.append(name)
        for name, expected in self._shapes.items():
            if name not in self._stored:
                whole = f"{belongs} and that" if belongs else ": check that"
                raise CheckpointError(f"{self.path}: tensor {show(name)} of shape "
                                      f"{list(expected)} is missing{whole} the file is whole")
            shape = self._file.shape(self._stored[name])
            if shape != expected:
                raise CheckpointError(f"{self.path}: tensor {show(name)} must have shape "
                                      f"{list(expected)}, not {list(shape)}{belongs}")
            self._file.check_readable(self._stored[name])
        return tuple(unused)


def _stored_names(file: TensorFile, found: Architecture) -> dict[str, str]:
    """Stored name of each tensor by canonical name."""
    names: dict[str, str] = {}
    for stored, name in canonical(found, file.names).items():
        if name in names:
            raise CheckpointError(f"{file.path}: tensors {show(names[name])} and {show(stored)} "
                                  "have one meaning: keep one of them")
        names[name] = stored
    return names
