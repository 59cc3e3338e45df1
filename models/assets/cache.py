"""Finds the folder for fetched files."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """The cache folder, which need not exist yet."""
    if own := os.environ.get("BITWRIGHT_CACHE"):
        return Path(own).expanduser().absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).expanduser().absolute() / "bitwright"
    return Path.home() / ".cache" / "bitwright"
