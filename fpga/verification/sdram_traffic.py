"""The SDRAM controller in Verilator: random traffic against a checking model of the chip."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amaranth.back import verilog

import bitwright.fpga.verification.board_models
from bitwright.fpga.soc.sdram_controller import SdramController
from bitwright.fpga.soc.sdram_timing import COMMON, SdramTiming
from bitwright.sim.verilator.verilator_build import (
    Say,
    SimulationError,
    VerilatorOptions,
    compile_harness,
    silent,
)

__all__ = ["bench", "simulate"]

FOLDER = Path(bitwright.fpga.verification.board_models.__file__).parent
HEADERS = (FOLDER / "axi_traffic.h", FOLDER / "sdram_model.h")
TIMEOUT = 600   # seconds
BURST = 256


def compiled(clock_mhz: float, timing: SdramTiming = COMMON, registers: int = 1,
             say: Say = silent) -> Path:
    """Return the simulator of the controller and the chip, compiled unless it is in the cache."""
    delay = timing.cycles(clock_mhz).cas + registers
    text = verilog.convert(
        SdramController(clock_mhz=clock_mhz, timing=timing, read_delay=delay), name="sdram",
        emit_src=False)
    return compile_harness(text, FOLDER / "sdram.cpp", top="sdram",
                           name="the SDRAM controller", say=say, options=VerilatorOptions(
                               headers=HEADERS, defines={"REGISTERS": registers}))


def simulate(kind: str, *, clock_mhz: float, seed: int = 1, cycles: int = 200_000,
             burst: int = BURST, timing: SdramTiming = COMMON, registers: int = 1,
             rules: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return the harness's report on ``cycles`` of traffic of one ``kind``: ``random``; ``read``,
    ``write`` and ``mixed`` of sequential bursts of ``burst`` beats; ``latency``.

    ``timing`` is the controller's; the chip's own rules do not change with it, but ``rules``
    replace some of them (names and units of ``fpga/verification/board_models/sdram_model.h``).
    ``registers`` stand
    between the pins and ``dq_i``. ``errors`` are wrong answers on the AXI port, ``violations``
    rules of the chip that were broken.
    """
    program = compiled(clock_mhz, timing, registers)
    arguments = [kind, *map(str, (seed, cycles, round(1e6 / clock_mhz), burst)),
                 *(f"{name}={value}" for name, value in (rules or {}).items())]
    try:
        done = subprocess.run([str(program), *arguments], capture_output=True, text=True,
                              timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise SimulationError(f"the SDRAM simulation took more than {TIMEOUT} s; take fewer "
                              "cycles") from None
    if done.returncode:
        raise SimulationError(f"simulator failed: {done.stderr.strip() or done.returncode}")
    return json.loads(done.stdout)


def _share(found: dict[str, Any]) -> float:
    """Beats per cycle from the first beat to the last."""
    moving = [found[name] for name in ("reads", "writes") if found[name]["beats"]]
    cycles = max(part["last"] for part in moving) - min(part["first"] for part in moving) + 1
    return sum(part["beats"] for part in moving) / cycles


def bench(*, clock_mhz: float, burst: int = BURST, seed: int = 1,
          say: Say = silent) -> dict[str, Any]:
    """Efficiency of sequential traffic as a share of 16 bits per cycle, and latency in cycles.

    Raises :class:`SimulationError` if an answer is wrong or a rule of the chip is broken.
    """
    found: dict[str, Any] = {"clock_mhz": clock_mhz, "burst_beats": burst, "efficiency": {},
                             "mb_per_s": {}}
    compiled(clock_mhz, say=say)
    for kind in ("read", "write", "mixed", "latency"):
        result = simulate(kind, clock_mhz=clock_mhz, burst=burst, seed=seed)
        if wrong := result["errors"] + result["violations"]:
            raise SimulationError(f"{kind}: {wrong[0]}")
        if kind == "latency":
            found["latency"] = result["latency"]
        else:
            share = _share(result)
            found["efficiency"][kind] = round(share, 4)
            found["mb_per_s"][kind] = round(2 * share * clock_mhz, 1)
    return found
