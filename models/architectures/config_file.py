"""Reads ``config.json`` files."""

from pathlib import Path
from typing import Any

from bitwright.models.architectures.config_fields import ConfigError
from bitwright.models.command_line.json_object import JsonError, parse_json_object

__all__ = ["read_config_file"]

MOST_BYTES = 1 << 20


def read_config_file(path: Path, advice: str = "") -> dict[str, Any]:
    """The contents of a ``config.json``: a JSON object of at most 1 MiB. ``advice`` says what to
    do about a file that cannot be read. Raises :class:`ConfigError`."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}"
                          + (f"; {advice}" if advice else "")) from None
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{path} must have at most {MOST_BYTES} bytes")
    try:
        return parse_json_object(raw, str(path))
    except JsonError as error:
        raise ConfigError(str(error)) from None
