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
        m.submodules.adder = adder = _TopAdder()

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
            self.p.eq(Cat(narrow.p[:18], adder.add(narrow.p[18:config.psum_bits], scale[-1],
                                                  plus_late, minus_late)).as_signed()),
        ]
        return m


class _TopAdder(Ecp5Adders):
    def add(self, product, scale, plus, minus):
        """``product + (plus - minus) * scale``, modulo its width; not both of ``plus``, ``minus``.

        The first cell starts the carry of the negation; with C and D both 0 a cell adds 0, so that
        what it passes on, ``f(A, B, 0, 0)``, is A in every case."""
        bits = [(0x096A, a, b, plus, minus) for a, b in zip(product, scale, strict=True)]
        return self._add([(0x000A, minus, 0, 0, 1), *bits])[1:]


class SerialMultiplier(wiring.Component):
    """``p = S * M``, signed, two bits of M per cycle from the least significant; no DSP block.

    ``p`` holds in the cycle ``scale_steps`` after S only, when ``load`` was 1 in the cycle before S.
    ``load`` may be 1 again ``config.scale_steps`` cycles later at the earliest.

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

        s = Signal.like(self.a, reset_less=True)
        scale = Signal.like(self.b, reset_less=True)
        high = Signal(signed(len(s) + 1), reset_less=True)   # what is left above the digits done
        low = Signal(len(scale), reset_less=True)            # and below, from the top
        top = Signal.like(high, reset_less=True)             # ``high`` of the last step, for ``p``
        steps = Signal(config.scale_steps)                       # one-hot: the step of this cycle
        odd, even = Signal(signed(len(s) + 2)), Signal(signed(len(s) + 2))
        m.d.sync += [steps.eq(Cat(self.load, steps)), top.eq(high_next := even[1:])]
        digit = Signal(2)
        m.d.comb += [
            digit.eq(Cat((steps & scale[i::2]).any() for i in (0, 1))),
            odd.eq(high + Mux(digit[0], s, 0)),
        ]
        with m.If(steps[-1]):   # the top bit of M counts negative
            m.d.comb += even.eq((odd >> 1) - Mux(digit[1], s, 0))
        with m.Else():
            m.d.comb += even.eq((odd >> 1) + Mux(digit[1], s, 0))
        m.d.sync += [high.eq(high_next.as_signed()), low.eq(Cat(low[2:], odd[0], even[0]))]
        with m.If(self.load):
            m.d.sync += [s.eq(self.a), scale.eq(self.b), high.eq(0)]
        m.d.comb += self.p.eq(Cat(low, top).as_signed())

        return m
