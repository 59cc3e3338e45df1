"""Adders of a processing element in plain HDL, for any chip."""

from amaranth import *


class GenericAdders(Elaboratable):
    """Adders with conditionally negated or gated operands. Combinational.

    Each method adds one adder and returns its sum. A *tree value* of level 0 is a table entry in
    two's complement; those of other levels and ``w`` are in an encoding of the fabric's own and
    go only into the next method. Where ``early``, values are inverted where they are made: an
    entry comes inverted by ``inv`` of its node, and a node or entry by ``out``, which is ``inv``
    of the node that takes it as its right operand, or 0.
    """
    early = False

    def node(self, level, left, right, inv, out=0):
        """Tree value of ``level``: ``left + (right ^ inv)``, one bit wider than its operands."""
        return _signed_sum(left.as_signed(), _inverted(right, inv))

    def pair(self, high, low, odd_high, odd_low, keep, out):
        """Bits 1 and up of ``{high, odd_high} ± {low, odd_low}``, plus if ``keep``; ``low`` comes
        complemented where it is subtracted. Signed, one bit wider than ``high``."""
        carry = Mux(odd_low, odd_high, ~keep)
        return _signed_sum(Cat(1, high).as_signed(), Cat(carry, low).as_signed())[1:].as_signed()

    def sigma(self, level, v, sigma, inv_n, sub):
        """``w = v + ((sigma ^ ~inv_n) & sub)``, one bit wider; ``v`` is a tree value."""
        addend = _inverted(sigma, ~inv_n) & sub.replicate(len(sigma)).as_signed()
        return _signed_sum(v.as_signed(), addend)

    def accumulate(self, acc, w, inv):
        """``2 * acc + (w ^ inv)``, signed, as wide as ``acc``; wraps. ``inv`` is ``inv_n`` of w."""
        return ((acc << 1) + _inverted(w, inv))[:len(acc)].as_signed()

    def psum(self, psum, product, first):
        """``(first ? 0 : psum) + product``, signed, as wide as ``psum``; wraps."""
        return (Mux(first, 0, psum) + product)[:len(psum)].as_signed()

    def elaborate(self, platform):
        return Module()


def _inverted(value, inv):
    return (value.as_unsigned() ^ inv.replicate(len(value))).as_signed()


def _signed_sum(left, right):
    total = left + right
    assert len(total) == len(left) + 1
    return total
