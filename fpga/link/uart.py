"""UART, 8N1: bits to bytes and back."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["Receiver", "Transmitter", "bit_rate"]

LEAST_DIVISOR = 4
ACCURACY = 0.002   # of the bit rate; 0.02 would still be received


def bit_rate(divisor):
    """``(bits, step)``: a counter of ``bits`` bits that adds ``step`` per cycle overflows once in
    ``divisor`` cycles on average. ``divisor`` is clock over baud, whole or not."""
    if divisor < LEAST_DIVISOR:
        raise ValueError(f"the clock must be at least {LEAST_DIVISOR} times the baud rate, "
                         f"not {divisor:g} times")
    for bits in range(2, 32):
        step = round((1 << bits) / divisor)
        if abs(step * divisor / (1 << bits) - 1) <= ACCURACY:
            return bits, step
    raise ValueError(f"the clock must be less than 2^32 times the baud rate, not {divisor:g} times")


class Receiver(wiring.Component):
    """Bytes from the line, sampled in the middle of each bit.

    ``valid`` is high for one cycle per byte, ``data`` then holds it. A byte without a stop bit
    gives ``error`` in place of ``valid``, and the next start bit counts only after the line was
    high again (break).

    Members
    -------
    pin : asynchronous, idle high
    """
    pin: In(1, init=1)
    data: Out(8)
    valid: Out(1)
    error: Out(1)

    def __init__(self, divisor):
        self._rate = bit_rate(divisor)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        bits, step = self._rate
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.pin, line, init=1)
        phase, count = Signal(bits), Signal(3)
        ahead = phase + step
        middle = ahead[bits]
        m.d.sync += phase.eq(ahead)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(~line):
                    m.d.sync += phase.eq(1 << bits - 1)
                    m.next = "START"
            with m.State("START"):
                with m.If(middle):
                    m.next = "IDLE"
                    with m.If(~line):
                        m.next = "DATA"
            with m.State("DATA"):
                with m.If(middle):
                    m.d.sync += [self.data.eq(Cat(self.data[1:], line)), count.eq(count + 1)]
                    with m.If(count == 7):
                        m.next = "STOP"
            with m.State("STOP"):
                with m.If(middle):
                    m.d.comb += [self.valid.eq(line), self.error.eq(~line)]
                    m.next = "IDLE"
                    with m.If(~line):
                        m.next = "BREAK"
            with m.State("BREAK"):
                with m.If(line):
                    m.next = "IDLE"
        return m


class Transmitter(wiring.Component):
    """Bytes to the line, without gaps if the next is offered in time."""
    data: In(8)
    valid: In(1)
    ready: Out(1)
    pin: Out(1, init=1)

    def __init__(self, divisor):
        self._rate = bit_rate(divisor)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        bits, step = self._rate
        shift = Signal(9, init=0x1FF)
        phase, left = Signal(bits), Signal(4)   # bits still to end, stop bit included
        ahead = phase + step
        end, idle = ahead[bits], left == 0
        m.d.comb += [self.pin.eq(shift[0]), self.ready.eq(idle | ((left == 1) & end))]
        with m.If(~idle):
            m.d.sync += phase.eq(ahead)
            with m.If(end):
                m.d.sync += [shift.eq(Cat(shift[1:], 1)), left.eq(left - 1)]
        with m.If(self.valid & self.ready):
            m.d.sync += [shift.eq(Cat(0, self.data)), left.eq(10)]
            with m.If(idle):
                m.d.sync += phase.eq(0)
        return m
