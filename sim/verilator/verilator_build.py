"""Compiles Verilog and a C++ harness to a program by Verilator, and keeps it in the cache.

A program is found in the cache by the content of its Verilog, its harness and the tools' versions.
"""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bitwright.models.assets.cache import cache_dir
from bitwright.models.errors import Error

__all__ = ["USUAL", "Say", "SimulationError", "VerilatorOptions", "compile_harness", "silent",
           "verilator_environment"]

# The initial and settling code runs once: it is compiled without optimization.
SLOW = "-O0"
PROGRESS_SECONDS = 5.0

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Progress that nobody reads."""


class SimulationError(Error, RuntimeError):
    """The simulation could not be built or did not end well. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class VerilatorOptions:
    """The options of compiling a harness.

    ``headers`` are the harness's own, beside it. ``library`` holds files of modules that the
    Verilog instantiates. ``defines`` are macros of the harness. ``arguments`` go to Verilator.
    ``optimize`` is the C++ compiler's level for the code of every cycle: -O1 gives programs as
    fast as -O2 does, in a third of the time (docs/results/results.md).
    """
    headers: Sequence[Path] = ()
    library: Sequence[Path] = ()
    defines: Mapping[str, int] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    optimize: str = "-O1"

    def key(self, verilog: str, harness: Path, top: str) -> str:
        """The name in the cache of what is compiled from these."""
        key = hashlib.sha256()
        for part in (verilog, *(path.read_text()
                                for path in (harness, *self.headers, *self.library)), top,
                     importlib.metadata.version("verilator"), self.optimize, SLOW,
                     *self.arguments, repr(sorted(self.defines.items()))):
            key.update(part.encode() + b"\0")
        return key.hexdigest()[:32]

    def command(self, harness: Path, top: str) -> list[str]:
        """Verilator's command line, without the file of the Verilog and the harness."""
        flags = " ".join([f"-I{harness.parent}",
                          *(f"-D{name}={value}" for name, value in self.defines.items())])
        return ["verilator_bin", "--cc", "--exe", "--build", "-O3", "--x-assign", "fast",
                "--x-initial", "fast", "-Wno-fatal", "-Wno-lint", "--no-assert",
                "--top-module", top, "-Mdir", "obj", "-o", "harness", "-CFLAGS", flags,
                "-MAKEFLAGS", f"OPT_FAST={self.optimize} OPT_GLOBAL={self.optimize} "
                f"OPT_SLOW={SLOW}", *self.arguments, *map(str, self.library)]


USUAL = VerilatorOptions()


def verilator_environment() -> dict[str, str]:
    """Environment in which the packaged Verilator runs, whatever else is installed."""
    spec = importlib.metadata.distribution("verilator")
    root = Path(str(spec.locate_file("verilator")))
    if not (root / "bin").is_dir():
        raise SimulationError("the verilator package is incomplete; run make setup again")
    path = os.pathsep.join([str(root / "bin"), str(Path(sys.executable).parent),
                            os.environ.get("PATH", "")])
    # Large models are split, and the make file then includes the precompiled header wrongly.
    return {**os.environ, "VERILATOR_ROOT": str(root), "PATH": path,
            "MAKEFLAGS": f"-j{os.cpu_count() or 1} CFG_CXXFLAGS_PCH_I=-include"}


def compile_harness(verilog: str, harness: Path, *, top: str, name: str,
                    options: VerilatorOptions = USUAL, say: Say = silent) -> Path:
    """The program of the C++ ``harness`` around module ``top`` of ``verilog``; ``name`` is for
    people. Compiled on first use, then from the cache; ``say`` gets a line every few seconds.
    Raises :class:`SimulationError`."""
    target = cache_dir() / "sim" / options.key(verilog, harness, top)
    program = target / "harness"
    if program.is_file():
        return program
    label = f"compiling the simulator of {name} (once)"
    say(label)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as scratch:
        source = Path(scratch) / "top.v"
        source.write_text(verilog)
        command = [*options.command(harness, top), str(source), str(harness)]
        log = _follow(command, Path(scratch), label, say)
        if log is not None:
            raise SimulationError(f"Verilator could not compile {name}:\n" + "\n".join(log[-15:]))
        staged = Path(scratch) / "staged"
        staged.mkdir()
        shutil.copy2(Path(scratch) / "obj" / "harness", staged / "harness")
        try:
            staged.rename(target)
        except OSError:
            if not program.is_file():  # another process was first otherwise
                raise
    return program


def _follow(command: Sequence[str], folder: Path, label: str, say: Say) -> list[str] | None:
    """Run ``command`` in ``folder`` and say now and then how far it is. None, or the lines that
    it printed if it failed."""
    start = said = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(command, cwd=folder, env=verilator_environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            now = time.monotonic()
            if now - said > PROGRESS_SECONDS:
                said = now
                files = list((folder / "obj").glob("*.cpp"))
                done = sum(file.with_suffix(".o").exists() for file in files)
                say(f"{label}: {done} of {len(files)} files after {now - start:.0f} s")
    return lines if process.returncode else None
