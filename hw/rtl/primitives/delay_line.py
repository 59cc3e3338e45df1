"""Delay lines."""

from amaranth import *

__all__ = ["delay"]


def delay(m, value, cycles, name, *, data=False):
    """``value`` as it was ``cycles`` clock cycles ago; registers are named after ``name``. Those of
    ``data``, which is looked at only where control says so, are not reset."""
    for stage in range(cycles):
        late = Signal.like(value, name=f"{name}_d{stage + 1}", reset_less=data)
        m.d.sync += late.eq(value)
        value = late
    return value
