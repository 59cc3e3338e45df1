"""Writing a folder whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitwright.compiler.image.file_names import (
    HOST_FILES,
    MANIFEST_FILE,
    PAGE_FILE,
    PROGRAM_FILE,
    REPORT_FILE,
    WEIGHTS_FILE,
)
from bitwright.compiler.image.manifest import FORMAT, ImageError
from bitwright.models.file_formats.mapped_file import CheckpointError, parse_json_object

__all__ = ["staged"]

FILES = (MANIFEST_FILE, PROGRAM_FILE, WEIGHTS_FILE, REPORT_FILE, PAGE_FILE, *HOST_FILES)


def check_replaceable(out: Path) -> None:
    """Raise :class:`ImageError` unless ``out`` is absent, an empty folder, or a mapped model with
    nothing else in it."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ImageError(f"{out} is in the way: it is not a folder; choose another --out")
    names = sorted(entry.name for entry in out.iterdir())
    if not names:
        return
    if foreign := [name for name in names if name not in FILES]:
        raise ImageError(f"{out} holds {foreign[0]}, which is not part of a mapped model; choose "
                         "another --out or empty it")
    try:
        manifest = parse_json_object((out / MANIFEST_FILE).read_bytes(), MANIFEST_FILE)
        known = manifest.get("format") == FORMAT
    except (OSError, CheckpointError):
        known = False
    if not known:
        raise ImageError(f"{out} holds files that are not a mapped model; choose another --out or "
                         "empty it")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A new folder that takes the place of ``out`` when the block ends well, and leaves no trace
    when it does not. A mapped model in ``out`` is replaced; anything else is refused."""
    target = out.resolve()
    check_replaceable(out)
    near = next(parent for parent in target.parents if parent.exists())
    with tempfile.TemporaryDirectory(dir=near, prefix=".bitwright-") as scratch:
        fresh = Path(scratch) / "new"
        fresh.mkdir()
        yield fresh
        check_replaceable(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(Path(scratch) / "old")
        try:
            fresh.rename(target)
        except OSError:
            if (old := Path(scratch) / "old").exists():
                old.rename(target)
            raise

