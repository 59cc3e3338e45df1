"""The passes, in order. Each is a function from program to program in a file of its own.

Shapes are settled before weights are touched: a model that does not fit is refused at once, and
weights then stream through quantization into the image one layer at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from compiler.graph import Program
from compiler.passes import allocate, choose, emit, quantize, read, report, tile
from compiler.passes.session import Session

__all__ = ["PASSES", "Pass", "Session", "run_passes"]


class PassFunction(Protocol):
    def __call__(self, program: Program, session: Session, /) -> Program: ...


@dataclass(frozen=True)
class Pass:
    """``run`` returns a new program; ``verify`` raises ``VerifyError`` if it contradicts itself,
    and holds after every later pass too."""
    name: str
    run: PassFunction
    verify: Callable[[Program, Session], None]


PASSES: tuple[Pass, ...] = tuple(Pass(name, module.run, module.verify) for name, module in (
    ("read", read), ("choose", choose), ("tile", tile), ("allocate", allocate),
    ("quantize", quantize), ("emit", emit), ("report", report)))


def run_passes(program: Program, session: Session,
               after: Callable[[str, Program], None] = lambda name, program: None) -> Program:
    """Run every pass; after each, verify what all so far promise, then call ``after``."""
    for index, step in enumerate(PASSES):
        program = step.run(program, session)
        program.verify()
        for done in PASSES[:index + 1]:
            done.verify(program, session)
        after(step.name, program)
    return program
