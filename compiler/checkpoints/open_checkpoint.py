"""Opens checkpoints of every kind of file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitwright.compiler.checkpoints.checkpoint import Checkpoint
from bitwright.compiler.checkpoints.container import Container, Contents
from bitwright.compiler.checkpoints.registry import CONTAINERS
from bitwright.compiler.checkpoints.safetensors_container import SAFETENSORS
from bitwright.models.architectures.config_fields import ConfigError
from bitwright.models.architectures.config_file import read_config_file
from bitwright.models.architectures.tensor_name_map import read_name_map
from bitwright.models.file_formats.mapped_file import CheckpointError, size_of_file

__all__ = ["open_checkpoint", "read_config"]

def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of a ``config.json``. Raises :class:`CheckpointError`."""
    size_of_file(Path(path))
    try:
        return read_config_file(Path(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def _name_map(path: Path) -> dict[str, Any]:
    try:
        return read_name_map(path)
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def _find(path: Path) -> tuple[Path, Container]:
    """The file to open, and its kind. A file of an unknown kind is read as safetensors."""
    if path.is_dir():
        for kind in CONTAINERS.values():
            if kind.in_folder and (path / kind.in_folder).exists():
                return path / kind.in_folder, kind
        return path / SAFETENSORS.in_folder, SAFETENSORS
    return path, next((kind for kind in CONTAINERS.values() if path.suffix in kind.suffixes),
                      SAFETENSORS)


def _config(contents: Contents, config: str | os.PathLike[str] | Mapping[str, Any] | None,
            names: Path | None) -> Mapping[str, Any]:
    path = contents.file.path
    if contents.config is not None:
        if names is not None:
            raise CheckpointError(f"{path} has the names of its format: leave out {names}")
        return contents.config
    if not isinstance(config, Mapping):
        config = read_config(path.with_name("config.json") if config is None else config)
    return config if names is None else {**config, **_name_map(names)}


def open_checkpoint(path: str | os.PathLike[str],
                    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
                    names: Path | None = None) -> Checkpoint:
    """Open a checkpoint and check every tensor's name, shape and type.

    Parameters
    ----------
    path : a file of one of :data:`CONTAINERS`, or a folder with one
    config : ``config.json``, or its contents; the one beside the file if not given. A file that
        has its own configuration leaves this out of account.
    names : a TOML file of :mod:`bitwright.models.architectures.tensor_name_map`, for a checkpoint
        with other names than its family

    Raises :class:`CheckpointError` for a file or configuration that cannot be read, an unknown
    architecture, and a tensor that is missing, unknown, or of another shape or type. Whether the
    values are finite is not looked at.
    """
    path, kind = _find(Path(path))
    size_of_file(path)
    contents = kind.open(path)
    try:
        return Checkpoint(contents, _config(contents, config, names))
    except BaseException:
        contents.file.close()
        raise
