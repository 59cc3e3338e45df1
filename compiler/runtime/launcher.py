"""The launches of a whole model: every product on the golden model, and on a backend, with totals
by operator.

Products that do not depend on one another share a launch, as far as one program takes them
(:mod:`bitwright.hw.codegen.gemm_chain`). What they take together is not one product's: it counts
for their operators together. A product may also come with launches of its own, one after another.

The model goes on with the golden accumulators. Runs on the backend are started as products come and
end in their own time, two or more at once if it can; each is compared with the golden accumulators
of the same activations. If none differs, a run on the backend alone has the same values throughout:
the first product that differed would have been found.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.backends.backend import Job
from bitwright.compiler.backends.comparison import Compared, Comparison
from bitwright.compiler.backends.jobs import Operands, chain_job, series_job
from bitwright.compiler.runtime.run_layer import backend_of
from bitwright.hw.codegen.gemm_chain import chain_plan, split_chain
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.codegen.launch_programs import Launch
from bitwright.hw.machine.control_interface import COUNTERS, by_engine
from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.weight_image import PackedWeights
from bitwright.hw.tiling.gemm_spec import GemmSpec, PlanError
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import CycleResult, run_cycles
from bitwright.sim.verilator.chain_run import ChainLayout, chain_layout
from bitwright.sim.verilator.series_run import Series, launch_cycles, series
from bitwright.sim.verilator.verilator_build import Say, SimulationError, silent

__all__ = ["Launches", "Product", "Totals"]

Engines = dict[str, dict[str, int]]
Models = tuple[CycleResult, ...]    # of launches in a row
Form = tuple[GemmSpec, str, tuple[Launch, ...]]     # all that a product's programs depend on

LAYOUTS_KEPT = 64   # programs as they are loaded; their cycles are kept for all


def _none() -> Engines:
    return {engine: dict.fromkeys(names, 0) for engine, names in COUNTERS.items()}


@dataclass(frozen=True, kw_only=True)
class Product:
    """One matrix product: ``y`` int64 [m, n] is what it gives for activations ``a``, which are in
    the order of the stored columns. ``packed`` gives the weights, of the datatype or mixture of
    that name, as a plan streams them; ``weights`` gives them as integers [n, k]:
    ``y = a @ weights().T``. ``launches`` take the rows of ``a`` in turn; without any it is planned
    as a whole."""
    operator: str
    name: str
    datatype: str
    spec: GemmSpec
    a: NDArray[np.integer]
    y: NDArray[np.int64]
    packed: Callable[[Plan], PackedWeights]
    weights: Callable[[], NDArray[np.int64]]
    launches: tuple[Launch, ...] = ()

    @property
    def form(self) -> Form:
        return self.spec, self.datatype, self.launches


def _named(products: Sequence[Product]) -> str:
    more = len(products) - 1
    return f"layer {products[0].name}" + (f" and {more} more in its launch" if more else "")


@dataclass(kw_only=True)
class Totals:
    """Sums over products and launches; on the golden model nothing is launched. ``cycles`` and
    ``engines`` (counters by engine) are the cycle model's, those named ``rtl`` what the backend
    measured. ``wrong_bits`` counts bits of accumulators that differ on it, ``wrong_counters``
    launches in which any counter does."""
    products: int = 0
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
        for name in ("products", "launches", "macs", "accumulators", "cycles", "rtl_cycles",
                     "wrong_bits", "wrong_counters"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, others in ((self.engines, other.engines), (self.rtl_engines, other.rtl_engines)):
            for engine, counters in others.items():
                for name, count in counters.items():
                    mine[engine][name] += count

    def to_dict(self, backend: str) -> dict[str, Any]:
        """Return what ``backend`` knows, as JSON values."""
        found: dict[str, Any] = {"products": self.products, "macs": self.macs,
                                 "accumulators": self.accumulators}
        reports = backend_of(backend).reports
        if reports.cycles:
            found |= {"launches": self.launches, "cycles": self.cycles, "engines": self.engines}
        if reports.counters:
            found |= {f"{backend}_cycles": self.rtl_cycles, f"{backend}_engines": self.rtl_engines}
        if reports.results:
            found["mismatching_bits"] = self.wrong_bits
        if reports.counters:
            found["mismatching_counters"] = self.wrong_counters
        return found


class Launches:
    """A context manager; leaving it waits for all runs, unless by an exception.

    Parameters
    ----------
    backend : a name of :data:`bitwright.compiler.backends.registry.BACKENDS`
    workers : jobs that the backend runs at a time, if it can; the processors if left out
    """

    def __init__(self, machine: Machine, backend: str = "golden", memory: Memory = Memory(),
                 say: Say = silent, workers: int | None = None) -> None:
        chosen = backend_of(backend)
        self.machine, self.backend, self.memory = machine, backend, memory
        self.reports = chosen.reports
        self.by_operator: dict[str, Totals] = {}
        self.first_difference: str | None = None
        self.seconds = 0.0  # of the backend, all runs added up
        self._plans: dict[GemmSpec, Plan] = {}
        self._splits: dict[tuple[Form, ...], list[int]] = {}
        self._models: dict[Launch | tuple[Form, ...], CycleResult] = {}
        self._layouts: dict[tuple[Form, ...], ChainLayout | Series] = {}
        self._running: deque[tuple[str, tuple[Product, ...], Future[Comparison]]] = deque()
        self._workers = 1
        self._pool: ThreadPoolExecutor | None = None
        if self.reports.results:
            self._executor = Compared(chosen.open(machine, memory, say), self.reports)
            if self._executor.parallel:
                self._workers = workers or os.cpu_count() or 1
            self._pool = ThreadPoolExecutor(self._workers)

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
        """Return the sums over all operators."""
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
        """Totals, by operator too; the first launch that differed, of a backend that computes."""
        found = {"backend": self.backend, "totals": self.totals.to_dict(self.backend),
                 "operators": {name: part.to_dict(self.backend)
                               for name, part in self.by_operator.items()}}
        return found | ({"first_difference": self.first_difference}
                        if self.reports.results else {})

    def launch(self, *products: Product) -> None:
        """Count ``products``, which do not depend on one another, and run them if that is asked
        for, in as few launches as the machine's buffers allow. Raises :class:`PlanError` for one
        that does not fit the machine, and what an earlier run raised."""
        operators = " + ".join(dict.fromkeys(product.operator for product in products))
        part = self.by_operator.setdefault(operators, Totals())
        for product in products:
            part.add(Totals(products=1, macs=product.spec.macs, accumulators=product.y.size))
        if not self.reports.cycles:
            return
        start = 0
        for count in self._split(products):
            self._launch(operators, products[start:start + count])
            start += count

    def finish(self) -> None:
        """Wait for all runs."""
        while self._running:
            self._collect()

    def model(self, launch: Launch) -> CycleResult:
        """Return the cycle model's result for a launch of a layer."""
        if launch not in self._models:
            self._models[launch] = launch_cycles(launch, self.memory)
        return self._models[launch]

    def _plan(self, product: Product) -> Plan:
        """Return the plan of a product in one launch, with others or alone."""
        spec = product.spec
        if product.launches:
            return chain_plan(product.launches[0].plan)
        if spec not in self._plans:
            try:
                self._plans[spec] = plan_gemm(self.machine, spec)
            except PlanError as error:
                raise PlanError(f"layer {product.name}: {error}") from None
        return self._plans[spec]

    def _split(self, products: tuple[Product, ...]) -> list[int]:
        """Products of each launch. Those that take fewer cycles apart, as buffers are shared out
        evenly, are launched apart."""
        key = tuple(product.form for product in products)
        if key not in self._splits:
            found: list[int] = []
            for many, group in groupby(products, lambda product: len(product.launches) > 1):
                alike = [*group]
                counts = [1] * len(alike) if many else split_chain(
                    [self._plan(product) for product in alike],
                    [product.datatype for product in alike])
                for count in counts:
                    part = products[sum(found):sum(found) + count]
                    apart = sum(self._cycles((product,)) for product in part)
                    found += [1] * count if self._cycles(part) > apart else [count]
            self._splits[key] = found
        return self._splits[key]

    def _cycles(self, products: tuple[Product, ...]) -> int:
        return sum(model.counters["run"] for model in self._layout(products)[1])

    def _launch(self, operators: str, products: tuple[Product, ...]) -> None:
        where, models = self._layout(products)
        for model in models:
            self.by_operator[operators].add(Totals(
                launches=1, cycles=model.counters["run"], engines=model.engines))
        if self._pool is not None:
            while len(self._running) > 2 * self._workers:
                self._collect()
            self._running.append((operators, products, self._pool.submit(
                self._run, products, where, models)))

    def _layout(self, products: tuple[Product, ...]) -> tuple[ChainLayout | Series, Models]:
        """Return the layout of products in one launch, or of one product in launches of its own."""
        key = tuple(product.form for product in products)
        if key not in self._layouts:
            while len(self._layouts) >= LAYOUTS_KEPT:
                del self._layouts[next(iter(self._layouts))]
            own = products[0].launches if len(products) == 1 else ()
            self._layouts[key] = series(own) if own else chain_layout(
                [self._plan(product) for product in products])
        where = self._layouts[key]
        if isinstance(where, Series):
            return where, tuple(map(self.model, where.launches))
        if key not in self._models:
            self._models[key] = run_cycles(self.machine, where.program, self.memory)
        return where, (self._models[key],)

    def _collect(self) -> None:
        """Wait for the earliest run and add it up."""
        operators, products, future = self._running.popleft()
        found = future.result()
        wrong, counters = found.wrong_bits, found.outcome.counters
        if self.first_difference is None and (any(wrong) or found.wrong_counters):
            self.first_difference = next(
                (product.name for product, bits in zip(products, wrong, strict=True) if bits),
                products[0].name)
        self.seconds += found.outcome.seconds
        part = self.by_operator[operators]
        part.add(Totals(wrong_bits=sum(wrong), wrong_counters=found.wrong_counters))
        for one in counters:
            part.add(Totals(rtl_cycles=one["run"], rtl_engines=by_engine(one)))

    def _run(self, products: tuple[Product, ...], where: ChainLayout | Series, models: Models
             ) -> Comparison:
        try:
            return self._executor.run(_job(products, where, models))
        except (PlanError, SimulationError) as error:
            raise type(error)(f"{_named(products)}: {error}") from None


def _job(products: tuple[Product, ...], where: ChainLayout | Series, models: Models) -> Job:
    """What a backend runs; weights are packed here."""
    plans = ([where.launches[0].plan] if isinstance(where, Series) else where.plans)
    operands = [Operands(a=product.a, packed=product.packed(plan), weights=product.weights,
                         golden=product.y)
                for product, plan in zip(products, plans, strict=True)]
    if isinstance(where, Series):
        return series_job(where, operands[0], models)
    return chain_job(where, operands, models[0])
