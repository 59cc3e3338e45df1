"""The backend that simulates the machine's Verilog with Verilator."""

from pathlib import Path

from bitwright.compiler.backends.backend import Job, Outcome, Reports
from bitwright.hw.machine.description import Machine
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.verilator.simulator import build, memory_image, run
from bitwright.sim.verilator.verilator_build import Say, SimulationError

__all__ = ["Rtl", "RtlExecutor"]


class RtlExecutor:
    """A compiled simulator, which runs one job per process."""
    parallel = True

    def __init__(self, program: Path, memory: Memory) -> None:
        self._program, self._memory = program, memory

    def run(self, job: Job) -> Outcome:
        outputs = [output for product in job.products for output in product.outputs]
        start = min(output.address for output in outputs)
        end = max(output.address + output.plan.out_bytes for output in outputs)
        found = run(job.machine, memory_image(job.memory_bytes, job.contents), job.programs,
                    dump=(start, end - start), memory=self._memory, max_cycles=job.most_cycles,
                    simulator=self._program)
        if found.error:
            raise SimulationError(f"the machine stopped: {found.error}")
        return Outcome(
            accumulators=job.accumulators(
                lambda address, size: found.dump[address - start:address - start + size]),
            counters=(found.counters, *found.then), seconds=found.seconds)


class Rtl:
    """The RTL in Verilator: every accumulator and every counter is compared."""
    name, title = "rtl", "RTL"
    reports = Reports(cycles=True, results=True, counters=True)

    def open(self, machine: Machine, memory: Memory, say: Say) -> RtlExecutor:
        return RtlExecutor(build(machine, say), memory)
