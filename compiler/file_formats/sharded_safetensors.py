"""Reads the several safetensors files that ``model.safetensors.index.json`` lists."""

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np

from bitwright.compiler.file_formats.safetensors import SafetensorsFile
from bitwright.models.command_line.printable import show
from bitwright.models.file_formats.mapped_file import (
    CheckpointError,
    parse_json_object,
    size_of_file,
)

__all__ = ["INDEX", "ShardedFile"]

INDEX = "model.safetensors.index.json"
MAX_INDEX = 100_000_000  # bytes, as a header
MAX_SHARDS = 4096
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,250}\.safetensors")


class ShardedFile:
    """As :class:`SafetensorsFile`, for the shards of the index ``path``. A context manager.

    Shards lie beside the index under plain names. Opening checks every shard's header, and that
    each tensor is in the shard the index names, and in no other.

    Members
    -------
    path : ``Path``
    paths : ``tuple`` of ``Path``
        The index and its shards, in the order of their names.
    names : ``tuple`` of ``str``
        By shard, in file order.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if (size := size_of_file(self.path)) > MAX_INDEX:
            raise CheckpointError(f"{self.path} must have at most {MAX_INDEX} bytes, not {size}")
        index = parse_json_object(self.path.read_bytes(), str(self.path))
        shard_of = self._weight_map(index)
        shards = sorted(set(shard_of.values()))
        self.paths = (self.path, *(self.path.with_name(shard) for shard in shards))
        self._file: dict[str, SafetensorsFile] = {}
        with ExitStack() as stack:
            for shard, where in zip(shards, self.paths[1:], strict=True):
                self._add(shard, stack.enter_context(SafetensorsFile(where)), shard_of)
            for name, shard in shard_of.items():
                if name not in self._file:
                    raise CheckpointError(f"{self.path}: tensor {show(name)} is not in {shard}: "
                                          "the index belongs to other files")
            self._stack = stack.pop_all()
        self.names = tuple(self._file)

    def _weight_map(self, index: Mapping[str, Any]) -> dict[str, str]:
        found = index.get("weight_map")
        if not isinstance(found, dict) or not found:
            raise CheckpointError(f"{self.path}: weight_map must be an object that is not empty, "
                                  f"not {show(found)}")
        for name, shard in found.items():
            if not isinstance(shard, str) or not _SAFE.fullmatch(shard):
                raise CheckpointError(f"{self.path}: the file of tensor {show(name)} must be a "
                                      "plain name that ends with .safetensors, beside the index, "
                                      f"not {show(shard)}")
        if (count := len(set(found.values()))) > MAX_SHARDS:
            raise CheckpointError(f"{self.path} must name at most {MAX_SHARDS} files, not {count}")
        return found

    def _add(self, shard: str, file: SafetensorsFile, shard_of: Mapping[str, str]) -> None:
        for name in file.names:
            if shard_of.get(name) != shard:
                raise CheckpointError(f"{file.path}: tensor {show(name)} is not listed for this "
                                      f"file in {self.path.name}: they do not belong together")
            self._file[name] = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files. Arrays already read stay valid."""
        self._stack.close()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._file[name].shape(name)

    def dtype(self, name: str) -> str:
        return self._file[name].dtype(name)

    def check_readable(self, name: str) -> None:
        self._file[name].check_readable(name)

    def read(self, name: str) -> np.ndarray:
        return self._file[name].read(name)

    def raw(self, name: str, row: int | None = None) -> np.ndarray:
        return self._file[name].raw(name, row)
