"""Runs programs on the core's RTL at full speed, with a memory model around it."""

import itertools
import json
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.machine.control_interface import COUNTER_NAMES, Status, by_engine
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.core import core_verilog
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.verilator.verilator_build import (
    USUAL,
    Say,
    SimulationError,
    VerilatorOptions,
    compile_harness,
    silent,
)

__all__ = ["Contents", "RunResult", "build", "compile_core", "memory_image", "run"]

HARNESS = Path(__file__).with_name("harness.cpp")


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


@cache
def _verilog(machine: Machine) -> str:
    return core_verilog(machine)


def build(machine: Machine, say: Say = silent) -> Path:
    """The simulator of ``machine``: compiled on first use, then from the cache."""
    return compile_core(_verilog(machine.replace(fabric="generic")), machine.name, say)


def compile_core(verilog: str, name: str, say: Say = silent, *,
                 options: VerilatorOptions = USUAL) -> Path:
    """The simulator of module ``bitwright`` of ``verilog``; see :func:`compile_harness`."""
    options = replace(options, defines={**options.defines, "COUNTERS": len(COUNTER_NAMES)})
    return compile_harness(verilog, HARNESS, top="bitwright", name=name, options=options, say=say)


Contents = tuple[tuple[int, bytes], ...]   # of memory: address and bytes


def memory_image(size: int, pieces: Iterable[tuple[int, bytes]]) -> NDArray[np.uint8]:
    """``size`` bytes of memory with ``pieces``, (address, content), and zeros elsewhere."""
    image = np.zeros(size, dtype=np.uint8)
    for address, data in pieces:
        image[address:address + len(data)] = np.frombuffer(data, dtype=np.uint8)
    return image


def run(machine: Machine, image: bytes | NDArray[np.uint8], launches: Sequence[tuple[int, int]],
        *, dump: tuple[int, int], memory: Memory = Memory(), max_cycles: int = 2_000_000_000,
        fault: int = -1, simulator: Path | None = None) -> RunResult:
    """Run programs over ``image``, one after another, while none reports an error.

    ``launches`` are their (byte address, instructions); buffers keep their content between them.
    ``dump`` is the (address, bytes) returned. ``fault`` is the address of a beat that the memory
    answers with an error. ``simulator`` is what :func:`compile_core` gave, in place of the
    machine's own. Raises :class:`SimulationError` if the machine does not end within
    ``max_cycles``; an error it reports itself is in the result.
    """
    simulator = simulator or build(machine)
    data = bytes(image)
    with tempfile.TemporaryDirectory(prefix="bitwright-") as scratch:
        image_path, dump_path = Path(scratch) / "image", Path(scratch) / "dump"
        with image_path.open("wb") as file:
            file.write(len(data).to_bytes(8, "little"))
            file.write(data)
        arguments = [str(image_path), str(dump_path), *map(str, (
            *dump, *launches[0], memory.latency, memory.interval, max_cycles, fault,
            *itertools.chain(*launches[1:])))]
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
