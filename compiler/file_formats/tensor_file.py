"""Says what every reader of a file of tensors offers."""

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import numpy as np

__all__ = ["TensorFile"]


class TensorFile(Protocol):
    """The tensors of one file, or of several that belong together.

    Every error is a :class:`CheckpointError`; an unknown name is a :class:`KeyError`.

    Members
    -------
    path : the file that was opened
    paths : every file that is read
    names : the tensors, in the file's order
    """
    path: Path

    @property
    def paths(self) -> tuple[Path, ...]: ...

    @property
    def names(self) -> Collection[str]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def dtype(self, name: str) -> str:
        """The name of the stored type. Plain floats are ``F32``, ``F16`` and ``BF16``."""

    def raw(self, name: str, row: int | None = None) -> np.ndarray:
        """A new array of the tensor as stored; with ``row``, that part of its first axis."""

    def check_readable(self, name: str) -> None:
        """Raise :class:`CheckpointError` for a tensor that :meth:`read` does not know."""

    def read(self, name: str) -> np.ndarray:
        """A new float32 array of the tensor's values."""

    def close(self) -> None: ...
