"""Multipliers of a digit's sum by its group scale.

All have the ports ``load``, ``a`` (S), ``b`` (M) and ``p`` of :class:`Multiplier`, and
``p = S * M`` is exact, or exact modulo 2^psum_bits where that is narrower.
"""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.fabric.dsp_and_memory import Multiplier
from bitwright.hw.rtl.fabric.ecp5_adders import Ecp5Adders

__all__ = ["SerialMultiplier", "WideMultiplier", "multiplier_for"]


def multiplier_for(config, bounded=False):
    """The multiplier of one processing element; ``bounded`` says that an S of 19 or 20 bits is
    within ±(2^18 + 2^17)."""
    if config.dequant == "serial":
        return SerialMultiplier(config)
    wide = bounded and config.fabric == "ecp5" and config.acc_bits in (19, 20)
    return WideMultiplier(config) if wide else Multiplier(config)


def _ports(config):
    return {"load": In(1), "a": In(signed(config.acc_bits)), "b": In(signed(config.mult_bits)),
            "p": Out(signed(config.acc_bits + config.mult_bits))}


class WideMultiplier(wiring.Component):
    """As :class:`Multiplier`, for an S of 19 or 20 bits within ±(2^18 + 2^17), as that of
    a bit-serial element is: modulo 2^psum_bits, with one DSP block and one short carry chain.

    S is ``low + 2^18 * h`` with ``low`` its lower 18 bits, signed, and h −1, 0 or 1: the chain adds
    ``h * M`` to the product's bits 18 and up.
    """
    latency = Multiplier.latency

    def __init__(self, config):
        self._config = config
        super().__init__(_ports(config))

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.narrow = narrow = Multiplier(SimpleNamespace(
            fabric=config.fabric, acc_bits=18, mult_bits=config.mult_bits))
        m.submodules.adder = adder = _Ecp5Adders()

        top = Signal(3, reset_less=True)   # 0, 1, 1 and, from the last, 0, −1, −1
        plus, minus, plus_late, minus_late = (Signal(reset_less=True) for _ in range(4))
        scale = [Signal(config.psum_bits - 18, reset_less=True) for _ in range(3)]
        with m.If(self.load):
            m.d.sync += top.eq(Cat(self.a[17], self.a[18], self.a[-1]))
        m.d.sync += [
            plus.eq(~top[2] & (top[0] | top[1])), minus.eq(top[2] & ~(top[0] & top[1])),
            plus_late.eq(plus), minus_late.eq(minus),
            *(late.eq(value) for late, value in zip(scale, [self.b, *scale], strict=False)),
        ]
        m.d.comb += [
            narrow.load.eq(self.load), narrow.a.eq(self.a[:18].as_signed()), narrow.b.eq(self.b),
            self.p.eq(Cat(narrow.p[:18], adder.added(
                narrow.p[18:config.psum_bits], scale[-1], plus_late, minus_late,
                config.psum_bits - 18)).as_signed()),
        ]
        return m


class SerialMultiplier(wiring.Component):
    """``p = S * M``, signed, two bits of M per cycle from the least significant; no DSP block.

    A chain of ``config.scale_units``: each takes ``config.scale_steps`` digits of two bits, the
    last one those that are left, and hands the product over to the next. ``p`` holds
    ``config.scale_digits`` cycles after S, in that cycle only. ``load`` must not be 1 again before
    the last cycle of the first unit: one product per ``config.scale_steps`` cycles.

    Members
    -------
    load, a, b : ``In``
        S becomes ``a`` and M becomes ``b`` where ``load`` is 1.
    p : ``Out(signed(acc_bits + mult_bits))``
    """
    def __init__(self, config):
        self._config = config
        super().__init__(_ports(config))

    @property
    def latency(self):
        """Cycles from S to ``p``."""
        return self._config.scale_digits

    def elaborate(self, platform):
        m = Module()
        config = self._config
        turn = Signal(config.scale_digits - 1)   # one-hot: the digit taken now, but for the last
        coming = Cat(self.load, turn)            # the one taken next
        m.d.sync += turn.eq(coming)

        taken = self.a, self.b, Const(0), Const(0)
        for index, first in enumerate(range(0, config.scale_digits, config.scale_steps)):
            m.submodules[f"unit{index}"] = unit = _Unit(config, first)
            m.d.comb += [
                unit.turn.eq(coming[first:]),
                *(port.eq(value) for port, value in zip(
                    (unit.s_i, unit.rest_i, unit.high_i, unit.low_i), taken, strict=True)),
            ]
            taken = unit.s_o, unit.rest_o, unit.high_o, unit.low_o

        p = Signal.like(self.p[:config.psum_bits].as_signed(), reset_less=True)
        m.d.sync += p.eq(Cat(unit.low_o, unit.high_o))
        m.d.comb += self.p.eq(p)
        return m


class _Unit(wiring.Component):
    """Digits ``first`` and following of M, one per cycle.

    Members
    -------
    turn : ``In(taken)``
        Bit ``i``: the unit's digit ``i`` is the next one.
    s_i, rest_i, high_i, low_i : ``In``
        Taken over with the first digit: S, M from that digit on, and of the sum of the digits
        before what lies above them and the bits below.
    s_o, rest_o, high_o, low_o : ``Out``
        The same for the next unit, in the cycle of the last digit.
    """
    def __init__(self, config, first):
        self._config = config
        self.first, left = first, config.scale_digits - first
        self.taken = taken = min(config.scale_steps, left)
        self.last = taken == left
        self.bits = bits = config.psum_bits - 2 * first   # of the product, from this digit on
        s, sum_bits = signed(min(config.acc_bits, bits)), min(config.acc_bits, bits - 2)
        super().__init__({
            "turn": In(taken), "s_i": In(s), "s_o": Out(s),
            "rest_i": In(2 * left), "rest_o": Out(2 * (left - taken)),
            "high_i": In(s), "high_o": Out(signed(sum_bits)),
            "low_i": In(2 * first), "low_o": Out(2 * (first + taken)),
        })

    def elaborate(self, platform):
        m = Module()
        ecp5 = self._config.fabric == "ecp5"
        m.submodules.adders = adders = _Ecp5Adders() if ecp5 else _GenericAdders()
        load, taken = self.turn[0], self.taken

        s = Signal.like(self.s_i, reset_less=True)
        rest = Signal(len(self.rest_i) - 2, reset_less=True)
        done = Signal.like(self.low_i, reset_less=True)
        with m.If(load):
            m.d.sync += [s.eq(self.s_i), rest.eq(self.rest_i[2:]), done.eq(self.low_i)]

        # Of the digit: 1, 2, and −2 for the top bit of M.
        one, plus, minus = (Signal(reset_less=True) for _ in range(3))
        digits, top = Cat(self.rest_i[:2], rest), taken - self.last
        ones, twos = digits[:2 * taken:2], digits[1:2 * taken:2]
        turn = self.turn if taken > 1 else Const(1, 1)   # of one digit a cycle none needs a gate
        m.d.sync += [
            one.eq((turn & ones).any()),
            plus.eq((turn[:top] & twos[:top]).any() & ~turn[top:].any()),
            minus.eq((turn[top:] & twos[top:]).any()),
        ]

        # The sum above the digits done: of the units before, then the unit's own, the other 0.
        entry, own = (Signal.like(self.high_i, reset_less=True) for _ in range(2))
        odd = adders.odd(entry, own, s, one, min(len(s) + 1, self.bits))
        gates = (plus, minus) if self.last else (plus,)
        even = adders.even(odd, s, min(len(s) + 1, self.bits - 1), *gates)
        above = even[1:].as_signed()
        if self.first:
            m.d.sync += entry.eq(self.high_i)
            with m.If(self.turn[1:].any()):
                m.d.sync += entry.eq(0)
        if taken > 1:
            m.d.sync += own.eq(above)
            with m.If(load):
                m.d.sync += own.eq(0)

        low = Signal(2 * taken, reset_less=True)
        below = Cat(low[2:], odd[0], even[0])
        m.d.sync += low.eq(below)
        m.d.comb += [self.s_o.eq(s), self.rest_o.eq(digits[2 * taken:]), self.high_o.eq(above),
                     self.low_o.eq(Cat(done, below))]
        return m


class _GenericAdders(Elaboratable):
    def odd(self, entry, own, s, one, width):
        """``(entry | own) + one * s``, ``signed(width)``; wraps."""
        return ((entry | own) + Mux(one, s, 0))[:width].as_signed()

    def even(self, odd, s, width, plus, minus=0):
        """``(odd >> 1) + (plus - minus) * s``, ``signed(width)``; not both are 1; wraps."""
        return ((odd >> 1) + Mux(plus, s, 0) - Mux(minus, s, 0))[:width].as_signed()

    def elaborate(self, platform):
        return Module()


class _Ecp5Adders(Ecp5Adders):
    """With C and D both 0 a cell adds 0, so that what it passes on, ``f(A, B, 0, 0)``, is its first
    operand in every case. A cell in front starts the carry of a negation."""
    def odd(self, entry, own, s, one, width):
        return self._add([(0x1EEE, _bit(entry, i), _bit(own, i), _bit(s, i), one)
                          for i in range(width)])

    def even(self, odd, s, width, plus, minus=None):
        if minus is None:
            return self._add([(0x6AAA, _bit(odd, i + 1), _bit(s, i), plus, 1)
                              for i in range(width)])
        return self.added(odd[1:], s, plus, minus, width)

    def added(self, value, addend, plus, minus, width):
        """``value + (plus - minus) * addend``, ``signed(width)``; not both are 1; wraps."""
        bits = [(0x096A, _bit(value, i), _bit(addend, i), plus, minus) for i in range(width)]
        return self._add([(0x000A, minus, 0, 0, 1), *bits])[1:].as_signed()


def _bit(value, i):
    return value[min(i, len(value) - 1)]
