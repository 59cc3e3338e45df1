"""The backends without a machine: the golden model and the cycle model."""

from bitwright.compiler.backends.backend import Job, Outcome, Reports
from bitwright.hw.machine.description import Machine
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.verilator.verilator_build import Say

__all__ = ["CycleModel", "Golden"]


class _Known:
    """Executor whose results the job holds already."""
    parallel = False

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def run(self, job: Job) -> Outcome:
        if self._reports.cycles:
            return Outcome(counters=tuple(model.counters for model in job.expected))
        return Outcome(accumulators=[product.golden for product in job.products])


class Golden:
    """Exact integers in NumPy; nothing is launched."""
    name = title = "golden"
    reports = Reports()

    def open(self, machine: Machine, memory: Memory, say: Say) -> _Known:
        return _Known(self.reports)


class CycleModel:
    """The cycle model counts every launch; values are the golden model's."""
    name = title = "cycles"
    reports = Reports(cycles=True)

    def open(self, machine: Machine, memory: Memory, say: Say) -> _Known:
        return _Known(self.reports)
