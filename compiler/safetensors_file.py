"""Read safetensors files: every claim of the header is checked before anything is allocated.

A file is a header length (unsigned 64-bit, little-endian), a JSON header, and the tensors' bytes,
C order, little-endian. F32, F16 and BF16 tensors are read, all as float32; tensors of other types
may be in the file, and only reading one is an error.
"""
import json
import math
import mmap
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

import ml_dtypes
import numpy as np

from models.text import show

MAX_HEADER = 100_000_000  # bytes, the safetensors library's own limit
MAX_NAME = 1024  # characters
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


class CheckpointError(ValueError):
    """A checkpoint cannot be used; one line with the file, the value, the limit, the way out."""


def parse_json_object(raw: bytes, what: str) -> dict[str, Any]:
    """The JSON object in ``raw``, strictly: UTF-8, no duplicate keys, no NaN or Infinity.

    Raises :class:`CheckpointError` that starts with ``what``.
    """
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise CheckpointError(f"{what} has the key {show(key)} twice: write it again")
            found[key] = value
        return found

    def constant(name: str) -> NoReturn:
        raise CheckpointError(f"{what} holds {name}, which is not JSON: write it again")

    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=unique, parse_constant=constant)
    except CheckpointError:
        raise
    except RecursionError:
        raise CheckpointError(f"{what} is nested too deeply: it is damaged") from None
    except ValueError as error:
        raise CheckpointError(f"{what} is not JSON ({error}): the file is damaged or not of this "
                              "format") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{what} must be a JSON object, not {show(found)}")
    return found


def size_of_file(path: Path) -> int:
    """Size of the regular file ``path`` in bytes; :class:`CheckpointError` if it is not one."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be opened: "
                              f"{getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path} must be a regular file")
    return status.st_size


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    begin: int  # byte offsets in the file
    end: int


class MappedFile:
    """The file ``path`` of at least ``least`` bytes, mapped for reading. A context manager.

    ``header`` says what those bytes are, ``kind`` what file it is to be. Errors are
    :class:`CheckpointError`.
    """

    def __init__(self, path: str | os.PathLike[str], least: int, header: str, kind: str):
        self.path = Path(path)
        size = size_of_file(self.path)
        if size < least:
            raise CheckpointError(f"{self.path} has {size} bytes, fewer than the {least} of a "
                                  f"{header}: it is cut short or not a {kind} file")
        try:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.path} cannot be opened: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Arrays already read stay valid."""
        self._map.close()

    def _copy(self, dtype: np.dtype, count: int, offset: int, to: np.dtype | None = None
              ) -> np.ndarray:
        """A new array of ``count`` numbers from byte ``offset`` on, as ``to`` if that is given."""
        to = to or dtype
        if not count:
            return np.empty(0, dtype=to)
        found = np.frombuffer(self._map, dtype=dtype, count=count, offset=offset).astype(to)
        # Pages that were read count as memory of the process until they are given back.
        begin = offset - offset % mmap.PAGESIZE
        self._map.madvise(mmap.MADV_DONTNEED, begin, offset + count * dtype.itemsize - begin)
        return found


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
