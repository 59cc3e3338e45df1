"""Layers on a board: load, start, wait, read back, compare with the golden model."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.ir.program import LinearOp
from bitwright.compiler.runtime.run_layer import digest, matrix
from bitwright.fpga.host.board_backend import BoardBackend, BoardSession, HostError
from bitwright.fpga.host.layer_parts import Part, cut, placed, repacked
from bitwright.fpga.link.frames import Info
from bitwright.hw.machine.control_interface import COUNTER_NAMES
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import by_column, gemm_spec
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.inference.golden import mpgemm
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import run_cycles

__all__ = ["BoardResult", "check_identity", "parts_for", "run_layer"]

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
def run_layer(session: BoardSession, image: Image, op: LinearOp, machine: Machine,
              a: NDArray[np.integer]) -> BoardResult:
    """Activations ``a`` [m, features] through a layer on the board, which holds ``machine``.

    Raises :class:`HostError`, and :class:`~bitwright.fpga.link.driver.LinkError` if the board
    cannot be reached; the next run then finds the machine at rest, or resets it."""
    info, memory, qm = session.info, image.options.memory, matrix(image, op)
    parts = parts_for(image, op, machine, info.memory_bytes, a)
    result = BoardResult(
        layer=op.name, port=session.port, machine=machine.name, identity=info.identity,
        clock_khz=info.clock_khz, parts=len(parts), memory=memory,
        accumulators=np.zeros((op.m, op.n), dtype=np.int64), golden=mpgemm(a, qm))
    board = BoardBackend(session=session).open(machine, memory, session.watch.note)
    for index, part in enumerate(parts):
        board.label = f"layer {op.name}" + (
            f", part {index + 1} of {len(parts)}" if parts[1:] else "")
        model = run_cycles(machine, part.where.program, memory, part.program)
        found = board.run(part.job(qm, result.golden, model))
        assert found.accumulators is not None
        result.accumulators[part.tokens, part.channels] = found.accumulators[0]
        for name in ("loaded_bytes", "load_seconds", "read_bytes", "read_seconds"):
            setattr(result, name, getattr(result, name) + getattr(found, name))
        for name in COUNTER_NAMES:
            result.counters[name] += found.counters[0][name]
            result.model[name] += model.counters[name]
    return result
