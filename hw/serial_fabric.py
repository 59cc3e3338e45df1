"""Lanes of the bit-serial-term element, in plain Amaranth and in ECP5 primitives.

As in :mod:`hw.fabric`, every block exists once per fabric with the same ports, latency and values.
"""

from amaranth import *

from .fabric import GenericAdders

__all__ = ["lanes_for"]


def lanes_for(config):
    """Lanes and adders of one processing element on ``config.fabric``."""
    return GenericLanes()


class GenericLanes(GenericAdders):
    """Shifts of activations, and adders for them.

    A code is exponent (2 bits), nonzero, sign (not read here). The lanes of a group are a *left*
    one, ``a << exponent``, and three *right* ones, ``((a << e0) ^ sign) << 2 * e1`` with e0, e1 the
    bits of the exponent; a lane that is not nonzero is 0. Registers take them, one cycle. Tree
    values are as in :class:`hw.fabric.GenericAdders`; those of groups are of a level above 1.
    """
    def left(self, m, a, code, name):
        """Registered left lane, signed, 3 bits wider than ``a``."""
        value = Signal(signed(len(a) + 3), name=name, reset_less=True)
        m.d.sync += value.eq(Mux(code[2], a << code[:2], 0))
        return value

    def right(self, m, a, code, sign, name):
        """Registered right lane, for :meth:`group`: the value without its upper shift, signed, one
        bit wider than ``a``, and the upper bit of the exponent."""
        value = Signal(signed(len(a) + 1), name=name, reset_less=True)
        upper = Signal(name=f"{name}_upper", reset_less=True)
        shifted = (a << code[0])[:len(value)] ^ sign.replicate(len(value))
        m.d.sync += [value.eq(Mux(code[2], shifted, 0)), upper.eq(code[1])]
        return value, upper

    def group(self, left, rights):
        """Tree value, 5 bits wider than an activation: the sum of a left and three right lanes."""
        total = left
        for value, upper in rights:
            total = total + Mux(upper, value << 2, value)
        return total[:len(left) + 2].as_signed()

    def accumulate(self, acc, v, inv):
        """``4 * acc + (v ^ inv)``, signed, as wide as ``acc``; wraps; ``v`` is a tree value."""
        addend = (v.as_unsigned() ^ inv.replicate(len(v))).as_signed()
        return ((acc << 2) + addend)[:len(acc)].as_signed()
