"""Runs the cocotb regression: every bench, on machines that differ in one respect each."""

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bitwright.hw.elements import ELEMENTS
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.sim.cocotb_benches.runner import BenchResult, run_bench

__all__ = ["BENCHES", "machines", "regress"]

BENCHES = ("gemm", "control")
COMMON: tuple[Machine, ...] = (
    PRESETS["tiny"],
    # One row, one bank of tables of registers, a memory narrower than a result.
    PRESETS["icebreaker"].replace(program_depth=1024),
    # Several builders' steps, and buffers so small that everything comes in chunks and wraps.
    Machine(name="scarce", rows=2, cols=4, k_tile=32, builders=2, memory_bits=64,
            weight_depth=256, act_depth=16, scale_depth=64, psum_depth=16, out_depth=32,
            program_depth=2048, outstanding=2),
)


def machines() -> tuple[Machine, ...]:
    """Return the machines of the regression: common ones, then those of every element."""
    return (*COMMON, *(Machine(pe=name, **fields) for name, element in ELEMENTS.items()
                       for fields in element.benches))


def regress(waves: bool = False, seed: int | None = None,
            chosen: Sequence[Machine] | None = None, benches: Sequence[str] = BENCHES,
            as_json: bool = False) -> int:
    """Run every bench on every machine, or on those ``chosen``, and print a table; 0 if all tests
    pass, else 1.

    Without ``seed`` a new one is drawn and printed; the same seed repeats a run. With ``waves``
    FST files are kept and their paths printed. With ``as_json`` the table goes to the error
    stream, and JSON is printed.
    """
    if seed is None:
        seed = secrets.randbelow(1 << 31)
    console = Console(highlight=False, stderr=as_json,
                      width=None if os.isatty(2 if as_json else 1) else 100)
    console.print(f"seed {seed} (repeat with SEED={seed})")
    table = Table("bench", "machine", "seed", "tests", "passed", "seconds")
    results: list[BenchResult] = []
    for machine in machines() if chosen is None else chosen:
        for bench in benches:
            result = run_bench(machine, bench, seed=seed, waves=waves)
            results.append(result)
            table.add_row(bench, machine.name, str(seed), str(result.tests), str(result.passed),
                          f"{result.seconds:.1f}")
            console.print(f"{machine.name} {bench}: {result.passed} of {result.tests} passed in "
                          f"{result.seconds:.1f} s")
    console.print(table)
    for result in results:
        for name in result.failed:
            console.print(f"FAILED {result.machine} {name}: see {_short(result.log)}", markup=False)
        if result.waves:
            console.print(f"waves {_short(result.waves)}", soft_wrap=True)
    failed = sum(len(result.failed) for result in results)
    console.print(f"{sum(result.passed for result in results)} passed, {failed} failed")
    if as_json:
        print(json.dumps({"seed": seed, "failed": failed, "benches": [
            {"bench": result.bench, "machine": result.machine, "tests": result.tests,
             "failed": list(result.failed), "seconds": round(result.seconds, 1),
             "waves": None if result.waves is None else str(result.waves)}
            for result in results]}))
    return 1 if failed else 0


def _short(path: Path) -> str:
    """``path`` from here, if it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
