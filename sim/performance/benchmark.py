"""Measures roofline efficiency on the RTL, and the speeds of simulation and models."""

import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.models.command_line.options_and_files import write_text
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.performance.gemm_estimate import estimate_gemm
from bitwright.sim.verification.gemm_fuzz import Case, compare
from bitwright.sim.verilator.simulator import build

__all__ = ["run_bench"]

# Shape, memory width, efficiency to reach.
ROOFLINE = (((128, 1024, 1024), 128, 0.95), ((512, 1024, 1024), 128, 0.95),
            ((128, 1024, 1024), 16, 0.95), ((1, 1024, 1024), 128, 0.90))
MODEL_SHAPE = (2048, 4096, 4096)
LARGER_SHAPE = (8192, 4096, 4096)


def roofline_rows(say: Callable[[str], None]) -> list[dict[str, Any]]:
    """int4, group 64, on ``ulx3s-85f``, measured on RTL from first to last instruction."""
    rows = []
    for shape, bits, target in ROOFLINE:
        machine = PRESETS["ulx3s-85f"].replace(memory_bits=bits)
        build(machine, say)
        say(f"running {'x'.join(map(str, shape))} with a {bits}-bit memory")
        start = time.perf_counter()
        found = compare(Case(machine=machine, m=shape[0], k=shape[1], n=shape[2], datatype="int4",
                             memory=Memory(latency=32)))
        seconds = time.perf_counter() - start
        cycles = found.rtl.counters["run"]
        rows.append({"gemm": "x".join(map(str, shape)), "memory_bits": bits,
                     "roofline_cycles": found.roofline_cycles, "rtl_cycles": cycles,
                     "model_cycles": found.model.counters["run"],
                     "mismatches": found.mismatches,
                     "efficiency": found.roofline_cycles / cycles, "target": target,
                     "seconds": seconds, "simulated_cycles": found.rtl.simulated_cycles,
                     "simulation_seconds": found.rtl.seconds})
    return rows


def model_speed() -> dict[str, Any]:
    """Best of five runs from shape to cycles, and peak memory for two sizes."""
    machine = PRESETS["ulx3s-85f"]

    def run(shape: tuple[int, int, int]) -> int:
        spec = shape_spec(machine, *shape, DATATYPES["int4"], 64, False)
        return estimate_gemm(machine, spec, Memory())["cycles"]

    times = []
    for _ in range(5):
        start = time.perf_counter()
        cycles = run(MODEL_SHAPE)
        times.append(time.perf_counter() - start)
    peaks = []
    for shape in (MODEL_SHAPE, LARGER_SHAPE):
        tracemalloc.start()
        run(shape)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return {"gemm": "x".join(map(str, MODEL_SHAPE)), "cycles": cycles,
            "milliseconds": min(times) * 1e3, "target_milliseconds": 50,
            "peak_bytes": peaks[0], "peak_bytes_4x_tokens": peaks[1]}


def run_bench(out: Path | None, as_json: bool, say: Callable[[str], None]) -> None:
    """Measure, print a table or JSON, and write JSON to ``out``."""
    rows = roofline_rows(say)
    speed = model_speed()
    longest = max(rows, key=lambda row: row["simulated_cycles"])
    rate = longest["simulated_cycles"] / longest["simulation_seconds"]
    found = {"roofline": rows, "cycle_model": speed,
             "simulation": {"machine": "ulx3s-85f", "gemm": longest["gemm"],
                            "cycles_per_second": rate, "target": 50_000}}
    if out is not None:
        write_text(out, json.dumps(found, indent=2) + "\n")
    if as_json:
        print(json.dumps(found))
        return
    table = Table("int4 GEMM on ulx3s-85f", "memory", "roofline", "RTL cycles", "model − RTL",
                  "wrong bits", "efficiency", "target")
    for row in rows:
        table.add_row(row["gemm"], f"{row['memory_bits']} bit", f"{row['roofline_cycles']:,.0f}",
                      f"{row['rtl_cycles']:,}", str(row["model_cycles"] - row["rtl_cycles"]),
                      str(row["mismatches"]), f"{row['efficiency']:.4f}", f"{row['target']:.2f}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    console.print(table)
    console.print(f"cycle model: {speed['gemm']} in {speed['milliseconds']:.1f} ms (target 50), "
                  f"peak {speed['peak_bytes'] / 1e6:.2f} MB, with four times the tokens "
                  f"{speed['peak_bytes_4x_tokens'] / 1e6:.2f} MB")
    console.print(f"full-speed simulation of ulx3s-85f: {rate:,.0f} cycles/s (target 50,000)")
