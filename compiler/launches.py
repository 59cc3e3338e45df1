"""The launches of a whole model: every product on the golden model, and beside it the cycle model
or the RTL, with totals by operator.

The model goes on with the golden accumulators. RTL runs are started as products come and end in
their own time, two or more at once; each is compared with the golden accumulators of the same
activations. If none differs, a run on the RTL alone has the same values throughout: the first
product that differed would have been found.
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from compiler.execute import BACKENDS, InputError
from hw.config import Machine
from hw.control import COUNTERS
from hw.kernel import plan_gemm
from hw.pack import PackedWeights
from hw.plan import GemmSpec, Plan, PlanError
from sim.cycles import CycleResult, run_cycles
from sim.gemm import Layout, layout, run_gemm
from sim.memory import Memory
from sim.verilated import RunResult, Say, SimulationError, build, silent

__all__ = ["Launches", "Product", "Totals"]

Engines = dict[str, dict[str, int]]
Simulated = tuple[NDArray[np.int64], RunResult, CycleResult]

LAYOUTS_KEPT = 64   # programs as they are loaded; their cycles are kept for all


def _none() -> Engines:
    return {engine: dict.fromkeys(names, 0) for engine, names in COUNTERS.items()}


@dataclass(frozen=True, kw_only=True)
class Product:
    """One matrix product: ``y`` int64 [m, n] is what it gives for activations ``a``, which are in
    the order of the stored columns. ``packed`` gives the weights as a plan streams them."""
    operator: str
    name: str
    spec: GemmSpec
    a: NDArray[np.integer]
    y: NDArray[np.int64]
    packed: Callable[[Plan], PackedWeights]


@dataclass(kw_only=True)
class Totals:
    """Sums over launches. ``cycles`` and ``engines`` (counters by engine) are the cycle model's,
    those named ``rtl`` the RTL's. ``wrong_bits`` counts bits of accumulators that differ on the
    RTL, ``wrong_counters`` launches in which any counter does."""
    launches: int = 0
    macs: int = 0
    accumulators: int = 0
    cycles: int = 0
    rtl_cycles: int = 0
    wrong_bits: int = 0
    wrong_counters: int = 0
    engines: Engines = field(default_factory=_none)
    rtl_engines: Engines = field(default_factory=_none)

    def add(self, other: "Totals") -> None:
        for name in ("launches", "macs", "accumulators", "cycles", "rtl_cycles", "wrong_bits",
                     "wrong_counters"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, others in ((self.engines, other.engines), (self.rtl_engines, other.rtl_engines)):
            for engine, counters in others.items():
                for name, count in counters.items():
                    mine[engine][name] += count

    def to_dict(self, backend: str) -> dict[str, Any]:
        """What ``backend`` knows."""
        found: dict[str, Any] = {"launches": self.launches, "macs": self.macs,
                                 "accumulators": self.accumulators}
        if backend != "golden":
            found |= {"cycles": self.cycles, "engines": self.engines}
        if backend == "rtl":
            found |= {"rtl_cycles": self.rtl_cycles, "rtl_engines": self.rtl_engines,
                      "mismatching_bits": self.wrong_bits,
                      "mismatching_counters": self.wrong_counters}
        return found


class Launches:
    """A context manager; leaving it waits for the RTL, unless by an exception.

    Parameters
    ----------
    backend : golden; cycles, which adds the cycle model's counters; rtl, which runs every product
        on the RTL too
    workers : RTL runs at a time; the machine's processors if left out
    """

    def __init__(self, machine: Machine, backend: str = "golden", memory: Memory = Memory(),
                 say: Say = silent, workers: int | None = None) -> None:
        if backend not in BACKENDS:
            raise InputError(f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}")
        self.machine, self.backend, self.memory = machine, backend, memory
        self.by_operator: dict[str, Totals] = {}
        self.first_difference: str | None = None
        self.seconds = 0.0  # of the RTL simulator, all runs added up
        self._plans: dict[GemmSpec, tuple[Plan, CycleResult]] = {}
        self._layouts: dict[GemmSpec, Layout] = {}
        self._running: deque[tuple[Product, Future[Simulated]]] = deque()
        self._workers = workers or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._workers) if backend == "rtl" else None
        if backend == "rtl":
            build(machine, say)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)

    @property
    def totals(self) -> Totals:
        """Of all operators."""
        total = Totals()
        for part in self.by_operator.values():
            total.add(part)
        return total

    @property
    def good(self) -> bool:
        """No bit and no counter differs."""
        total = self.totals
        return not total.wrong_bits and not total.wrong_counters

    def to_dict(self) -> dict[str, Any]:
        """Totals, by operator too; on the RTL the first launch that differed, if any did."""
        found = {"backend": self.backend, "totals": self.totals.to_dict(self.backend),
                 "operators": {name: part.to_dict(self.backend)
                               for name, part in self.by_operator.items()}}
        return found | ({"first_difference": self.first_difference}
                        if self.backend == "rtl" else {})

    def launch(self, product: Product) -> None:
        """Count ``product``, and run it if that is asked for. Raises :class:`PlanError` for one
        that does not fit the machine, and what an earlier RTL run raised."""
        part = self.by_operator.setdefault(product.operator, Totals())
        part.add(Totals(launches=1, macs=product.spec.macs, accumulators=product.y.size))
        if self.backend == "golden":
            return
        where = self._layout(product)
        model = self._plans[product.spec][1]
        part.add(Totals(cycles=model.counters["run"], engines=model.engines))
        if self._pool is not None:
            while len(self._running) > 2 * self._workers:
                self._collect()
            future = self._pool.submit(self._simulate, product, where, model)
            self._running.append((product, future))

    def finish(self) -> None:
        """Wait for all RTL runs."""
        while self._running:
            self._collect()

    def _layout(self, product: Product) -> Layout:
        spec = product.spec
        try:
            plan = self._plans[spec][0] if spec in self._plans else plan_gemm(self.machine, spec)
        except PlanError as error:
            raise PlanError(f"layer {product.name}: {error}") from None
        if spec not in self._layouts:
            while len(self._layouts) >= LAYOUTS_KEPT:
                del self._layouts[next(iter(self._layouts))]
            self._layouts[spec] = layout(plan)
        where = self._layouts[spec]
        if spec not in self._plans:
            self._plans[spec] = plan, run_cycles(self.machine, where.program, self.memory)
        return where

    def _collect(self) -> None:
        """Wait for the earliest RTL run and add it up."""
        product, future = self._running.popleft()
        y, rtl, model = future.result()
        wrong, same = int(np.bitwise_count(y ^ product.y).sum()), rtl.counters == model.counters
        if self.first_difference is None and (wrong or not same):
            self.first_difference = product.name
        self.seconds += rtl.seconds
        self.by_operator[product.operator].add(Totals(
            rtl_cycles=rtl.counters["run"], wrong_bits=wrong, wrong_counters=int(not same),
            rtl_engines=rtl.engines))

    def _simulate(self, product: Product, where: Layout, model: CycleResult) -> Simulated:
        try:
            y, rtl = run_gemm(where, product.packed(where.plan), product.a, self.memory,
                              max_cycles=2 * model.counters["total"] + 1000)
        except (PlanError, SimulationError) as error:
            raise type(error)(f"layer {product.name}: {error}") from None
        return y, rtl, model
