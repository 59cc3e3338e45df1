"""Resets near what they reset."""

from amaranth import *

__all__ = ["later_reset"]


def later_reset(m, name, reset=0):
    """A clock domain ``name`` with the clock of ``sync``, which is reset one cycle after ``reset``
    or with ``sync``, to one cycle after that: its reset is a register of its own, for one register
    cannot reach all of a large machine in a cycle. Returns a transformer that puts a component
    into it."""
    register = Signal(init=1, name=f"{name}_reset")
    m.domains += ClockDomain(name, local=True)
    m.d.sync += register.eq(reset)
    m.d.comb += [ClockSignal(name).eq(ClockSignal()), ResetSignal(name).eq(register)]
    return DomainRenamer({"sync": name})
