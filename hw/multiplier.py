"""Multipliers of a digit's sum by its group scale.

All have the ports ``load``, ``a`` (S), ``b`` (M) and ``p`` of :class:`hw.fabric.Multiplier`, and
``p = S * M`` is exact, or exact modulo 2^psum_bits where that is narrower.
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .fabric import Multiplier

__all__ = ["SerialMultiplier", "multiplier_for", "multiplier_latency"]


def multiplier_latency(config):
    """Cycles from S to ``p`` of :func:`multiplier_for`."""
    return config.scale_steps if config.dequant == "serial" else Multiplier.latency


def multiplier_for(config):
    """The multiplier of one processing element."""
    return SerialMultiplier(config) if config.dequant == "serial" else Multiplier(config)


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
        super().__init__({
            "load": In(1), "a": In(signed(config.acc_bits)), "b": In(signed(config.mult_bits)),
            "p": Out(signed(config.acc_bits + config.mult_bits)),
        })

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
