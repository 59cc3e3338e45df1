"""Running one mapped layer: on the golden model, the cycle model, or the RTL in Verilator."""

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.image.file_names import PROGRAM_FILE, WEIGHTS_FILE
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.image.unpacking import unpack_weights
from bitwright.compiler.ir.program import LinearOp
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.isa.program_tree import parse
from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.weight_image import (
    PackedWeights,
    by_column,
    gemm_spec,
    pack_activations,
    unpack_outputs,
)
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.errors import Error
from bitwright.models.inference.golden import mpgemm
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.models.quantization.rounding import quantize_activations
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import CycleResult, run_cycles
from bitwright.sim.performance.gemm_estimate import plan_cycles
from bitwright.sim.verilator.gemm_run import simulate_gemm
from bitwright.sim.verilator.simulator import RunResult, build, memory_image, run
from bitwright.sim.verilator.verilator_build import SimulationError

__all__ = ["BACKENDS", "InputError", "Result", "activations", "as_activations", "bias", "execute",
           "matrix", "random_activations", "stored_weights"]

BACKENDS = ("golden", "cycles", "rtl")


class InputError(Error, ValueError):
    """Activations that do not belong to the layer. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What ``run`` reports; None where a backend does not know. ``engines`` are counters by
    engine, then by source (``rtl``, ``model``)."""
    layer: str
    backend: str
    cycles: int | None = None
    mismatches: int | None = None
    sha256: str | None = None
    model_cycles: int | None = None
    engines: dict[str, dict[str, dict[str, int]]] | None = None
    accumulators: NDArray[np.int64] | None = None

    @property
    def good(self) -> bool:
        """No bit and no counter differs."""
        return not self.mismatches and all(
            source["rtl"] == source["model"] for source in (self.engines or {}).values()
            if "rtl" in source) and self.model_cycles in (None, self.cycles)

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"layer": self.layer, "backend": self.backend,
                                 "cycles": self.cycles, "mismatches": self.mismatches,
                                 "sha256": self.sha256}
        if self.model_cycles is not None:
            found["model_cycles"] = self.model_cycles
        if self.engines is not None:
            found["engines"] = self.engines
        return found


def activations(op: LinearOp, path: Path, bits: int = 8,
                prepare: Callable[[NDArray[np.floating]], NDArray[np.floating]] = lambda x: x
                ) -> NDArray[np.signedinteger]:
    """Activations [m, k] of ``bits`` bits from a ``.npy`` file: int8 and int16 as they are, floats
    quantized per token once ``prepare`` has changed them."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as .npy: {reason}") from None
    if not isinstance(found, np.ndarray):
        found.close()
        raise InputError(f"{path} must be one array in a .npy file")
    return as_activations(op, found, str(path), bits, prepare)[0]


def as_activations(op: LinearOp, found: NDArray[Any], name: str, bits: int = 8,
                   prepare: Callable[[NDArray[np.floating]], NDArray[np.floating]] = lambda x: x
                   ) -> tuple[NDArray[np.signedinteger], NDArray[np.float64] | None]:
    """Return an array as activations [m, k] of ``bits`` bits, and the scale of every token if it
    holds floats. Messages call the array ``name``."""
    if found.ndim != 2 or found.shape[1] != op.k:
        raise InputError(f"{name} must have shape [{op.m}, {op.k}] for layer {op.name}, "
                         f"not {list(found.shape)}")
    if found.shape[0] != op.m:
        raise InputError(f"{name} has {found.shape[0]} tokens, and layer {op.name} was mapped for "
                         f"{op.m}; map again with --tokens {found.shape[0]}")
    if found.dtype in (np.int8, np.int16):
        limit = 1 << bits - 1
        if found.size and not -limit <= found.min() <= found.max() < limit:
            raise InputError(f"{name} must hold values of the machine's {bits} bits, not "
                             f"{found.min()}…{found.max()}")
        return np.array(found), None
    if found.dtype.kind != "f":
        raise InputError(f"{name} must hold int8, int16 or floating point, not {found.dtype}")
    try:
        return quantize_activations(prepare(np.array(found)), bits)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def random_activations(op: LinearOp, seed: int, bits: int = 8) -> NDArray[np.signedinteger]:
    """All values of ``bits`` bits, uniformly; the same for the same seed and shape."""
    rng, limit = np.random.default_rng(seed), 1 << bits - 1
    dtype = np.int8 if bits <= 8 else np.int16
    return rng.integers(-limit, limit, size=(op.m, op.k), dtype=dtype)


def _array(image: Image, address: int, dtype: str, count: int) -> NDArray:
    stored = np.dtype(dtype)
    data = np.frombuffer(image.stored(address, count * stored.itemsize), dtype=stored)
    return data.astype(stored.newbyteorder("="))


def matrix(image: Image, op: LinearOp) -> QuantizedMatrix:
    """The layer's weights, read back from the image."""
    plan, place = op.planned, op.placed
    try:
        return unpack_weights(
            plan, op.chosen, image.stored(place.weights, plan.stored_bytes),
            image.stored(place.scales, plan.scale_bytes),
            _array(image, place.channel_scale, "<f8", op.n), features=op.k,
            columns=None if place.columns is None else _array(
                image, place.columns, "<i4", op.stored_k).astype(np.int64))
    except ValueError as error:
        raise ImageError(f"layer {op.name} in {image.folder}: {error}; map the model again"
                         ) from None


def stored_weights(image: Image, op: LinearOp) -> PackedWeights:
    """The layer's weights as the machine reads them, and what the stored outputs carry too much."""
    plan, place = op.planned, op.placed
    return PackedWeights(weights=image.stored(place.weights, plan.stored_bytes),
                         scales=image.stored(place.scales, plan.scale_bytes),
                         correction=_array(image, place.correction, "<i8", op.n))


def bias(image: Image, op: LinearOp) -> NDArray[np.float32] | None:
    """[n], or None for a layer without one."""
    place = op.placed.bias
    return None if place is None else _array(image, place, "<f4", op.n)


def digest(y: NDArray[np.int64]) -> str:
    """SHA-256 of accumulators as little-endian int64, row-major [m, n]."""
    return hashlib.sha256(np.ascontiguousarray(y, dtype="<i8").tobytes()).hexdigest()


def _rtl(image: Image, op: LinearOp, a: NDArray[np.integer], say: Callable[[str], None]
         ) -> tuple[NDArray[np.int64], RunResult]:
    """``a`` [m, k] by stored column."""
    plan, place, where = op.planned, op.placed, image.memory_map
    memory = memory_image(where.size, (
        (0, (image.folder / PROGRAM_FILE).read_bytes()),
        (where.weights, (image.folder / WEIGHTS_FILE).read_bytes()),
        (place.acts, pack_activations(plan, a))))
    result = run(image.machine, memory, [(place.program, place.instructions)],
                 dump=(place.outputs, plan.out_bytes), memory=image.options.memory,
                 simulator=build(image.machine, say))
    if result.error:
        raise SimulationError(f"the machine stopped in layer {op.name}: {result.error}")
    correction = _array(image, place.correction, "<i8", op.n)
    return unpack_outputs(plan, result.dump, correction), result


def _on_other_elements(image: Image, op: LinearOp, pe: str, backend: str, a: NDArray[np.integer],
                       say: Callable[[str], None]) -> Result:
    """The layer's weights, packed again for elements of another kind."""
    machine, qm = image.machine.with_pe(pe), matrix(image, op)
    try:
        return _repacked(machine, qm, image.options.memory, op, backend, a, say)
    except PlanError as error:
        raise PlanError(f"layer {op.name}: {error}") from None


def _repacked(machine: Machine, qm: QuantizedMatrix, memory: Memory, op: LinearOp, backend: str,
              a: NDArray[np.integer], say: Callable[[str], None]) -> Result:
    if backend == "cycles":
        plan = plan_gemm(machine, gemm_spec(machine, op.m, qm))
        model = plan_cycles(plan, memory)
        return Result(layer=op.name, backend=backend, cycles=model.counters["run"],
                      engines={name: {"model": counters}
                               for name, counters in model.engines.items()})
    found = simulate_gemm(machine, qm, a, memory, say)
    return _compared(op, backend, found.y, mpgemm(a, qm), found.rtl, found.model)


def _compared(op: LinearOp, backend: str, y: NDArray[np.int64], golden: NDArray[np.int64],
              rtl: RunResult, model: CycleResult) -> Result:
    return Result(
        layer=op.name, backend=backend, cycles=rtl.counters["run"], sha256=digest(y),
        mismatches=int((y != golden).sum()), model_cycles=model.counters["run"], accumulators=y,
        engines={name: {"rtl": counters, "model": model.engines[name]}
                 for name, counters in rtl.engines.items()})


def execute(image: Image, op: LinearOp, backend: str, a: NDArray[np.integer],
            say: Callable[[str], None] = lambda text: None, pe: str | None = None) -> Result:
    """Run activations ``a`` [m, k] through a layer. ``rtl`` compares every accumulator with the
    golden model and every counter with the cycle model. With ``pe`` of another kind than the
    image's, weights are packed again for such elements."""
    if backend not in BACKENDS:
        raise InputError(f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}")
    if backend == "golden":
        y = mpgemm(a, matrix(image, op))
        return Result(layer=op.name, backend=backend, mismatches=0, sha256=digest(y),
                      accumulators=y)
    if pe is not None and pe != image.machine.pe:
        return _on_other_elements(image, op, pe, backend, a, say)
    model = run_cycles(image.machine, parse(image.code(op)), image.options.memory,
                       op.placed.program)
    if backend == "cycles":
        return Result(layer=op.name, backend=backend, cycles=model.counters["run"],
                      engines={name: {"model": counters}
                               for name, counters in model.engines.items()})
    qm = matrix(image, op)
    y, measured = _rtl(image, op, by_column(qm, a), say)
    return _compared(op, backend, y, mpgemm(a, qm), measured, model)
