"""The backend that runs jobs on a board, over its link."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from bitwright.compiler.backends.backend import Job, Outcome, Reports
from bitwright.fpga.link.driver import Board
from bitwright.fpga.link.frames import Info
from bitwright.hw.machine.control_interface import COUNTER_NAMES, Control, Registers, Status
from bitwright.hw.machine.description import Machine
from bitwright.models.errors import Error
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.verilator.verilator_build import Say

__all__ = ["BoardBackend", "BoardExecutor", "BoardOutcome", "BoardSession", "HostError", "Watch"]

RESET_POLLS = 200
POLL_SECONDS = 0.002
SLACK = 1_000_000       # cycles beyond several times the model's before a machine counts as stuck


class HostError(Error, RuntimeError):
    """The layer cannot run on this board, or the machine stopped. One line, for people."""


class Watch:
    """Receives the progress of a run; this one is silent."""

    def begin(self, what: str, total: int) -> None:
        """A transfer of ``total`` bytes begins."""

    def moved(self, done: int) -> None:
        """So many bytes of it are done."""

    def end(self, total: int, seconds: float) -> None:
        """It has ended."""

    def note(self, text: str) -> None:
        """Something that the user should know of."""


@dataclass(frozen=True, kw_only=True)
class BoardSession:
    """A board that has said what it holds (``info``), on the serial port ``port``. ``watch`` shows
    transfers and prints notes."""
    link: Board
    info: Info
    port: str
    watch: Watch = field(default_factory=Watch)


@dataclass(frozen=True, kw_only=True)
class BoardOutcome(Outcome):
    """An outcome, and what went over the link for it."""
    loaded_bytes: int = 0
    load_seconds: float = 0.0
    read_bytes: int = 0
    read_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class BoardBackend:
    """A board's machine. Its accumulators are compared; its counters are not, for its memory is
    another than the cycle model's."""
    session: BoardSession
    name = title = "board"
    reports = Reports(cycles=True, results=True)

    def open(self, machine: Machine, memory: Memory, say: Say) -> "BoardExecutor":
        """Bring the machine to rest. Raises :class:`HostError`, and
        :class:`~bitwright.fpga.link.driver.LinkError` if the board cannot be reached."""
        executor = BoardExecutor(self.session)
        if self.session.link.read_register(Registers.STATUS) & ~Status.DONE:
            say("the machine was not at rest and is reset")
            executor.reset()
        return executor


class BoardExecutor:
    """Loads a job, starts its programs, waits, and reads accumulators and counters back.

    ``label`` names the job in messages. What a job before has left in memory at the same place is
    not loaded again, but for programs and activations.
    """
    parallel = False

    def __init__(self, session: BoardSession) -> None:
        self._session, self._link = session, session.link
        self._before: Job | None = None
        self.label = "job"

    def run(self, job: Job) -> BoardOutcome:
        watch, missing = self._session.watch, self._missing(job)
        self._before = None         # of unknown content, should loading fail
        load_seconds = self._load(missing)
        started = time.perf_counter()
        counters = tuple(self.execute(program, length, model.counters["total"])
                         for (program, length), model in zip(job.programs, job.expected,
                                                             strict=True))
        seconds, begun = time.perf_counter() - started, time.perf_counter()
        size = sum(output.plan.out_bytes for product in job.products for output in product.outputs)
        watch.begin(f"{self.label}: reading", size)
        done = 0

        def read(address: int, count: int) -> bytes:
            nonlocal done
            data = self._link.read(address, count, partial(self._moved, done))
            done += count
            return data

        found = job.accumulators(read)
        read_seconds = time.perf_counter() - begun
        watch.end(size, read_seconds)
        self._before = job
        return BoardOutcome(
            accumulators=found, counters=counters, seconds=seconds, load_seconds=load_seconds,
            loaded_bytes=sum(len(data) for _, data in missing), read_bytes=size,
            read_seconds=read_seconds)

    def reset(self) -> None:
        """Bring the machine back to rest, whatever a run before has left."""
        self._link.write_register(Registers.CONTROL, Control.RESET)
        for _ in range(RESET_POLLS):
            if not self._link.read_register(Registers.STATUS):
                return
            time.sleep(POLL_SECONDS)
        raise HostError("the machine on the board does not reset: load its bitstream again")

    def execute(self, program: int, length: int, expected: int) -> dict[str, int]:
        """Start a program of ``length`` instructions and wait for its end; counters by name."""
        link, what = self._link, self.label
        link.write_register(Registers.PROGRAM, program)
        link.write_register(Registers.LENGTH, length)
        link.write_register(Registers.CONTROL, Control.START)
        limit = min(8 * expected + SLACK, (1 << 32) - 1)
        while (status := link.read_register(Registers.STATUS)) & Status.BUSY:
            if (cycles := link.read_register(Registers.COUNTERS)) > limit:
                self.reset()
                raise HostError(f"{what}: the machine is still busy after {cycles:,} cycles, and "
                                f"the cycle model expects {expected:,}; it was reset")
            time.sleep(POLL_SECONDS)
        if status & Status.ERROR:
            code = status >> 8 & 15
            self.reset()
            raise HostError(f"{what}: the machine stopped: "
                            f"{Status.codes.get(code, f'code {code}')}; it was reset")
        if not status & Status.DONE:
            raise HostError(f"{what}: the machine was reset while it ran: close the other program "
                            "that uses the board, or check the power")
        return {name: link.read_register(Registers.COUNTERS + 4 * index)
                for index, name in enumerate(COUNTER_NAMES)}

    def _missing(self, job: Job) -> list[tuple[int, bytes]]:
        """The contents that memory does not hold."""
        before = self._before
        if before is None or _places(before) != _places(job):
            return list(job.contents)
        return [(address, data) for (address, data), (_, there) in zip(
            job.contents, before.contents, strict=True) if data is not there]

    def _load(self, contents: Sequence[tuple[int, bytes]]) -> float:
        """Write memory; the seconds it took."""
        watch, total, before = self._session.watch, sum(len(data) for _, data in contents), 0
        started = time.perf_counter()
        watch.begin(f"{self.label}: loading", total)
        for address, data in contents:
            self._link.write(address, data, partial(self._moved, before))
            before += len(data)
        seconds = time.perf_counter() - started
        watch.end(total, seconds)
        return seconds

    def _moved(self, before: int, done: int, _: int) -> None:
        self._session.watch.moved(before + done)


def _places(job: Job) -> tuple[object, ...]:
    """Where a job's contents and outputs lie."""
    return (*(address for address, _ in job.contents), job.programs[0][0],
            *(output.address for product in job.products for output in product.outputs))
