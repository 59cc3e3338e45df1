"""The protocol of a backend: it opens an executor, which runs jobs and returns outcomes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.weight_image import unpack_outputs
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import CycleResult
from bitwright.sim.verilator.verilator_build import Say

__all__ = ["Backend", "Executor", "Gemm", "Job", "Outcome", "Output", "Reports"]

Counters = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Reports:
    """What a backend knows.

    ``cycles``: products are planned and launched, and the cycle model counts them.
    ``results``: every launch runs, and its accumulators are compared with the golden model's.
    ``counters``: its counters are compared with the cycle model's.
    """
    cycles: bool = False
    results: bool = False
    counters: bool = False


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the accumulators of some rows of a product are written, and how they are stored."""
    address: int
    plan: Plan
    correction: NDArray[np.int64]       # [n], which the stored accumulators hold too much

    def unpack(self, data: bytes) -> NDArray[np.int64]:
        """Read accumulators [m, n] from ``plan.out_bytes`` bytes."""
        return unpack_outputs(self.plan, data, self.correction)


@dataclass(frozen=True, kw_only=True)
class Gemm:
    """One matrix product ``golden = a @ weights().T``, exact in integers.

    ``a`` is [m, k], ``weights()`` int64 [n, k] with all scales applied, ``golden`` int64 [m, n].
    ``outputs`` have the rows of ``a`` in order.
    """
    a: NDArray[np.integer]
    weights: Callable[[], NDArray[np.int64]]
    golden: NDArray[np.int64]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a machine runs at a time: programs in a row over one memory.

    ``memory_bytes`` of memory hold ``contents`` (address and bytes) and zeros elsewhere.
    ``programs`` are the address and the number of instructions of each. ``expected`` is what the
    cycle model says of each.
    """
    machine: Machine
    memory_bytes: int
    contents: tuple[tuple[int, bytes], ...]
    programs: tuple[tuple[int, int], ...]
    products: tuple[Gemm, ...]
    expected: tuple[CycleResult, ...]

    def accumulators(self, read: Callable[[int, int], bytes]) -> list[NDArray[np.int64]]:
        """Accumulators of every product; ``read`` returns memory by address and size."""
        return [np.concatenate([output.unpack(read(output.address, output.plan.out_bytes))
                                for output in product.outputs]) for product in self.products]

    @property
    def most_cycles(self) -> int:
        """Cycles after which the programs count as stuck."""
        return sum(2 * model.counters["total"] + 1000 for model in self.expected)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a job: ``accumulators`` int64 [m, n] of every product, None where the backend
    computes none; ``counters`` by name of every program, empty where it counts nothing; the
    ``seconds`` that it ran."""
    accumulators: list[NDArray[np.int64]] | None = None
    counters: tuple[Counters, ...] = field(default=())
    seconds: float = 0.0


class Executor(Protocol):
    """A machine that is ready to run jobs."""

    #: Whether :meth:`run` may be called by several threads at a time.
    parallel: bool

    def run(self, job: Job) -> Outcome:
        """Run a job. Raises a :class:`bitwright.Error` in one line for one that does not end."""
        ...


class Backend(Protocol):
    """Something that launches run on. Register one with
    :data:`bitwright.compiler.backends.registry.BACKENDS`."""

    @property
    def name(self) -> str:
        """What ``--backend`` takes; measured figures carry it too."""
        ...

    @property
    def title(self) -> str:
        """How tables call it."""
        ...

    @property
    def reports(self) -> Reports:
        """What the backend knows."""
        ...

    def open(self, machine: Machine, memory: Memory, say: Say) -> Executor:
        """Get ready for jobs of ``machine``, whose memory has the times ``memory``."""
        ...
