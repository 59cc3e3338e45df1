"""Maps a checkpoint file into memory, read-only, and parses JSON in it strictly."""

import mmap
import os
import stat
from pathlib import Path
from typing import Any, Self

import numpy as np

from bitwright.models.command_line import json_object as strict_json
from bitwright.models.errors import Error

__all__ = ["MAX_NAME", "CheckpointError", "MappedFile", "parse_json_object", "size_of_file"]

MAX_NAME = 1024  # characters of a tensor's name


class CheckpointError(Error, ValueError):
    """A checkpoint cannot be used; one line with the file, the value, the limit, the way out."""


def parse_json_object(raw: bytes, what: str) -> dict[str, Any]:
    """The JSON object in ``raw``, as :func:`strict_json.parse_json_object` reads it. Raises
    :class:`CheckpointError`."""
    try:
        return strict_json.parse_json_object(raw, what)
    except strict_json.JsonError as error:
        raise CheckpointError(str(error)) from None


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
