"""Describes one proof: a circuit with assumptions and assertions, and the method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.back import rtlil

__all__ = ["Proof"]

# Memories become registers: a handful of words is quicker bit by bit than as solver arrays.
SCRIPT = """\
read_rtlil top.il
hierarchy -top top
{free}prep -flatten -top top
memory_map
opt -fast
"""
# Registers and memories below the unit start with any contents.
FREE = """\
setattr -unset init top.dut/w:* top.dut.*/w:*
delete top.dut/t:$meminit* top.dut.*/t:$meminit*
"""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A named property.

    Parameters
    ----------
    name : unique, for the command line
    text : one sentence: what is proven
    build : makes the wrapper, a ``Module`` whose ``Assert`` statements are the property
    induction : unbounded, by k-induction over ``depth`` cycles; else every run of ``depth``
        cycles from the initial state
    depth : cycles
    any_state : whether the submodule ``dut`` starts in any state instead of the reset one
    solver : line of the engine
    """
    name: str
    text: str
    build: Callable[[], Any]
    depth: int
    induction: bool = False
    any_state: bool = False
    solver: str = "smtbmc z3"

    @property
    def method(self) -> str:
        return "induction" if self.induction else "bounded"

    def rtlil(self) -> str:
        return str(rtlil.convert(self.build(), name="top", ports=[], emit_src=False))

    def sby(self) -> str:
        """The job file of SymbiYosys; it reads ``top.il`` beside it."""
        mode = "prove" if self.induction else "bmc"
        return (f"[options]\nmode {mode}\ndepth {self.depth}\n\n[engines]\n{self.solver}\n\n"
                f"[script]\n{SCRIPT.format(free=FREE if self.any_state else '')}\n"
                "[files]\ntop.il\n")
