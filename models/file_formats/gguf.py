"""Reads GGUF files. Every claim of the header is checked before anything is allocated.

A file is ``GGUF``, a version (3, or 2), the counts of tensors and of metadata, the metadata, the
tensors' descriptions, padding, and the tensors' bytes. Little-endian. Shapes are given here in
NumPy's order, the contiguous axis last.
"""

import math
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.models.command_line.printable import show
from bitwright.models.file_formats.mapped_file import MAX_NAME, CheckpointError, MappedFile

__all__ = ["GgufFile", "TYPES"]

# Type number: name, elements per block, bytes per block.
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4),
    27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}
_SCALARS = ("B", "b", "H", "h", "I", "i", "f", "?", None, None, "Q", "q", "d")
_STRING, _ARRAY = 8, 9
_MAX_DIMS, _MAX_KEY, _MAX_TEXT = 4, 1 << 16, 1 << 24


class _Reader:
    """Values one after another; :class:`CheckpointError` past the end."""

    def __init__(self, data: mmap.mmap, path: Path):
        self.data, self.path, self.at = data, path, 4

    def skip(self, size: int) -> int:
        """Pass over the next ``size`` bytes and return where they begin."""
        if size > len(self.data) - self.at:
            raise CheckpointError(f"{self.path}: the header runs past the end of the file: it is "
                                  "cut short or damaged")
        self.at += size
        return self.at - size

    def number(self, form: str) -> Any:
        at = self.skip(struct.calcsize("<" + form))
        return struct.unpack_from("<" + form, self.data, at)[0]

    def text(self, limit: int, what: str) -> str:
        if (size := self.number("Q")) > limit:
            raise CheckpointError(f"{self.path}: {what} must have at most {limit} bytes, not {size}"
                                  ": it is damaged")
        at = self.skip(size)
        return self.data[at:at + size].decode("utf-8", "backslashreplace")

    def value(self, kind: int, key: str) -> Any:
        """A metadata value; for an array its place, while its elements are passed over."""
        if kind == _STRING:
            return self.text(_MAX_TEXT, f"metadata {show(key)}")
        if kind != _ARRAY:
            return self.number(self._form(kind, key))
        kind, count = self.number("I"), self.number("Q")
        place = _Array(kind, count, self.at)
        if kind == _ARRAY:
            raise CheckpointError(f"{self.path}: metadata {show(key)} is an array of arrays, which "
                                  "is not read")
        if kind == _STRING:
            if count > len(self.data) // 8:
                self.skip(8 * count)
            for _ in range(count):
                self.skip(self.number("Q"))
        else:
            self.skip(struct.calcsize("<" + self._form(kind, key)) * count)
        return place

    def elements(self, array: "_Array", key: str) -> list[Any]:
        """The elements of an array that was passed over."""
        self.at = array.at
        if array.kind == _STRING:
            return [self.text(_MAX_TEXT, f"metadata {show(key)}") for _ in range(array.count)]
        form = f"<{array.count}{self._form(array.kind, key)}"
        return list(struct.unpack_from(form, self.data, self.skip(struct.calcsize(form))))

    def _form(self, kind: int, key: str) -> str:
        form = _SCALARS[kind] if kind < len(_SCALARS) else None
        if form is None:
            raise CheckpointError(f"{self.path}: metadata {show(key)} has the unknown type {kind}"
                                  f"; 0 to {len(_SCALARS) - 1} are known")
        return form


@dataclass(frozen=True)
class _Array:
    kind: int
    count: int
    at: int  # of the first element


@dataclass(frozen=True)
class _Tensor:
    type: str
    shape: tuple[int, ...]
    block: int  # elements
    bytes: int  # of a block
    begin: int


class GgufFile(MappedFile):
    """The tensors of the GGUF file ``path``, by name. A context manager.

    Opening checks the whole header. Every error is a :class:`CheckpointError`; an unknown name in a
    call is a :class:`KeyError`.

    Members
    -------
    path : ``Path``
    names : ``tuple`` of ``str``
    metadata : ``dict``
        Numbers, truth values and text by key; None for arrays, which :meth:`array` reads.
    """

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(path, 24, "GGUF header", "GGUF")
        try:
            self._parse()
        except BaseException:
            self.close()
            raise
        self.names = tuple(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def dtype(self, name: str) -> str:
        """Name of the stored type: ``"F16"``, ``"Q4_0"``, …"""
        return self._tensors[name].type

    def array(self, key: str) -> list[Any]:
        """The elements of the array under a metadata key."""
        return _Reader(self._map, self.path).elements(self._arrays[key], key)

    def raw(self, name: str, row: int | None = None) -> NDArray[np.uint8]:
        """A new array of the tensor's blocks, [blocks, bytes per block], rows one after another;
        with ``row``, the blocks of that part of the first axis."""
        found = self._tensors[name]
        shape, begin = found.shape, found.begin
        count = math.prod(shape) // found.block
        if row is not None:
            count //= shape[0]
            begin += row * count * found.bytes
        return self._copy(np.dtype(np.uint8), count * found.bytes, begin).reshape(count,
                                                                                 found.bytes)

    def _parse(self) -> None:
        if self._map[:4] != b"GGUF":
            raise CheckpointError(f"{self.path} does not begin with GGUF: it is not a GGUF file")
        reader = _Reader(self._map, self.path)
        if (version := reader.number("I")) not in (2, 3):
            raise CheckpointError(f"{self.path} is of GGUF version {version}; 2 and 3, "
                                  "little-endian, are read")
        tensors, pairs = reader.number("Q"), reader.number("Q")
        for count, least, what in ((tensors, 24, "tensors"), (pairs, 13, "metadata values")):
            if count > len(self._map) // least:
                raise CheckpointError(f"{self.path} has {len(self._map)} bytes, too few for the "
                                      f"{count} {what} of its header: it is cut short or damaged")
        self.metadata: dict[str, Any] = {}
        self._arrays: dict[str, _Array] = {}
        for _ in range(pairs):
            key = reader.text(_MAX_KEY, "a metadata key")
            if key in self.metadata:
                raise CheckpointError(f"{self.path} has the metadata {show(key)} twice")
            value = reader.value(reader.number("I"), key)
            if isinstance(value, _Array):
                self._arrays[key], value = value, None
            self.metadata[key] = value
        described = [self._describe(reader) for _ in range(tensors)]
        alignment = self.metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 1 <= alignment <= 1 << 20 or alignment % 8:
            raise CheckpointError(f"{self.path}: general.alignment must be a multiple of 8 up to "
                                  f"{1 << 20}, not {show(alignment)}")
        self._tensors: dict[str, _Tensor] = {}
        data = reader.at + -reader.at % alignment
        for name, tensor in described:
            if name in self._tensors:
                raise CheckpointError(f"{self.path} has the tensor {show(name)} twice")
            self._tensors[name] = self._placed(name, tensor, data, alignment)

    def _describe(self, reader: _Reader) -> tuple[str, _Tensor]:
        name = reader.text(MAX_NAME, "a tensor's name")
        where = f"{self.path}: tensor {show(name)}"
        if not name or not name.isprintable():
            raise CheckpointError(f"{where} must have a name of printable characters")
        if not 1 <= (dims := reader.number("I")) <= _MAX_DIMS:
            raise CheckpointError(f"{where} must have 1 to {_MAX_DIMS} dimensions, not {dims}")
        shape = tuple(reader.number("Q") for _ in range(dims))[::-1]
        if (kind := reader.number("I")) not in TYPES:
            raise CheckpointError(f"{where} has the unknown type {kind}; known are "
                                  f"{', '.join(name for name, *_ in TYPES.values())}")
        kind_name, block, size = TYPES[kind]
        if shape[-1] % block:
            raise CheckpointError(f"{where}: rows of {kind_name} must be multiples of {block}, "
                                  f"not {shape[-1]}")
        return name, _Tensor(kind_name, shape, block, size, reader.number("Q"))

    def _placed(self, name: str, tensor: _Tensor, data: int, alignment: int) -> _Tensor:
        """With ``begin`` in the file, which it is checked to have room for."""
        size = math.prod(tensor.shape) // tensor.block * tensor.bytes
        room = len(self._map) - data
        if tensor.begin % alignment or not 0 <= tensor.begin <= room - size:
            raise CheckpointError(f"{self.path}: tensor {show(name)} of {size} bytes at "
                                  f"{tensor.begin} must lie at a multiple of {alignment} within "
                                  f"the {max(room, 0)} bytes of data: the file is cut short or "
                                  "damaged")
        return _Tensor(tensor.type, tensor.shape, tensor.block, tensor.bytes, data + tensor.begin)
