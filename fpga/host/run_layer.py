"""Layers on a board: load, start, wait, read back, compare with the golden model."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.ir.program import LinearOp
from bitwright.compiler.runtime.run_layer import digest, matrix
from bitwright.fpga.host.layer_parts import Part, cut, placed, repacked
from bitwright.fpga.link.driver import Board
from bitwright.fpga.link.frames import Info
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES
from bitwright.hw.machine.control_interface import COUNTER_NAMES, Control, Registers, Status
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import by_column, gemm_spec, unpack_outputs
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.errors import Error
from bitwright.models.inference.golden import mpgemm
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import run_cycles

__all__ = ["BoardResult", "HostError", "Watch", "check_identity", "parts_for",
           "run_layer"]

RESET_POLLS = 200
POLL_SECONDS = 0.002
SLACK = 1_000_000       # cycles beyond several times the model's before a machine counts as stuck


class HostError(Error, RuntimeError):
    """The layer cannot run on this board, or the machine stopped. One line, for people."""


class Watch:
    """Receives the progress of a run; this one is silent."""

    def begin(self, what: str, total: int) -> None:
        """A transfer of ``total`` bytes begins."""

    def moved(self, done: int) -> None:
        """So many bytes of it are done."""

    def end(self, total: int, seconds: float) -> None:
        """It has ended."""

    def note(self, text: str) -> None:
        """Something that the user should know of."""


@dataclass(kw_only=True)
class BoardResult:
    """A layer on a board, beside the cycle model's prediction; counters are summed over parts."""
    layer: str
    port: str
    machine: str
    identity: int
    clock_khz: int
    parts: int
    memory: Memory                      # that the cycle model assumes
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTER_NAMES, 0))
    model: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTER_NAMES, 0))
    loaded_bytes: int = 0
    load_seconds: float = 0.0
    read_bytes: int = 0
    read_seconds: float = 0.0
    accumulators: NDArray[np.int64]     # [m, n]
    golden: NDArray[np.int64]

    @property
    def mismatches(self) -> int:
        return int((self.accumulators != self.golden).sum())

    @property
    def first_mismatch(self) -> str | None:
        wrong = np.argwhere(self.accumulators != self.golden)
        if not len(wrong):
            return None
        token, channel = wrong[0].tolist()
        return (f"token {token}, channel {channel}: {self.accumulators[token, channel]}, golden "
                f"{self.golden[token, channel]}")

    @property
    def microseconds(self) -> float:
        """Return the time of the runs on the board."""
        return self.counters["total"] / self.clock_khz * 1000

    def to_dict(self) -> dict[str, Any]:
        return {
            "layer": self.layer, "port": self.port, "machine": self.machine,
            "identity": self.identity, "clock_khz": self.clock_khz, "parts": self.parts,
            "mismatches": self.mismatches, "sha256": digest(self.accumulators),
            "cycles": self.counters["run"], "model_cycles": self.model["run"],
            "microseconds": round(self.microseconds, 3),
            "counters": self.counters, "model_counters": self.model,
            "model_memory": {"latency": self.memory.latency, "interval": self.memory.interval},
            "loaded_bytes": self.loaded_bytes, "load_seconds": round(self.load_seconds, 3),
            "read_bytes": self.read_bytes, "read_seconds": round(self.read_seconds, 3)}


# ---- what runs ----------------------------------------------------------------------------
def _named(identity: int) -> str:
    known = next((name for name, preset in PRESETS.items() if preset.identity() == identity), None)
    return f"machine {known} ({identity:#010x})" if known else f"a machine {identity:#010x}"


def check_identity(info: Info, machine: Machine, port: str, *, of_image: bool) -> None:
    """``HostError`` unless the board holds ``machine``."""
    if info.identity == machine.identity():
        return
    found, wanted = _named(info.identity), f"{machine.name} ({machine.identity():#010x})"
    if of_image:
        raise HostError(f"the board on {port} holds {found}, and the image was mapped for machine "
                        f"{wanted}: load that machine's bitstream, map the model again for the "
                        "board's machine, or name it with --machine to have the layer packed again")
    raise HostError(f"the board on {port} holds {found}, not machine {wanted}: load that "
                    "machine's bitstream, or name the board's machine with --machine")


def parts_for(image: Image, op: LinearOp, machine: Machine, memory_bytes: int,
              a: NDArray[np.integer]) -> list[Part]:
    """Return the parts of a layer that run one after the other on a board with ``machine``. It is
    the layer as the image has it, if it is mapped for this machine and lies within the memory.
    Otherwise it is packed again, in as few parts as fit. ``a`` is [m, features]."""
    qm = matrix(image, op)
    if machine.identity() == image.machine.identity():
        whole = placed(image, op, by_column(qm, a))
        if whole.where.size <= memory_bytes:
            return [whole]
    try:
        how = cut(machine, gemm_spec(machine, len(a), qm), memory_bytes)
        return list(repacked(machine, qm, a, how))
    except PlanError as error:
        raise HostError(f"layer {op.name} does not fit the board: {error}") from None


# ---- running ------------------------------------------------------------------------------
def _reset(board: Board) -> None:
    """Bring the machine back to rest, whatever a run before has left."""
    board.write_register(Registers.CONTROL, Control.RESET)
    for _ in range(RESET_POLLS):
        if not board.read_register(Registers.STATUS):
            return
        time.sleep(POLL_SECONDS)
    raise HostError("the machine on the board does not reset: load its bitstream again")


def _moved(watch: Watch, before: int, done: int, _: int) -> None:
    watch.moved(before + done)


def _load(board: Board, regions: Sequence[tuple[int, bytes]], what: str, watch: Watch) -> float:
    """Write regions; the seconds it took."""
    total, before = sum(len(data) for _, data in regions), 0
    started = time.perf_counter()
    watch.begin(f"{what}: loading", total)
    for address, data in regions:
        board.write(address, data, partial(_moved, watch, before))
        before += len(data)
    seconds = time.perf_counter() - started
    watch.end(total, seconds)
    return seconds


def _execute(board: Board, part: Part, expected: int, what: str) -> dict[str, int]:
    """Start the program and wait for its end; counters by name."""
    board.write_register(Registers.PROGRAM, part.program)
    board.write_register(Registers.LENGTH, len(part.where.code) // INSTRUCTION_BYTES)
    board.write_register(Registers.CONTROL, Control.START)
    limit = min(8 * expected + SLACK, (1 << 32) - 1)
    while (status := board.read_register(Registers.STATUS)) & Status.BUSY:
        if (cycles := board.read_register(Registers.COUNTERS)) > limit:
            _reset(board)
            raise HostError(f"{what}: the machine is still busy after {cycles:,} cycles, and the "
                            f"cycle model expects {expected:,}; it was reset")
        time.sleep(POLL_SECONDS)
    if status & Status.ERROR:
        code = status >> 8 & 15
        _reset(board)
        raise HostError(f"{what}: the machine stopped: {Status.codes.get(code, f'code {code}')}; "
                        "it was reset")
    if not status & Status.DONE:
        raise HostError(f"{what}: the machine was reset while it ran: close the other program that "
                        "uses the board, or check the power")
    return {name: board.read_register(Registers.COUNTERS + 4 * index)
            for index, name in enumerate(COUNTER_NAMES)}


def run_layer(board: Board, info: Info, image: Image, op: LinearOp, machine: Machine,
              a: NDArray[np.integer], *, port: str, watch: Watch | None = None) -> BoardResult:
    """Activations ``a`` [m, features] through a layer on the board, which holds ``machine``.

    Raises :class:`HostError`, and :class:`~bitwright.fpga.link.driver.LinkError` if the board
    cannot be
    reached; the next run then finds the machine at rest, or resets it."""
    watch, memory = watch or Watch(), image.options.memory
    qm = matrix(image, op)
    parts = parts_for(image, op, machine, info.memory_bytes, a)
    result = BoardResult(
        layer=op.name, port=port, machine=machine.name, identity=info.identity,
        clock_khz=info.clock_khz, parts=len(parts), memory=memory,
        accumulators=np.zeros((op.m, op.n), dtype=np.int64), golden=mpgemm(a, qm))
    if board.read_register(Registers.STATUS) & ~Status.DONE:
        watch.note("the machine was not at rest and is reset")
        _reset(board)
    before: Part | None = None
    for index, part in enumerate(parts):
        what = f"layer {op.name}" + (f", part {index + 1} of {len(parts)}" if parts[1:] else "")
        model = run_cycles(machine, part.where.program, memory, part.program).counters
        regions = part.regions
        if (before is not None and before.packed is part.packed
                and before.where.regions == part.where.regions):
            del regions["weights"], regions["scales"]      # they are there
        before = part
        result.load_seconds += _load(board, [*regions.values()], what, watch)
        result.loaded_bytes += sum(len(data) for _, data in regions.values())
        counters = _execute(board, part, model["total"], what)
        started, size = time.perf_counter(), part.where.plan.out_bytes
        watch.begin(f"{what}: reading", size)
        data = board.read(part.where.regions.outputs, size, partial(_moved, watch, 0))
        seconds = time.perf_counter() - started
        watch.end(size, seconds)
        result.read_seconds += seconds
        result.read_bytes += size
        result.accumulators[part.tokens, part.channels] = unpack_outputs(
            part.where.plan, data, part.packed.correction)
        for name in COUNTER_NAMES:
            result.counters[name] += counters[name]
            result.model[name] += model[name]
    return result
