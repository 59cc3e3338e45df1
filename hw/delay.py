"""Delay lines."""

from amaranth import *

__all__ = ["delay"]


def delay(m, value, cycles, name):
    """``value`` as it was ``cycles`` clock cycles ago; registers are named after ``name``."""
    for stage in range(cycles):
        late = Signal.like(value, name=f"{name}_d{stage + 1}")
        m.d.sync += late.eq(value)
        value = late
    return value
