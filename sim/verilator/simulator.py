"""Full-speed simulation: the core's Verilog compiled by Verilator, with a memory model inside.

The compiled model is cached by the content of its Verilog, the harness and the tools' versions.
"""

import hashlib
import importlib.metadata
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.control_registers import COUNTER_NAMES, Status, by_engine
from bitwright.hw.rtl.core.core import core_verilog
from bitwright.models.assets.cache import cache_dir
from bitwright.models.errors import Error
from bitwright.sim.cycle_model.memory_timing import Memory

__all__ = ["Memory", "RunResult", "SimulationError", "build", "compile_core", "compile_harness",
           "memory_image", "run", "verilator_environment"]

HARNESS = Path(__file__).with_name("harness.cpp")

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Progress that nobody reads."""


class SimulationError(Error, RuntimeError):
    """The simulation could not be built or did not end well. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Counters and the dumped memory of one run. ``then`` are counters of the launches after the
    first, as far as they came."""
    counters: dict[str, int]
    status: int
    simulated_cycles: int
    seconds: float
    dump: bytes
    then: tuple[dict[str, int], ...] = ()

    @property
    def error(self) -> str | None:
        """The machine's error, or None."""
        code = self.status >> 8 & 15
        return Status.codes.get(code, f"code {code}") if self.status & Status.ERROR else None

    @property
    def engines(self) -> dict[str, dict[str, int]]:
        return by_engine(self.counters)


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


@cache
def _verilog(machine: Machine) -> str:
    return core_verilog(machine)


def build(machine: Machine, say: Say = silent) -> Path:
    """The simulator of ``machine``: compiled on first use, then from the cache."""
    return compile_core(_verilog(machine.replace(fabric="generic")), machine.name, say)


def compile_core(verilog: str, name: str, say: Say = silent, *, library: Sequence[Path] = (),
                 arguments: Sequence[str] = (), optimize: str = "-O2") -> Path:
    """The simulator of module ``bitwright`` of ``verilog``; see :func:`compile_harness`."""
    return compile_harness(verilog, HARNESS, top="bitwright", name=name, library=library,
                           defines={"COUNTERS": len(COUNTER_NAMES)}, arguments=arguments,
                           optimize=optimize, say=say)


def compile_harness(verilog: str, harness: Path, *, top: str, name: str,
                    headers: Sequence[Path] = (), library: Sequence[Path] = (),
                    defines: Mapping[str, int] | None = None, arguments: Sequence[str] = (),
                    optimize: str = "-O2", say: Say = silent) -> Path:
    """The program of the C++ ``harness`` around module ``top`` of ``verilog``.

    ``headers`` are the harness's own beside it, ``library`` files of the modules that ``verilog``
    is made of; ``arguments`` go to Verilator and ``optimize`` to the C++ compiler; ``name`` is for
    people. Compiled on first use, then from the cache. Raises :class:`SimulationError`.
    """
    flags = " ".join([optimize, f"-I{harness.parent}",
                      *(f"-D{key}={value}" for key, value in (defines or {}).items())])
    key = hashlib.sha256()
    for part in (verilog, *(path.read_text() for path in (harness, *headers, *library)), top,
                 importlib.metadata.version("verilator"), optimize, *arguments,
                 repr(sorted((defines or {}).items()))):
        key.update(part.encode() + b"\0")
    target = cache_dir() / "sim" / key.hexdigest()[:32]
    program = target / "harness"
    if program.is_file():
        return program
    say(f"compiling the simulator of {name} (once)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as scratch:
        source = Path(scratch) / "top.v"
        source.write_text(verilog)
        command = ["verilator_bin", "--cc", "--exe", "--build", "-O3", "--x-assign", "fast",
                   "--x-initial", "fast", "-Wno-fatal", "-Wno-lint", "--no-assert",
                   "--top-module", top, "-Mdir", "obj", "-o", "harness", "-CFLAGS", flags,
                   *arguments, *map(str, library), str(source), str(harness)]
        done = subprocess.run(command, cwd=scratch, env=verilator_environment(), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            tail = done.stdout.strip().splitlines()[-15:]
            raise SimulationError(f"Verilator could not compile {name}:\n" + "\n".join(tail))
        staged = Path(scratch) / "staged"
        staged.mkdir()
        shutil.copy2(Path(scratch) / "obj" / "harness", staged / "harness")
        try:
            staged.rename(target)
        except OSError:
            if not program.is_file():  # another process was first otherwise
                raise
    return program


def memory_image(size: int, pieces: Iterable[tuple[int, bytes]]) -> NDArray[np.uint8]:
    """``size`` bytes of memory with ``pieces``, (address, content), and zeros elsewhere."""
    image = np.zeros(size, dtype=np.uint8)
    for address, data in pieces:
        image[address:address + len(data)] = np.frombuffer(data, dtype=np.uint8)
    return image


def run(machine: Machine, image: bytes | NDArray[np.uint8], *, program: int, length: int,
        dump: tuple[int, int], memory: Memory = Memory(), max_cycles: int = 2_000_000_000,
        fault: int = -1, say: Say = silent, simulator: Path | None = None,
        then: Sequence[tuple[int, int]] = ()) -> RunResult:
    """Run the program at byte address ``program`` (``length`` instructions) over ``image``, and
    ``then`` others, (address, length), while none reports an error; buffers keep their content.

    ``dump`` is the (address, bytes) returned. ``fault`` is the address of a beat that the memory
    answers with an error. ``simulator`` is what :func:`compile_core` gave, in place of the
    machine's own. Raises :class:`SimulationError` if the machine does not end within
    ``max_cycles``; an error it reports itself is in the result.
    """
    simulator = simulator or build(machine, say)
    data = bytes(image)
    with tempfile.TemporaryDirectory(prefix="bitwright-") as scratch:
        image_path, dump_path = Path(scratch) / "image", Path(scratch) / "dump"
        with image_path.open("wb") as file:
            file.write(len(data).to_bytes(8, "little"))
            file.write(data)
        arguments = [str(image_path), str(dump_path), *map(str, (
            *dump, program, length, memory.latency, memory.interval, max_cycles, fault,
            *itertools.chain(*then)))]
        start = time.perf_counter()
        done = subprocess.run([str(simulator), *arguments], capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or str(done.returncode)).splitlines()
            raise SimulationError(f"simulator failed: {said[0]}")
        report = json.loads(done.stdout)
        if report["status"] & Status.BUSY:
            raise SimulationError(f"the machine is still busy after {max_cycles} cycles")
        if report["identity"] != machine.identity():
            raise SimulationError("the simulator belongs to another machine description")
        first, *later = (dict(zip(COUNTER_NAMES, counters, strict=True))
                         for counters in report["counters"])
        return RunResult(counters=first, then=tuple(later), status=report["status"],
                         simulated_cycles=report["simulated_cycles"], seconds=seconds,
                         dump=dump_path.read_bytes())
