"""Multiply-accumulates per second of a board's machine, over what its chip's multipliers do."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bitwright.fpga.benchmarks.dsp_peak import dsp_fmax
from bitwright.fpga.boards.board import Board, BoardError
from bitwright.fpga.toolchain.synthesis import Device
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.codegen.standalone_layout import regions_of
from bitwright.hw.machine.description import Machine, MachineError
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.hw.tiling.gemm_spec import GemmSpec, PlanError
from bitwright.models.datatypes.catalog import datatype
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.performance.gemm_estimate import plan_cycles

__all__ = ["GROUP", "RECORDS", "TYPES", "measured", "recorded_fmax", "throughput", "widest"]

RECORDS = Path(__file__).parents[1] / "results"
TYPES = {"W4": "int4", "W2": "int2", "ternary ": "ternary"}   # before the activations' bits
GROUP = 64

Say = Callable[[str], None]


def recorded_fmax(board: Board, machine: Machine) -> float | None:
    """MHz of the recorded bitstream of ``machine`` on ``board``; None where there is none."""
    path = RECORDS / f"{board.name}.json"
    if not path.is_file():
        return None
    record = json.loads(path.read_text())
    return record["fmax_mhz"] if record["machine"] == machine.to_dict() else None


def widest(machine: Machine) -> Machine:
    """Return the same array behind the widest memory port that its buffers' words allow."""
    for bits in (256, 128, 64, 32):
        try:
            return machine.replace(memory_bits=bits)
        except MachineError:
            continue
    return machine


def measured(machine: Machine, spec: GemmSpec, memory: Memory, room: int | None = None
             ) -> dict[str, Any]:
    """A GEMM in the cycle model, which counts as the RTL does: ``cycles`` from its first to its
    last instruction, the shares of them in which slices go through the array (``array_busy``) and
    in which the memory's bus moves a beat (``memory_busy``), and the memory's ``bytes``.

    Raises :class:`PlanError` for one that does not fit the machine, and
    :class:`BoardError` where it takes more than ``room`` bytes."""
    plan = plan_gemm(machine, spec)
    size = regions_of(plan)[1]
    if room is not None and size > room:
        raise BoardError(f"a GEMM of {spec.m} x {spec.k} x {spec.n} takes {size:,} bytes, and the "
                         f"board's memory has {room:,}; take smaller -m, -k or -n")
    found = plan_cycles(plan, memory)
    cycles, counters = found.counters["run"], found.counters
    return {"cycles": cycles, "bytes": size,
            "efficiency": spec.macs / (cycles * machine.macs_per_cycle(spec.slots)),
            "array_busy": found.causes["compute"] / cycles,
            "memory_busy": (counters["load_busy"] + counters["store_busy"]) * memory.interval
            / cycles}


def _dsps(board: Board, seed: int) -> dict[str, Any]:
    device = Device(name=board.chip, family=board.family, fabric=board.family,
                    luts=board.size.luts, synth=board.chip_family.synth,
                    arguments=board.nextpnr)
    fmax, blocks = dsp_fmax(device, seed=seed), board.size.dsps
    return {"blocks": blocks, "fmax_mhz": fmax, "gmac_per_s": blocks * fmax / 1e3}


def _row(board: Board, machine: Machine, label: str, shape: tuple[int, int, int], group: int,
         fmax: float | None, dsp_rate: float) -> dict[str, Any] | None:
    """Return the row of one weight type; None for one that the machine does not run."""
    wide, memory = widest(machine), board.memory.timing
    try:
        spec, wide_spec = (shape_spec(each, *shape, datatype(TYPES[label]), group, False)
                           for each in (machine, wide))
    except PlanError:
        return None
    runs = {"resident": measured(wide, wide_spec, memory),
            "board": measured(machine, spec, memory, board.memory.bytes)}
    peak = machine.macs_per_cycle(spec.slots)
    found: dict[str, Any] = {
        "type": f"{label}A{machine.act_bits}", "slots": spec.slots, "macs_per_cycle": peak,
        "peak": {}, "runs": {name: {**run, "rate": {}} for name, run in runs.items()}}
    for name, clock in (("clock", board.clock_mhz), ("fmax", fmax)):
        if clock is None:
            continue
        for place, share in ((found["peak"], 1.0), *(
                (run["rate"], run["efficiency"]) for run in found["runs"].values())):
            rate = peak * share * clock / 1e3
            place[name] = {"gmac_per_s": rate, "multiple": rate / dsp_rate}
    return found


def throughput(board: Board, machine: Machine, *, shape: tuple[int, int, int] | None = None,
               group: int = GROUP, seed: int = 1, say: Say = lambda text: None) -> dict[str, Any]:
    """Rates of W4, W2 and ternary weights at the board's clock, and at the recorded Fmax: ``peak``
    (products per cycle over slots per weight), and of a GEMM of ``shape`` (m, k, n; groups of
    ``group``, 0 for whole channels)
    in simulation: ``board``, with the board's memory, and ``resident``, where the same array has a
    port as wide as its buffers' words, so that operands are there when it wants them. Every rate
    comes with its ``multiple`` of the DSP blocks' rate.

    Raises :class:`BoardError`, :class:`PlanError` and :class:`ToolError`."""
    board.check(machine)
    shape = shape or board.memory.gemm
    say(f"one multiply-accumulate around a DSP block of {board.chip}")
    dsps, fmax = _dsps(board, seed), recorded_fmax(board, machine)
    say(f"{' x '.join(map(str, shape))} on {machine.name}")
    rows: Sequence[dict[str, Any]] = [row for label in TYPES if (
        row := _row(board, machine, label, shape, group, fmax, dsps["gmac_per_s"]))]
    if not rows:
        raise BoardError(f"{machine.name} runs none of {', '.join(TYPES.values())}")
    return {"board": board.name, "machine": machine.to_dict(), "clock_mhz": board.clock_mhz,
            "fmax_mhz": fmax, "shape": list(shape), "group_size": group,
            "resident_memory_bits": widest(machine).memory_bits, "dsps": dsps, "rows": rows}
