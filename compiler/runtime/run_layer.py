"""Running one mapped layer: on the golden model, the cycle model, or the RTL in Verilator."""

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.backends.backend import Backend, Gemm, Job, Output
from bitwright.compiler.backends.comparison import Compared
from bitwright.compiler.backends.jobs import Operands, layout_job
from bitwright.compiler.backends.registry import BACKENDS
from bitwright.compiler.image.file_names import PROGRAM_FILE, WEIGHTS_FILE
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.image.unpacking import unpack_weights
from bitwright.compiler.ir.program import LinearOp
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.codegen.standalone_layout import layout
from bitwright.hw.isa.program_tree import parse
from bitwright.hw.machine.control_interface import by_engine
from bitwright.hw.packing.weight_image import (
    PackedWeights,
    by_column,
    gemm_spec,
    pack_activations,
    pack_weights,
)
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.errors import Error
from bitwright.models.inference.golden import mpgemm
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.models.quantization.rounding import quantize_activations
from bitwright.sim.cycle_model.model import CycleResult, run_cycles
from bitwright.sim.performance.gemm_estimate import plan_cycles
from bitwright.sim.verilator.verilator_build import Say, SimulationError, silent

__all__ = ["InputError", "Result", "activations", "as_activations", "backend_of", "bias",
           "execute", "matrix", "operands", "random_activations", "stored_weights"]


class InputError(Error, ValueError):
    """Activations that do not belong to the layer. One line, for people."""


def backend_of(name: str) -> Backend:
    """Return the backend called ``name``. Raises :class:`InputError`."""
    if name not in BACKENDS:
        raise InputError(f"backend must be one of {', '.join(BACKENDS)}, not {name!r}")
    return BACKENDS[name]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of ``run``; None where a backend does not know. ``engines`` are counters by
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
            source[self.backend] == source["model"] for source in (self.engines or {}).values()
            if self.backend in source) and self.model_cycles in (None, self.cycles)

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


def operands(qm: QuantizedMatrix, packed: PackedWeights, a: NDArray[np.integer]) -> Operands:
    """A product's operands for backends; ``a`` is [m, features]."""
    columns = by_column(qm, a)
    return Operands(a=columns, packed=packed, golden=mpgemm(a, qm),
                    weights=lambda: qm.effective[:, :columns.shape[1]])


def _image_job(image: Image, op: LinearOp, a: NDArray[np.integer]) -> Job:
    """The layer where the image has it."""
    plan, place, where = op.planned, op.placed, image.memory_map
    packed = stored_weights(image, op)
    found = operands(matrix(image, op), packed, a)
    return Job(
        machine=image.machine, memory_bytes=where.size,
        programs=((place.program, place.instructions),),
        contents=((0, (image.folder / PROGRAM_FILE).read_bytes()),
                  (where.weights, (image.folder / WEIGHTS_FILE).read_bytes()),
                  (place.acts, pack_activations(plan, found.a))),
        products=(Gemm(a=found.a, weights=found.weights, golden=found.golden, outputs=(
            Output(address=place.outputs, plan=plan, correction=packed.correction),)),),
        expected=(run_cycles(image.machine, parse(image.code(op)), image.options.memory,
                             place.program),))


def _repacked_job(image: Image, op: LinearOp, pe: str, a: NDArray[np.integer]) -> Job:
    """The layer packed again for elements of another kind."""
    machine, qm = image.machine.with_pe(pe), matrix(image, op)
    try:
        where = layout(plan_gemm(machine, gemm_spec(machine, op.m, qm)))
        return layout_job(where, operands(qm, pack_weights(where.plan, qm), a),
                          run_cycles(machine, where.program, image.options.memory))
    except PlanError as error:
        raise PlanError(f"layer {op.name}: {error}") from None


def _counted(op: LinearOp, backend: str, model: CycleResult) -> Result:
    """What the cycle model says."""
    return Result(layer=op.name, backend=backend, cycles=model.counters["run"],
                  engines={name: {"model": counters} for name, counters in model.engines.items()})


def _model(image: Image, op: LinearOp, pe: str | None) -> CycleResult:
    """The cycle model's counters, for which nothing is packed."""
    if pe is None or pe == image.machine.pe:
        return run_cycles(image.machine, parse(image.code(op)), image.options.memory,
                          op.placed.program)
    machine = image.machine.with_pe(pe)
    try:
        return plan_cycles(plan_gemm(machine, gemm_spec(machine, op.m, matrix(image, op))),
                           image.options.memory)
    except PlanError as error:
        raise PlanError(f"layer {op.name}: {error}") from None


def execute(image: Image, op: LinearOp, backend: str, a: NDArray[np.integer],
            say: Say = silent, pe: str | None = None) -> Result:
    """Run activations ``a`` [m, k] through a layer. A backend that computes is compared with the
    golden model, and one that counts with the cycle model. With ``pe`` of another kind than the
    image's, weights are packed again for such elements."""
    chosen = backend_of(backend)
    if not chosen.reports.cycles:
        y = mpgemm(a, matrix(image, op))
        return Result(layer=op.name, backend=backend, mismatches=0, sha256=digest(y),
                      accumulators=y)
    if not chosen.reports.results:
        return _counted(op, backend, _model(image, op, pe))
    job = (_image_job(image, op, a) if pe is None or pe == image.machine.pe else
           _repacked_job(image, op, pe, a))
    executor = chosen.open(job.machine, image.options.memory, say)
    try:
        found = Compared(executor, chosen.reports).run(job)
    except SimulationError as error:
        raise SimulationError(f"layer {op.name}: {error}") from None
    y = job.products[0].golden if found.outcome.accumulators is None else (
        found.outcome.accumulators[0])
    result = Result(layer=op.name, backend=backend, sha256=digest(y), accumulators=y,
                    mismatches=sum(found.wrong_values))
    if not found.outcome.counters:
        return result
    (counters,), (model,) = found.outcome.counters, job.expected
    return replace(
        result, cycles=counters["run"], model_cycles=model.counters["run"],
        engines={name: {backend: measured, "model": model.engines[name]}
                 for name, measured in by_engine(counters).items()})
