"""Holds what passes share besides the program: the open checkpoint, the folder being written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.checkpoints.checkpoint import Checkpoint
from bitwright.compiler.ir.program import LinearOp, Program

__all__ = ["Progress", "Session", "Watch"]

class Track(Protocol):
    """Hands items on and shows how far it is."""
    def __call__(self, items: tuple[LinearOp, ...], label: str, /) -> Iterable[LinearOp]: ...


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Holds what passes share that look at shapes alone."""
    track: Track = lambda items, label: items


@dataclass(frozen=True, kw_only=True)
class Watch(Progress):
    """Who looks on while a checkpoint is mapped: ``after`` is called with each pass's name and
    result."""
    after: Callable[[str, Program], None] = lambda name, program: None


@dataclass(frozen=True, kw_only=True)
class Session(Progress):
    """``folder`` is where the image's files are written. ``input_scales`` [k] by layer multiply a
    layer's inputs on the host; its weights are divided by them."""
    checkpoint: Checkpoint
    folder: Path
    input_scales: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
