"""Time and memory of mapping a whole model, in a process of its own, and time of estimating one."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from compiler.graph import Options
from compiler.shapes import map_shapes
from hw.config import PRESETS
from models.families import read_config
from models.fetch import model_path

__all__ = ["bench_map", "bench_shapes"]

TARGET_SECONDS, TARGET_BYTES = 20, 10**9
SHAPES_TARGET_SECONDS = 2


def bench_map() -> dict[str, Any]:
    """Map MiniLM to W4A8, group 64, on ``ulx3s-85f``: seconds, peak bytes, totals of the report."""
    checkpoint = model_path("minilm") / "model.safetensors"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "minilm"
        command = [sys.executable, "-m", "compiler", "map", str(checkpoint), "--machine",
                   "ulx3s-85f", "--weights", "int4", "--group-size", "64", "--tokens", "128",
                   "--out", str(out), "--json"]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        # The only child so far, so the largest child; Linux counts in KiB.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        totals = json.loads((out / "report.json").read_text())["totals"]
    return {"model": "minilm", "tokens": 128, "seconds": seconds, "target_seconds": TARGET_SECONDS,
            "peak_bytes": peak, "target_bytes": TARGET_BYTES, "totals": totals}


def bench_shapes() -> dict[str, Any]:
    """Seconds for Llama-2-7B from its configuration to its cycles on ``ulx3s-85f``: a prefill of
    2,048 tokens and one token after them, together."""
    machine, tokens = PRESETS["ulx3s-85f"], 2048
    start = time.perf_counter()
    config = read_config("llama-2-7b")
    prefill, decode = (map_shapes(config, machine, Options(), tokens=count, context=context)
                       for count, context in ((tokens, 0), (1, tokens)))
    seconds = time.perf_counter() - start
    return {"model": "llama-2-7b", "tokens": tokens, "seconds": seconds,
            "target_seconds": SHAPES_TARGET_SECONDS, "layers": prefill["totals"]["layers"],
            "prefill_cycles": prefill["totals"]["cycles"],
            "decode_cycles": decode["totals"]["cycles"]}
