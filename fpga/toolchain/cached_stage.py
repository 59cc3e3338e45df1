"""Stages of a bitstream's build, each cached by the content of what goes in."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bitwright.fpga.toolchain.synthesis import run_tool
from bitwright.models.assets.cache import cache_dir

__all__ = ["Stage"]

TIMEOUT = 4 * 3600      # seconds for one tool
SECONDS = "seconds.json"


class Stage:
    """One tool's run: ``inputs`` by file name, the tool's ``arguments``, names of ``outputs``.

    :meth:`run` gives the folder with the outputs: from the cache if this was done before with the
    same inputs, arguments and version of the tool, so that a build that was cut off goes on where
    it was. ``seconds`` is what the tool took when it ran.
    """

    def __init__(self, tool: str, package: str, arguments: Sequence[str],
                 inputs: Mapping[str, bytes], outputs: Sequence[str]):
        self.tool, self.arguments = tool, tuple(arguments)
        self.inputs, self.outputs = dict(inputs), tuple(outputs)
        digest = hashlib.sha256()
        for part in (tool, importlib.metadata.version(package), repr(self.arguments),
                     repr(self.outputs)):
            digest.update(part.encode() + b"\0")
        for name, data in sorted(self.inputs.items()):
            digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
        self.folder = cache_dir() / "build" / digest.hexdigest()[:32]

    @property
    def done(self) -> bool:
        return (self.folder / SECONDS).is_file()

    @property
    def seconds(self) -> float:
        return float(json.loads((self.folder / SECONDS).read_text()))

    def output(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def run(self) -> Path:
        """Raises :class:`bitwright.fpga.toolchain.synthesis.ToolError`."""
        if self.done:
            return self.folder
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix=".build-") as scratch:
            work, staged = Path(scratch) / "work", Path(scratch) / "staged"
            work.mkdir()
            staged.mkdir()
            for name, data in self.inputs.items():
                (work / name).write_bytes(data)
            start = time.perf_counter()
            run_tool(work, self.tool, *self.arguments, timeout=TIMEOUT)
            seconds = round(time.perf_counter() - start, 1)
            for name in self.outputs:
                shutil.move(work / name, staged / name)
            (staged / SECONDS).write_text(json.dumps(seconds))
            try:
                os.rename(staged, self.folder)
            except OSError:
                if not self.done:   # another process was first otherwise
                    raise
        return self.folder
