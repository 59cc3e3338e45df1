"""A plug-in: a backend that multiplies in NumPy, and says how many launches it has run."""

import numpy as np

from bitwright.compiler.backends.backend import Outcome, Reports
from bitwright.compiler.backends.registry import BACKENDS


class NumPyExecutor:
    parallel = False

    def __init__(self, machine, say):
        self.machine, self.say, self.launches = machine, say, 0

    def run(self, job):
        self.launches += len(job.programs)
        self.say(f"{self.machine.name}: {self.launches} launches")
        return Outcome(accumulators=[
            product.a.astype(np.int64) @ product.weights().T for product in job.products])


class NumPy:
    name, title = "numpy", "NumPy"
    reports = Reports(cycles=True, results=True)

    def open(self, machine, memory, say):
        return NumPyExecutor(machine, say)


BACKENDS.register(NumPy())
