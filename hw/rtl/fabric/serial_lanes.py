"""Lanes of the bit-serial-term element, in plain Amaranth and in ECP5 primitives.

As in :mod:`bitwright.hw.rtl.fabric.dsp_and_memory`, every block exists once per fabric with the
same ports, latency and values.
"""

from amaranth import *

from bitwright.hw.rtl.fabric.ecp5_adders import Ecp5Adders
from bitwright.hw.rtl.fabric.generic_adders import GenericAdders

__all__ = ["lanes_for"]


def lanes_for(config):
    """Lanes and adders of one processing element on ``config.fabric``."""
    return Ecp5Lanes() if config.fabric == "ecp5" else GenericLanes()


class GenericLanes(GenericAdders):
    """Shifted activations, and adders for them. Tree values are those of
    :class:`bitwright.hw.rtl.fabric.dsp_and_memory.GenericAdders`; a pair is one of level 1.

    A code is exponent (2 bits), nonzero, relative sign. Lanes come in pairs: of a *left* lane the
    sign is left to the tree, a *right* lane is complemented by its own. A lane that is not nonzero
    is 0.
    """
    def left(self, m, a, code, name):
        """``a << exponent``, registered, signed, 3 bits wider than ``a``."""
        value = Signal(signed(len(a) + 3), name=name, reset_less=True)
        m.d.sync += value.eq(Mux(code[2], a << code[:2], 0))
        return value

    def right(self, m, a, code, name):
        """``(a << exponent[0]) ^ sign``, registered, signed, one bit wider than ``a``; and
        ``exponent[1]``, registered."""
        value = Signal(signed(len(a) + 1), name=name, reset_less=True)
        upper = Signal(name=f"{name}_upper", reset_less=True)
        m.d.sync += [value.eq(Mux(code[2], _right(a, code), 0)), upper.eq(code[1])]
        return value, upper

    def pair(self, left, right, upper):
        """Tree value, one bit wider than ``left``: ``left + (right << 2 * upper)``."""
        total = left + Mux(upper, right.shift_left(2), right)
        assert len(total) == len(left) + 1
        return total

    def accumulate(self, acc, v, inv):
        """``4 * acc + (v ^ inv)``, signed, as wide as ``acc``; wraps; ``v`` is a tree value."""
        addend = (v.as_unsigned() ^ inv.replicate(len(v))).as_signed()
        return ((acc << 2) + addend)[:len(acc)].as_signed()


def _right(a, code):
    return ((a << code[0]).as_unsigned() ^ code[3].replicate(len(a) + 1)).as_signed()


class Ecp5Lanes(GenericLanes, Ecp5Adders):
    """The same, with half of every shift in the flip-flops and carry cells.

    A left lane's flip-flop bit chooses between its lookup table and the wire from the bit two
    below by its *preload*: its set/reset signal loads input M (``LSRMODE`` of Project Trellis, the
    two-input register of Lattice's FL1P3AZ). A right lane's is cleared by its inverted
    set/reset signal, and the carry cell of the pair chooses between it and the bit two below: with
    D as select, ``f = A ^ (D ? B : C)``, and what the cell passes on, ``f(A, B, 0, 0)``, is A.
    """
    def left(self, m, a, code, name):
        bits, upper, nonzero = len(a), code[1], code[2]
        value = Signal(signed(bits + 3), name=name)
        lower = Signal(signed(bits + 1), name=f"{name}_lower")
        m.d.comb += lower.eq(Mux(nonzero, a << code[0], 0))
        for i in range(bits + 1):
            choice = {"p_LSRMODE": "PRLD", "i_M": lower[i - 2]} if i >= 2 else {}
            m.submodules += _flip_flop(value[i], lower[i], i_LSR=upper, **choice)
        for i, bit in ((-2, Mux(code[:2] == 3, a[-2], a[-1])), (-1, a[-1])):
            m.submodules += _flip_flop(value[i], bit, p_LSRMUX="INV", i_LSR=nonzero)
        return value

    def right(self, m, a, code, name):
        value = Signal(signed(len(a) + 1), name=name)
        upper = Signal(name=f"{name}_upper", reset_less=True)
        m.d.sync += upper.eq(code[1])
        shifted = _right(a, code)
        for i in range(len(value)):
            m.submodules += _flip_flop(value[i], shifted[i], p_LSRMUX="INV", i_LSR=code[2])
        return value, upper

    def pair(self, left, right, upper):
        bits = [(0x665A, a, right[i - 2] if i >= 2 else 0, right[min(i, len(right) - 1)], upper)
                for i, a in enumerate(left)]
        bits[-1] = (0x9655, left[-1], right[-1], 0, 1)  # of two's complement: bias the sum
        return self._add([*bits, (0x0000, 0, 0, 0, 0)], ended=True)

    def accumulate(self, acc, v, inv):
        shifted = [0, 0, *acc[:-2]]
        addend = [(0x96AA if i < len(v) - 1 else 0x69AA, v[min(i, len(v) - 1)])  # the bias ends
                  for i in range(len(acc))]
        return self._add([(init, a, b, inv, 1)
                          for a, (init, b) in zip(shifted, addend, strict=True)])

    def _chains(self):
        """From the root of the tree on: the long adders go behind adders that registers feed. A
        carry that ends inside a chain still counts as a path where timing is analyzed."""
        self._adders.reverse()
        return super()._chains()


def _flip_flop(q, d, **changes):
    """A flip-flop; by default one that is neither set nor reset nor held."""
    options = {"p_GSR": "DISABLED", "p_CEMUX": "1", "p_CLKMUX": "CLK", "p_LSRMUX": "LSR",
               "p_REGSET": "RESET", "p_SRMODE": "LSR_OVER_CE", "p_LSRMODE": "LSR", "i_LSR": 0}
    return Instance("TRELLIS_FF", **options | changes, i_CLK=ClockSignal(), i_DI=d, o_Q=q)
