"""Multipliers of a digit's sum by its group scale.

All have the ports ``load``, ``a`` (S), ``b`` (M) and ``p`` of :class:`hw.fabric.Multiplier`, and
``p = S * M`` is exact, or exact modulo 2^psum_bits where that is narrower.
"""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .fabric import Ecp5Adders, Multiplier

__all__ = ["SerialMultiplier", "WideMultiplier", "multiplier_for", "multiplier_latency"]


def multiplier_latency(config):
    """Cycles from S to ``p`` of :func:`multiplier_for`."""
    return config.scale_steps if config.dequant == "serial" else Multiplier.latency


def multiplier_for(config):
    """The multiplier of one processing element."""
    if config.dequant == "serial":
        return SerialMultiplier(config)
    wide = config.pe == "serial" and config.fabric == "ecp5" and config.acc_bits in (19, 20)
    return WideMultiplier(config) if wide else Multiplier(config)


def _ports(config):
    return {"load": In(1), "a": In(signed(config.acc_bits)), "b": In(signed(config.mult_bits)),
            "p": Out(signed(config.acc_bits + config.mult_bits))}


class WideMultiplier(wiring.Component):
    """As :class:`hw.fabric.Multiplier`, for an S of 19 or 20 bits within ±(2^18 + 2^17), as that of
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
            self.p.eq(Cat(narrow.p[:18], adder.top(narrow.p[18:config.psum_bits], scale[-1],
                                                  plus_late, minus_late)).as_signed()),
        ]
        return m


class SerialMultiplier(wiring.Component):
    """``p = S * M``, signed, two bits of M per cycle from the least significant; no DSP block.

    ``p`` holds ``config.scale_steps`` cycles after S, in that cycle only. ``load`` must not be 1
    again before the last cycle of S, which is the one before ``p``: one product per
    ``config.scale_steps`` cycles.

    Members
    -------
    load, a, b : ``In``
        S becomes ``a`` and M becomes ``b`` where ``load`` is 1.
    p : ``Out(signed(acc_bits + mult_bits))``
    """
    def __init__(self, config):
        self._config = config
        super().__init__(_ports(config))

    def elaborate(self, platform):
        m = Module()
        config = self._config
        ecp5 = config.fabric == "ecp5"
        m.submodules.adders = adders = _Ecp5Adders() if ecp5 else _GenericAdders()

        s = Signal.like(self.a, reset_less=True)
        rest = Signal(len(self.b) - 2, reset_less=True)       # of M; its lowest digit is taken now
        high, top = (Signal.like(s, reset_less=True) for _ in range(2))
        low = Signal(len(self.b), reset_less=True)
        steps = Signal(config.scale_steps - 1)                # one-hot: the digit of ``rest``
        one, plus, minus = (Signal(reset_less=True) for _ in range(3))   # of the digit: 1, 2, −2
        m.d.sync += [
            steps.eq(Cat(self.load, steps)),
            one.eq(self.load & self.b[0] | (steps & rest[0::2]).any()),
            plus.eq((self.load & self.b[1] | (steps[:-1] & rest[1:-1:2]).any()) & ~steps[-1]),
            minus.eq(steps[-1] & rest[-1]),   # the top bit of M
        ]

        # What is left of the sum above the digits done, which go into ``low`` from its top.
        odd = adders.odd(high, s, one)
        even = adders.even(odd, s, plus, minus)
        m.d.sync += [
            high.eq(even[1:].as_signed()), top.eq(even[1:].as_signed()),
            low.eq(Cat(low[2:], odd[0], even[0])),
        ]
        with m.If(self.load):
            m.d.sync += [s.eq(self.a), rest.eq(self.b[2:]), high.eq(0)]
        m.d.comb += self.p.eq(Cat(low, top).as_signed())

        return m


class _GenericAdders(Elaboratable):
    def odd(self, high, s, one):
        """``high + one * s``, signed, one bit wider than ``s``."""
        return (high + Mux(one, s, 0))[:len(s) + 1].as_signed()

    def even(self, odd, s, plus, minus):
        """``(odd >> 1) + (plus - minus) * s``, signed, as wide as ``odd``; not both are 1."""
        return ((odd >> 1) + Mux(plus, s, 0) - Mux(minus, s, 0))[:len(odd)].as_signed()

    def elaborate(self, platform):
        return Module()


class _Ecp5Adders(Ecp5Adders):
    """With C and D both 0 a cell adds 0, so that what it passes on, ``f(A, B, 0, 0)``, is A in
    every case. A cell in front starts the carry of a negation."""
    def odd(self, high, s, one):
        return self._add([(0x6AAA, _bit(high, i), _bit(s, i), one, 1) for i in range(len(s) + 1)])

    def even(self, odd, s, plus, minus):
        return self.top([_bit(odd, i + 1) for i in range(len(odd))], s, plus, minus)

    def top(self, value, addend, plus, minus):
        """``value + (plus - minus) * addend``, as wide as ``value``; not both are 1; wraps."""
        bits = [(0x096A, a, _bit(addend, i), plus, minus) for i, a in enumerate(value)]
        return self._add([(0x000A, minus, 0, 0, 1), *bits])[1:].as_signed()


def _bit(value, i):
    return value[min(i, len(value) - 1)]
