"""Time and memory of mapping a whole model, measured in a process of its own."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from models.fetch import model_path

__all__ = ["bench_map"]

TARGET_SECONDS, TARGET_BYTES = 20, 10**9


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
