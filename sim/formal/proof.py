"""One proof: a circuit with assumptions and assertions, and how it is to be proven."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.back import rtlil

__all__ = ["Proof"]

TOP = "top"

# Memories become registers: a handful of words is quicker bit by bit than as solver arrays.
SCRIPT = """\
read_rtlil top.il
hierarchy -top top
{free}prep -flatten -top top
{memory}opt -fast
"""
# Registers and memories below the named submodule start with any contents.
FREE = """\
setattr -unset init top.{name}/w:* top.{name}.*/w:*
delete top.{name}/t:$meminit* top.{name}.*/t:$meminit*
"""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A named property.

    Parameters
    ----------
    name : unique, for the command line
    text : one sentence: what is proven
    build : makes the wrapper, an elaboratable whose ``Assert`` statements are the property
    induction : unbounded, by k-induction over ``depth`` cycles; else every run of ``depth``
        cycles from the initial state
    depth : cycles
    any_state : whether the submodule ``dut`` starts in any state instead of the reset one
    """
    name: str
    text: str
    build: Callable[[], Any]
    depth: int
    induction: bool = False
    any_state: bool = False
    options: str = ""
    engine: str = __import__("os").environ.get("ENG","smtbmc z3")

    @property
    def method(self) -> str:
        return "induction" if self.induction else "bounded"

    def rtlil(self) -> str:
        return str(rtlil.convert(self.build(), name=TOP, ports=[], emit_src=False))

    def sby(self) -> str:
        """The job file of SymbiYosys; it reads ``top.il`` beside it."""
        mode = "prove" if self.induction else "bmc"
        free = FREE.format(name=f"{TOP}.dut"[4:]) if self.any_state else ""
        return (f"[options]\nmode {mode}\ndepth {self.depth}\n{self.options}\n"
                f"[engines]\n{self.engine}\n\n"
                f"[script]\n{SCRIPT.format(free=free, memory=__import__('os').environ.get('MM','memory_map')+chr(10))}\n[files]\ntop.il\n")
