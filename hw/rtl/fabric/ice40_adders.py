"""Adders of a processing element in iCE40 cells."""

from amaranth import *

from bitwright.hw.rtl.fabric.generic_adders import GenericAdders

__all__ = ["Ice40Adders"]


class Ice40Adders(GenericAdders):
    """The same adders in ``SB_CARRY`` and ``SB_LUT4``, one bit a cell.

    The carry sees an operand as it comes, but the cell's LUT has an input left to invert the sum.
    So a value is inverted where it is made, not where it is used.
    """
    early = True

    def __init__(self):
        self._sums = []  # (bits of both operands, inversion, sum)

    def _add(self, left, right, out=0):
        """``(left + right) ^ out``; equally many bits."""
        total = Signal(signed(len(left)), name=f"sum{len(self._sums)}")
        self._sums.append((list(zip(left, right, strict=True)), out, total))
        return total

    def node(self, level, left, right, inv, out=0):
        return self._add(_wider(left), _wider(right), out)

    def pair(self, high, low, odd_high, odd_low, keep, out):
        carry = Mux(odd_low, odd_high, ~keep)
        return self._add([carry, *_wider(high)], [carry, *_wider(low)], out)[1:].as_signed()

    def sigma(self, level, v, sigma, inv_n, sub):
        addend = [(bit ^ ~inv_n) & sub for bit in sigma]
        return self._add(_wider(v), _wider(addend), inv_n)

    def accumulate(self, acc, w, inv):
        return self._add([Const(0, 1), *acc[:-1]], _extended(w, len(acc)))

    def psum(self, psum, product, first):
        return self._add([bit & ~first for bit in psum], _extended(product, len(psum)))

    def elaborate(self, platform):
        m = Module()
        for bits, out, total in self._sums:
            carry = Const(0, 1)
            for i, (left, right) in enumerate(bits):
                left, right = _wire(m, left), _wire(m, right)
                m.submodules += Instance(
                    "SB_LUT4", p_LUT_INIT=Const(0x6996, 16), i_I0=out, i_I1=left, i_I2=right,
                    i_I3=carry, o_O=total[i])
                if i + 1 < len(bits):
                    carry_in, carry = carry, Signal()
                    m.submodules += Instance("SB_CARRY", i_I0=left, i_I1=right, i_CI=carry_in,
                                             o_CO=carry)
        return m


def _wire(m, value):
    """One net for ``value``, so that the LUT and the carry of a cell share it."""
    wire = Signal()
    m.d.comb += wire.eq(value)
    return wire


def _extended(value, width):
    return [value[min(i, len(value) - 1)] for i in range(width)]


def _wider(value):
    return _extended(value, len(value) + 1)
