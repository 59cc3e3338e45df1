"""Maps a checkpoint file into memory, read-only, and parses JSON in it strictly."""

import json
import mmap
import os
import stat
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np

from bitwright.models.command_line.printable import show
from bitwright.models.errors import Error


class CheckpointError(Error, ValueError):
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
