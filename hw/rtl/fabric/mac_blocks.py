"""Building blocks of the multiply-accumulate element, in plain Amaranth and in ECP5 primitives.

As in :mod:`bitwright.hw.rtl.fabric.dsp_and_memory`, every block exists once per fabric with the
same values and latency.
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.fabric.ecp5_adders import Ecp5Adders
from bitwright.hw.rtl.fabric.generic_adders import GenericAdders
from bitwright.hw.rtl.fabric.scale_multipliers import (
    WideMultiplier,
    multiplier_for,
)

__all__ = ["LaneMultiplier", "DoubleMultiplier", "mac_adders_for", "scaler_for"]


DSP_BITS = 18  # signed operand of a DSP block


def mac_adders_for(config):
    """The adders of one multiply-accumulate element on ``config.fabric``."""
    return Ecp5MacAdders() if config.fabric == "ecp5" else GenericMacAdders()


def scaler_for(config):
    """The multiplier of S by the group scale."""
    if _double(config):
        return DoubleMultiplier(config)
    if config.dequant == "dsp" and config.fabric == "ecp5" and config.acc_bits > DSP_BITS:
        return WideMultiplier(config)  # S is within ±2^(acc_bits - 2), so within its ±2^18
    return multiplier_for(config)


def _double(config):
    return config.dequant == "dsp" and config.acc_bits > DSP_BITS + 2


class GenericMacAdders(GenericAdders):
    """Adders of gated rows and of shifted sums. Combinational.

    A *tree value* is what :meth:`node` gives: in an encoding of the fabric's own, for
    :meth:`node` of the next level and for :meth:`join` alone.
    """
    def gated(self, a, gate_a, b, gate_b):
        """``(gate_a ? a : 0) + (gate_b ? b : 0)``, signed, one bit wider than ``a`` and ``b``."""
        return (a & _all(gate_a, a)).as_signed() + (b & _all(gate_b, b)).as_signed()

    def join(self, left, right, shift, width, *, subtract=False, trees=(False, False)):
        """``left ± (right << shift)``, ``signed(width)``; ``trees``: which operands are tree
        values, the others being signed."""
        low = left.as_signed()
        high = right.as_signed() << shift
        return (low - high if subtract else low + high)[:width].as_signed()


def _all(gate, value):
    return gate.replicate(len(value)).as_signed()


class Ecp5MacAdders(Ecp5Adders, GenericMacAdders):
    """The same adders in ``CCU2C`` carry cells, no other logic.

    Two gated bits fit in one: where ``f = (A & B) ^ (C & D)`` is 0 the cell passes
    ``f(A, B, 0, 0) = A & B`` on, and there both addends are equal.
    """
    def gated(self, a, gate_a, b, gate_b):
        bits = [(0x7888, bit_a, gate_a, bit_b, gate_b) for bit_a, bit_b in zip(a, b, strict=True)]
        return self._add([*bits, bits[-1]])

    def join(self, left, right, shift, width, *, subtract=False, trees=(False, False)):
        bits = [(0x0001, 0, 0, 0, 1)] if subtract else []  # a cell that only gives a carry
        for i in range(shift, width):
            a, invert_a = _extended(left, i, trees[0])
            b, invert_b = _extended(right, i - shift, trees[1])
            propagate = 0x99 if invert_a ^ invert_b ^ subtract else 0x66
            bits.append((propagate << 8 | (0x55 if invert_a else 0xAA), a, b, 0, 1))
        total = self._add(bits)
        return Cat(left[:shift], total[1 if subtract else 0:]).as_signed()


def _extended(value, i, tree):
    """Bit ``i`` of a sign-extended operand, and whether it counts inverted (biased by half)."""
    return value[min(i, len(value) - 1)], tree and i >= len(value) - 1


class LaneMultiplier(wiring.Component):
    """``p = a * b``, signed, with the registers of a DSP block: 3 cycles after ``b``.

    Members
    -------
    load, a : ``In``
        The operand held becomes ``a`` where ``load`` is 1: a ``b`` of that cycle meets it.
    b : ``In``
    p : ``Out(signed(act_bits + value_bits))``
    """
    latency = 3

    def __init__(self, config):
        self._config = config
        super().__init__({
            "load": In(1), "a": In(signed(config.act_bits)), "b": In(signed(config.value_bits)),
            "p": Out(signed(config.act_bits + config.value_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        if self._config.fabric == "ecp5":
            m.submodules.dsp, p = dsp_block(self.a, self.b, self.load)
            m.d.comb += self.p.eq(p)
            return m

        a, b = (Signal.like(port, reset_less=True) for port in (self.a, self.b))
        product, p = (Signal.like(self.p, reset_less=True) for _ in range(2))
        with m.If(self.load):
            m.d.sync += a.eq(self.a)
        m.d.sync += [b.eq(self.b), product.eq(a * b), p.eq(product)]
        m.d.comb += self.p.eq(p)
        return m


def dsp_block(a, b, load):
    """A ``MULT18X18D`` with every register in use, ``load`` enabling that of ``a``; its product."""
    p = Signal(signed(36))
    registers = {"INPUTA": "CE0", "INPUTB": "CE1", "PIPELINE": "CE1", "OUTPUT": "CE1"}
    return Instance(
        "MULT18X18D",
        *(("p", f"REG_{name}_CLK", "CLK0") for name in registers),
        *(("p", f"REG_{name}_CE", enable) for name, enable in registers.items()),
        p_SOURCEB_MODE="B_SHIFT", p_GSR="DISABLED",
        i_CLK0=ClockSignal(), i_CE0=load, i_CE1=1, i_RST0=0,
        i_SIGNEDA=1, i_SIGNEDB=1, i_SOURCEA=0, i_SOURCEB=0,
        **_pins("i_A", a, DSP_BITS), **_pins("i_B", b, DSP_BITS), **_pins("o_P", p, 36)), p


def _pins(prefix, value, width):
    return {f"{prefix}{i}": value[min(i, len(value) - 1)] for i in range(width)}


class DoubleMultiplier(wiring.Component):
    """``p = S * M`` modulo ``2^psum_bits``, 3 cycles after S and M, for an S wider than a DSP
    port: the products of its lower 17 bits and of the rest, and one addition.

    Members as those of :class:`bitwright.hw.rtl.fabric.dsp_and_memory.Multiplier`.
    """
    latency = 3

    def __init__(self, config):
        self._config = config
        super().__init__({
            "load": In(1), "a": In(signed(config.acc_bits)), "b": In(signed(config.mult_bits)),
            "p": Out(signed(config.psum_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        p = Signal.like(self.p, reset_less=True)
        m.d.comb += self.p.eq(p)
        low, high = Cat(self.a[:DSP_BITS - 1], 0).as_signed(), self.a[DSP_BITS - 1:].as_signed()
        if self._config.fabric == "ecp5" and len(high) <= DSP_BITS:
            m.submodules.low, low_p = dsp_block(low, self.b, self.load)
            m.submodules.high, high_p = dsp_block(high, self.b, self.load)
            m.submodules.adders = adders = Ecp5MacAdders()
            m.d.sync += p.eq(adders.join(low_p, high_p, DSP_BITS - 1, len(p)))
            return m

        a, b = (Signal.like(port, reset_less=True) for port in (self.a, self.b))
        product, exact = (Signal.like(self.p, reset_less=True) for _ in range(2))
        with m.If(self.load):
            m.d.sync += a.eq(self.a)
        m.d.sync += [b.eq(self.b), product.eq(a * b), exact.eq(product), p.eq(exact)]
        return m
