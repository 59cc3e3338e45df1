"""Runs the jobs of the quality survey in parallel, and keeps their results in a file."""

import ast
import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from bitwright.models.evaluation.survey_measure import Job, Source, work

__all__ = ["Store", "code_files", "digest", "run"]

PACKAGE = Path(__file__).parents[2]
# Figures come from this module and from every one of the models that it imports.
FIRST = "bitwright.models.evaluation.survey_measure"


def _path(module: str) -> Path | None:
    """The file of a module of ``bitwright.models``; None for what is none."""
    parts = module.split(".")
    if parts[:2] != ["bitwright", "models"]:
        return None
    found = PACKAGE.joinpath(*parts[1:])
    return next((path for path in (found.with_suffix(".py"), found / "__init__.py")
                 if path.is_file()), None)


def code_files() -> list[Path]:
    """Files whose code makes the figures. A kept result is used again only if none has changed."""
    found: set[Path] = set()
    open_ = [FIRST]
    while open_:
        path = _path(open_.pop())
        if path is None or path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                open_ += [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                open_ += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    return sorted(found)


def _code(path: Path) -> str:
    """A module's syntax tree without docstrings: comments and layout do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
                node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree)


def digest(source: Source) -> str:
    """Return a digest of both files, the number of windows, and the code that makes the figures."""
    total = hashlib.sha256(str(source.windows).encode())
    for path in (source.model, source.text):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    for path in code_files():
        total.update(_code(path).encode())
    return total.hexdigest()[:16]


class Store:
    """Results by job in a JSON file, written whole after each, so that a run cut short goes on
    where it stopped. Those of other code, files or windows are dropped."""

    def __init__(self, path: Path, source: Source) -> None:
        self.path, self.digest = path, digest(source)
        self.results: dict[str, Any] = {}
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["digest"] == self.digest:
                self.results = kept["results"]
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path} does not hold results of this command: move it away") \
                from None

    def put(self, key: str, result: Any) -> None:
        """Add a result and write the file."""
        self.results[key] = result
        rows = ",\n".join(f"  {json.dumps(key)}: "
                          f"{json.dumps(self.results[key], separators=(',', ':'))}"
                          for key in sorted(self.results))
        text = f'{{"digest": "{self.digest}", "results": {{\n{rows}\n}}}}\n'
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.path)


def run(source: Source, jobs: Sequence[Job], store: Store, processes: int) -> Iterator[Job]:
    """Do the jobs that ``store`` does not hold, ``processes`` at a time, each on one core; yields
    each as it is done. The first that fails ends the run with its error."""
    todo = [job for job in jobs if job.key not in store.results]
    if not todo:
        return
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"  # read by NumPy in the new processes
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        running = {pool.submit(work, source, job): job for job in todo}
        for done in as_completed(running):
            store.put(running[done].key, done.result())
            yield running[done]
    finally:
        pool.shutdown(cancel_futures=True)
