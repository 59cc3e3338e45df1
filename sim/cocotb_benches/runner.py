"""Runs cocotb benches on the whole core's Verilog under Verilator.

A build lives in ``build/sim/<machine>`` (``<machine>-waves`` with tracing) and is made again only
when its Verilog or a tool's version changes.
"""

import hashlib
import importlib.metadata
import os
import shutil
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cocotb_tools.runner import Verilator

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.core import core_verilog
from bitwright.models.plugins.loading import load_installed, load_plugin, loaded_plugins
from bitwright.sim.verilator.verilator_build import SimulationError, verilator_environment

__all__ = ["BenchResult", "bench_machine", "run_bench"]

TOP = "bitwright"
MACHINE_VARIABLE = "BITWRIGHT_MACHINE"  # tells a bench its machine, as JSON
PLUGINS_VARIABLE = "BITWRIGHT_PLUGINS"  # and the plug-in files that are loaded, as a path list
BUILD_ARGS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "-Wno-fatal", "-Wno-lint",
              "--no-timing", "-CFLAGS", "-O1")
FST = Path(__file__).resolve().with_name("fst")  # stands in for compression libraries' headers
VISIBLE = f'`verilator_config\npublic_flat_rw -module "{TOP}" -var "*"\n'


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """One run of one bench module on one machine. ``failed`` names the tests that failed; a run
    that ended early counts as one more."""
    bench: str
    machine: str
    seed: int
    tests: int
    failed: tuple[str, ...]
    seconds: float
    log: Path
    waves: Path | None

    @property
    def passed(self) -> int:
        return self.tests - len(self.failed)


class _Runner(Verilator):
    """Runs the compiler itself instead of its Perl wrapper, and makes only the top's signals
    visible to the bench: simulation is several times faster than with all of them."""

    def _simulator_in_path_build_only(self) -> None:
        found = shutil.which("verilator_bin")
        if found is None:
            raise SimulationError("the verilator package is incomplete; run make setup again")
        self.executable = found

    def _build_command(self) -> list[list[str]]:
        commands = super()._build_command()
        return [[word for word in command if word != "--public-flat-rw"] for command in commands]


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """``os.environ`` with ``values``; the runner reads nothing else."""
    before = dict(os.environ)
    os.environ.update(values)
    for name in ("WAVES", "GUI", "SEED"):  # the caller has read them
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").strip().splitlines()[-lines:])


def _trace_args(folder: Path) -> tuple[str, ...]:
    """Options for FST. The headers in ``sim/fst`` hold all that the writer needs of its
    libraries; the make file links them by name, so they are there, and empty."""
    for name in ("liblz4.a", "libz.a"):
        (folder / name).write_bytes(b"!<arch>\n")
    return ("--trace-fst", "-CFLAGS", f"-I{FST}", "-LDFLAGS", f"-L{folder.resolve()}")


def _build(runner: Verilator, machine: Machine, folder: Path, waves: bool) -> None:
    verilog = core_verilog(machine.replace(fabric="generic"))
    key = hashlib.sha256("\0".join([
        verilog, VISIBLE, *(path.read_text() for path in sorted(FST.glob("*.h")) if waves),
        *BUILD_ARGS,
        *(importlib.metadata.version(name) for name in ("verilator", "cocotb"))]).encode())
    stamp = folder / "stamp"
    if stamp.is_file() and stamp.read_text() == key.hexdigest() and (folder / TOP).is_file():
        runner.build_dir = folder.resolve()
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source, visible, log = folder / f"{TOP}.v", folder / "visible.vlt", folder / "build.log"
    source.write_text(verilog)
    visible.write_text(VISIBLE)
    try:
        runner.build(sources=[visible, source], hdl_toplevel=TOP, build_dir=folder, waves=waves,
                     build_args=[*BUILD_ARGS, *(_trace_args(folder) if waves else ())],
                     timescale=("1ns", "1ps"), log_file=log)
    except RuntimeError:
        raise SimulationError(f"Verilator could not compile machine {machine.name}; {log}:\n"
                              + _tail(log)) from None
    stamp.write_text(key.hexdigest())


def _outcomes(results: Path) -> tuple[int, tuple[str, ...]]:
    """Number of tests and names of those that failed, from the results file."""
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    failed = tuple(case.get("name", "?") for case in cases
                   if case.find("failure") is not None or case.find("error") is not None)
    return len(cases), failed


def bench_machine() -> Machine:
    """Return the machine of the bench that this process runs, with the plug-ins of the process
    that started it."""
    load_installed()
    for path in filter(None, os.environ.get(PLUGINS_VARIABLE, "").split(os.pathsep)):
        load_plugin(path)
    return Machine.from_json(os.environ[MACHINE_VARIABLE])


def run_bench(machine: Machine, module: str, *, seed: int, waves: bool = False,
              tests: Sequence[str] = (), root: Path = Path("build/sim")) -> BenchResult:
    """Run the cocotb tests of ``<module>_test`` on ``machine``, all or those named.

    The same seed gives the same run. With ``waves`` an FST file stays beside the log. Raises
    :class:`SimulationError` if the core does not compile.
    """
    started = time.monotonic()
    folder = root / (machine.name + ("-waves" if waves else ""))
    with _environment(verilator_environment()):
        runner = _Runner()
        _build(runner, machine, folder, waves)
        log, trace = folder / f"{module}.log", folder.resolve() / f"{module}.fst"
        results = folder.resolve() / f"{module}.xml"
        try:
            runner.test(
                f"bitwright.sim.cocotb_benches.{module}_test", TOP,
                seed=seed, build_dir=folder, waves=waves,
                hdl_toplevel_lang="verilog", results_xml=str(results), log_file=log,
                testcase=list(tests) or None,
                test_args=["--trace-file", str(trace)] if waves else [],
                extra_env={MACHINE_VARIABLE: machine.to_json(),
                           PLUGINS_VARIABLE: os.pathsep.join(loaded_plugins())})
        except (RuntimeError, SystemExit):
            pass  # the results, or their absence, tell
    try:
        count, failed = _outcomes(results)
    except (OSError, ElementTree.ParseError):
        count, failed = 1, (f"ended without results: {_tail(log, 1)}",)
    if not count:
        count, failed = 1, ("no tests ran",)
    return BenchResult(bench=module, machine=machine.name, seed=seed, tests=count, failed=failed,
                       seconds=time.monotonic() - started, log=log,
                       waves=trace if waves and trace.is_file() else None)
