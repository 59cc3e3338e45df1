"""Reads safetensors files. Every claim of the header is checked before anything is allocated.

A file is a header length (unsigned 64-bit, little-endian), a JSON header, and the tensors' bytes,
C order, little-endian. F32, F16 and BF16 tensors are read, all as float32; tensors of other types
may be in the file, and only reading one is an error.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from bitwright.models.command_line.printable import show
from bitwright.models.file_formats.mapped_file import (
    MAX_NAME,
    CheckpointError,
    MappedFile,
    parse_json_object,
)

MAX_HEADER = 100_000_000  # bytes, the safetensors library's own limit
MAX_DIMS = 16

# Bits per element of every type that the format names.
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}
_READ = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}


# As NumPy sees them; 8-bit floats as bytes.
_RAW = {**_READ, "F64": np.dtype("<f8"), "I8": np.dtype("i1"), "U8": np.dtype("u1"),
        "I16": np.dtype("<i2"), "U16": np.dtype("<u2"), "I32": np.dtype("<i4"),
        "U32": np.dtype("<u4"), "I64": np.dtype("<i8"), "U64": np.dtype("<u8"),
        **{name: np.dtype("u1") for name in ("F8_E4M3", "F8_E5M2", "F8_E8M0")}}


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    begin: int  # byte offsets in the file
    end: int


class SafetensorsFile(MappedFile):
    """The tensors of the safetensors file ``path``, by name. A context manager.

    Opening checks the whole header; nothing of a tensor is touched before :meth:`read`. Every
    error is a :class:`CheckpointError`; an unknown name in a call is a :class:`KeyError`.

    Members
    -------
    path : ``Path``
    names : ``tuple`` of ``str``
        In file order.
    metadata : ``dict`` of ``str``
        The header's ``__metadata__``.
    """

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(path, 8, "header length", "safetensors")
        try:
            self._entries, self.metadata = self._parse()
        except BaseException:
            self.close()
            raise
        self.names = tuple(self._entries)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file of the checkpoint: this one."""
        return (self.path,)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entries[name].shape

    def dtype(self, name: str) -> str:
        """Name of the stored type, as in the file: ``"F32"``, ``"BF16"``, ..."""
        return self._entries[name].dtype

    def check_readable(self, name: str) -> None:
        """Raise :class:`CheckpointError` if :meth:`read` does not know the tensor's type."""
        if (dtype := self.dtype(name)) not in _READ:
            raise CheckpointError(f"{self.path}: dtype {dtype} of tensor {show(name)} is not read; "
                                  f"{', '.join(list(_READ)[:-1])} and {list(_READ)[-1]} are: "
                                  "convert the checkpoint to one of them")

    def read(self, name: str) -> np.ndarray:
        """A new float32 array with the values of the tensor ``name``, exact for all three types."""
        self.check_readable(name)
        entry = self._entries[name]
        return self._copy(_READ[entry.dtype], math.prod(entry.shape), entry.begin,
                          np.dtype(np.float32)).reshape(entry.shape)

    def raw(self, name: str, row: int | None = None) -> np.ndarray:
        """A new array of the tensor as stored, 8-bit floats as their bytes; with ``row``, that
        part of the first axis only."""
        entry = self._entries[name]
        if entry.dtype not in _RAW:
            raise CheckpointError(f"{self.path}: dtype {entry.dtype} of tensor {show(name)} is not "
                                  f"read; {', '.join(_RAW)} are")
        shape, begin = entry.shape, entry.begin
        if row is not None:
            shape = shape[1:]
            begin += row * math.prod(shape) * _RAW[entry.dtype].itemsize
        return self._copy(_RAW[entry.dtype], math.prod(shape), begin).reshape(shape)

    def _parse(self) -> tuple[dict[str, _Entry], dict[str, str]]:
        length = int.from_bytes(self._map[:8], "little")
        if length > MAX_HEADER:
            raise CheckpointError(f"{self.path}: header length must be at most {MAX_HEADER} bytes, "
                                  f"not {length}: it is damaged or not a safetensors file")
        if length > len(self._map) - 8:
            raise CheckpointError(f"{self.path}: header length is {length} bytes, but "
                                  f"{len(self._map) - 8} follow: the file is cut short")
        header = parse_json_object(self._map[8:8 + length], f"{self.path}: header")

        metadata = header.pop("__metadata__", {})
        if not (isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())):
            raise CheckpointError(f"{self.path}: __metadata__ must map strings to strings, "
                                  f"not {show(metadata)}")
        data = 8 + length
        entries = [(name, self._entry(name, info, data)) for name, info in header.items()]
        entries.sort(key=lambda item: (item[1].begin, item[1].end))
        self._check_contiguous(entries, data)
        return dict(entries), metadata

    def _entry(self, name: str, info: object, data: int) -> _Entry:
        if len(name) > MAX_NAME or not name.isprintable() or not name:
            raise CheckpointError(f"{self.path}: a tensor name must have 1 to {MAX_NAME} printable "
                                  f"characters, not {show(name)} ({len(name)})")
        where = f"{self.path}: tensor {show(name)}"
        if not isinstance(info, Mapping):
            raise CheckpointError(f"{where} must be described by an object, not {show(info)}")
        for key in ("dtype", "shape", "data_offsets"):
            if key not in info:
                raise CheckpointError(f"{where} has no {key}: the header is damaged")

        dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
            raise CheckpointError(f"{where} has the unknown dtype {show(dtype)}; "
                                  f"known are {', '.join(DTYPE_BITS)}")
        # `type(...) is int`: True is no size, and neither is 2.0.
        if not isinstance(shape, list) or not all(type(dim) is int and dim >= 0 for dim in shape):
            raise CheckpointError(f"{where}: shape must be a list of integers from 0, "
                                  f"not {show(shape)}")
        if len(shape) > MAX_DIMS:
            raise CheckpointError(f"{where}: shape must have at most {MAX_DIMS} dimensions, "
                                  f"not {len(shape)}")
        if not (isinstance(offsets, list) and len(offsets) == 2
                and all(type(offset) is int for offset in offsets)):
            raise CheckpointError(f"{where}: data_offsets must be two integers, "
                                  f"not {show(offsets)}")
        begin, end = offsets
        room = len(self._map) - data
        if not 0 <= begin <= end <= room:
            raise CheckpointError(f"{where}: data_offsets {show(offsets)} must lie in order within "
                                  f"the {room} bytes of data: the file is cut short or damaged")
        bits = math.prod(shape) * DTYPE_BITS[dtype]
        if bits != (end - begin) * 8:
            raise CheckpointError(f"{where}: {dtype} of shape {show(shape)} takes "
                                  f"{show(bits // 8)} bytes, but its data_offsets span "
                                  f"{end - begin}: the header is damaged")
        if math.prod(filter(None, shape)) >> 60:  # beside a 0, any size fits the file
            raise CheckpointError(f"{where}: shape must stay below 2**60 elements, zeros left out, "
                                  f"not {show(shape)}")
        return _Entry(dtype, tuple(shape), data + begin, data + end)

    def _check_contiguous(self, entries: list[tuple[str, _Entry]], data: int) -> None:
        expected = data
        for name, entry in entries:
            if entry.begin != expected:
                kind = "overlaps the tensor before it" if entry.begin < expected else "leaves a gap"
                raise CheckpointError(f"{self.path}: tensor {show(name)} {kind}: it starts at byte "
                                      f"{entry.begin - data} of the data, not {expected - data}")
            expected = entry.end
        if expected != len(self._map):
            raise CheckpointError(f"{self.path}: the tensors end at byte {expected - data} of the "
                                  f"data, but {len(self._map) - data} are there: the file is "
                                  "damaged or has something appended")
