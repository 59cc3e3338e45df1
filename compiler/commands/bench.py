"""The command ``bench``: time and memory of mapping models, each in its own process."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_shapes import map_shapes
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.architectures.families import read_config
from bitwright.models.assets.fetch import model_path
from bitwright.models.command_line.option_groups import Json, JsonFile
from bitwright.models.command_line.options_and_files import say, write_text

__all__ = ["MAPS", "bench", "bench_map", "bench_shapes"]

SHAPES_TARGET_SECONDS = 2


class Map(NamedTuple):
    """A model of ``models.toml`` to be mapped, and the most that it may take."""
    model: str
    file: str
    options: tuple[str, ...]
    seconds: int
    bytes: int = 10**9


MAPS = (Map("minilm", "model.safetensors", ("--weights", "int4", "--group-size", "64"), 20),
        Map("smollm2", "model.gguf", ("--weights", "native"), 60))


def _peak(command: list[str]) -> int:
    """Run to success; the greatest resident size in bytes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} ended with status {process.returncode}")
    return usage.ru_maxrss * 1024  # Linux counts in KiB


def bench_map(job: Map) -> dict[str, Any]:
    """Map a model for 128 tokens on ``ulx3s-85f``: seconds, peak bytes, totals of the report."""
    checkpoint = model_path(job.model) / job.file
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / job.model
        start = time.perf_counter()
        peak = _peak([sys.executable, "-m", "bitwright.compiler", "map", str(checkpoint),
                      "--machine", "ulx3s-85f", *job.options, "--tokens", "128",
                      "--out", str(out), "--json"])
        seconds = time.perf_counter() - start
        totals = json.loads((out / "report.json").read_text())["totals"]
    return {"model": job.model, "tokens": 128, "seconds": seconds, "target_seconds": job.seconds,
            "peak_bytes": peak, "target_bytes": job.bytes, "totals": totals}


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


def bench(out: JsonFile = None, as_json: Json = False) -> None:
    """Measure time and peak memory of mapping, and time of estimating.

    It maps MiniLM and SmolLM2, and estimates Llama-2-7B.
    """
    say("estimating the shapes of Llama-2-7B")
    shapes = bench_shapes()
    maps = []
    for job in MAPS:
        say(f"mapping {job.model}")
        maps.append(bench_map(job))
    found = {"maps": maps, "shapes": shapes}
    if out is not None:
        write_text(out, json.dumps(found, indent=2) + "\n")
    if as_json:
        print(json.dumps(found))
    else:
        _print(maps, shapes)


def _print(maps: list[dict[str, Any]], shapes: dict[str, Any]) -> None:
    for each in maps:
        print(f"map {each['model']}, {each['tokens']} tokens, ulx3s-85f: {each['seconds']:.1f} "
              f"s (target {each['target_seconds']}), peak {each['peak_bytes'] / 1e6:,.0f} MB "
              f"(target {each['target_bytes'] / 1e6:,.0f})")
    print(f"shapes of Llama-2-7B, prefill of {shapes['tokens']:,} tokens and one more, "
          f"ulx3s-85f: {shapes['seconds']:.2f} s (target {shapes['target_seconds']}), "
          f"{shapes['prefill_cycles']:,} and {shapes['decode_cycles']:,} cycles")
