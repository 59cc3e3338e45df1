"""Compares what a backend measured with the golden model and the cycle model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.backends.backend import Counters, Executor, Job, Outcome, Reports

__all__ = ["Compared", "Comparison"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An outcome with its differences: ``wrong_bits`` of every product's accumulators,
    ``wrong_values`` likewise, and ``wrong_counters``, programs of which any counter differs."""
    outcome: Outcome
    wrong_bits: tuple[int, ...]
    wrong_values: tuple[int, ...]
    wrong_counters: int


class Compared:
    """An executor that compares every job's accumulators with the golden model's, and counters with
    the cycle model's where the backend reports them."""

    def __init__(self, executor: Executor, reports: Reports) -> None:
        self._executor, self._reports = executor, reports
        self.parallel = executor.parallel

    def run(self, job: Job) -> Comparison:
        outcome = self._executor.run(job)
        golden = [product.golden for product in job.products]
        found = golden if outcome.accumulators is None else outcome.accumulators
        return Comparison(
            outcome=outcome, wrong_bits=_counted(found, golden, bits=True),
            wrong_values=_counted(found, golden, bits=False),
            wrong_counters=self._differ(job, outcome.counters))

    def _differ(self, job: Job, counters: tuple[Counters, ...]) -> int:
        if not self._reports.counters:
            return 0
        return sum(one != model.counters for one, model in zip(counters, job.expected, strict=True))


def _counted(found: Sequence[NDArray[np.int64]], golden: Sequence[NDArray[np.int64]], *, bits: bool
             ) -> tuple[int, ...]:
    return tuple(int(np.bitwise_count(y ^ other).sum() if bits else (y != other).sum())
                 for y, other in zip(found, golden, strict=True))
