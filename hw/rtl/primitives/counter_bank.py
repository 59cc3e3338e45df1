"""Event counters that share one adder and one memory."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.primitives.block_ram import block_ram

__all__ = ["Counters"]


class Counters(wiring.Component):
    """``count`` counters of 32 bits, each raised by at most one per cycle, modulo 2^32.

    A few low bits count by themselves; in turn each is added to its word of a memory and starts
    again from zero. A value is given once per turn of ``count`` cycles, and holds all events up to
    two cycles before.

    Members
    -------
    clear : all become zero; an event in the same cycle is lost
    events : one bit per counter
    index, value : counter ``index`` is ``value``; another one in every cycle
    """

    def __init__(self, count):
        self._count = count
        super().__init__({"clear": In(1), "events": In(count), "index": Out(range(count)),
                          "value": Out(32)})

    def elaborate(self, platform):
        m = Module()
        count = self._count
        m.submodules.sums = sums = block_ram(32, count)
        write, read = sums.write_port(), sums.read_port()
        low = Array(Signal(range(count + 1), name=f"low{i}") for i in range(count))
        turn, stale = Signal(range(count)), Signal(count, init=~0)   # stale: not cleared yet
        carried, zero = Signal(range(count + 1)), Signal()
        m.d.sync += [
            turn.eq(Mux(turn == count - 1, 0, turn + 1)), stale.bit_select(turn, 1).eq(0),
            *(number.eq(Mux(turn == i, 0, number) + self.events[i])
              for i, number in enumerate(low)),
            carried.eq(Mux(self.clear, 0, low[turn])), zero.eq(stale.bit_select(turn, 1)),
            self.index.eq(turn),
        ]
        m.d.comb += [
            read.addr.eq(turn), self.value.eq(Mux(zero, 0, read.data) + carried),
            write.addr.eq(self.index), write.data.eq(self.value), write.en.eq(1),
        ]
        with m.If(self.clear):
            m.d.sync += [stale.eq(~0), *(number.eq(0) for number in low)]
        return m
