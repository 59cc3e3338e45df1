"""Lists the passes in order and runs them. Each is a file with ``run`` and ``verify``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from bitwright.compiler.ir.program import Program
from bitwright.compiler.passes import (
    allocate_memory,
    allocate_per_layer,
    build_graph,
    choose_datatypes,
    emit_programs,
    estimate_cost,
    quantize,
    tile,
)
from bitwright.compiler.passes.session import Progress, Session

__all__ = ["PASSES", "SHAPE_PASSES", "Pass", "run_passes", "run_shape_passes"]

S = TypeVar("S", bound=Progress)
S_contra = TypeVar("S_contra", bound=Progress, contravariant=True)
After = Callable[[str, Program], None]


class PassFunction(Protocol[S_contra]):
    def __call__(self, program: Program, session: S_contra, /) -> Program: ...


@dataclass(frozen=True)
class Pass(Generic[S]):
    """``run`` returns a new program; ``verify`` raises ``VerifyError`` if it contradicts itself,
    and holds after every later pass too."""
    name: str
    run: PassFunction[S]
    verify: Callable[[Program, S], None]


PASSES: tuple[Pass[Session], ...] = tuple(
    Pass(name, module.run, module.verify) for name, module in (
        ("read", build_graph), ("choose", choose_datatypes), ("tile", tile),
        ("allocate", allocate_memory), ("quantize", quantize), ("emit", emit_programs),
        ("report", estimate_cost)))
SHAPE_PASSES: tuple[Pass[Progress], ...] = tuple(
    Pass(name, module.run, module.verify) for name, module in (
        ("choose", choose_datatypes), ("tile", tile), ("place", allocate_per_layer),
        ("report", estimate_cost)))


def _run(steps: tuple[Pass[S], ...], program: Program, session: S, after: After) -> Program:
    for index, step in enumerate(steps):
        program = step.run(program, session)
        program.verify()
        for done in steps[:index + 1]:
            done.verify(program, session)
        after(step.name, program)
    return program


def run_passes(program: Program, session: Session,
               after: After = lambda name, program: None) -> Program:
    """Run every pass; after each, verify what all so far promise, then call ``after``."""
    return _run(PASSES, program, session, after)


def run_shape_passes(program: Program, session: Progress) -> Program:
    """Run the passes that need no weights on a program whose graph is there already."""
    return _run(SHAPE_PASSES, program, session, lambda name, program: None)
