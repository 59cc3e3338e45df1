"""Says what a kind of file that holds a model has to offer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitwright.compiler.file_formats.tensor_file import TensorFile
from bitwright.compiler.layouts.layout import Layout

__all__ = ["Container", "Contents"]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of an opened file.

    Parameters
    ----------
    file : its tensors
    config : the model's configuration, by the keys of a ``config.json``; None if one lies beside
        the file
    layout : how its linear layers are stored; None if ``quantization_config`` says it
    tokenizer : gives a ``tokenizer.json``, or None for a file without one; None if one may lie
        beside the file
    """
    file: TensorFile
    config: Mapping[str, Any] | None = None
    layout: Layout | None = None
    tokenizer: Callable[[], bytes | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Container:
    """A kind of file that holds a model.

    Parameters
    ----------
    name : for people
    suffixes : endings of its files' names, with the dot
    open : opens the file and checks its header. It raises :class:`CheckpointError`
    in_folder : the file that is opened where a folder is named; empty for none
    """
    name: str
    suffixes: tuple[str, ...]
    open: Callable[[Path], Contents]
    in_folder: str = ""
