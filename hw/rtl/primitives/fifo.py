"""Short queues whose output comes from registers."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["Fifo", "InstructionQueue", "Queue"]


class _Component(wiring.Component):
    """A queue of ``depth`` words of ``width`` bits.

    Members
    -------
    w_data, w_en, w_rdy : a word enters if both are 1
    r_data, r_en, r_rdy : the oldest word leaves if both are 1
    """

    def __init__(self, *, width, depth):
        self._width, self._depth = width, depth
        super().__init__({"w_data": In(width), "w_en": In(1), "w_rdy": Out(1),
                          "r_data": Out(width), "r_en": In(1), "r_rdy": Out(1)})


class Fifo(_Component):
    """First in, first out, of ``depth`` words in LUT RAM; in every cycle what Amaranth's
    ``SyncFIFO`` is. A free place takes what is offered in every cycle, so that the memory does not
    wait for all that decides whether the word enters."""

    def elaborate(self, platform):
        m = Module()
        last = self._depth - 1
        m.submodules.storage = storage = Memory(shape=self._width, depth=self._depth, init=())
        write, read = storage.write_port(), storage.read_port(domain="comb")
        level = Signal(range(self._depth + 1))
        entering, leaving = self.w_en & self.w_rdy, self.r_en & self.r_rdy
        m.d.comb += [
            self.w_rdy.eq(level != self._depth), self.r_rdy.eq(level != 0),
            write.en.eq(self.w_rdy), write.data.eq(self.w_data), self.r_data.eq(read.data),
        ]
        m.d.sync += level.eq(level + entering - leaving)
        for moves, address, name in ((entering, write.addr, "produce"),
                                     (leaving, read.addr, "consume")):
            place = Signal.like(address, name=name)
            m.d.comb += address.eq(place)
            with m.If(moves):
                m.d.sync += place.eq(Mux(place == last, 0, place + 1))
        return m


class Queue(_Component):
    """First in, first out, of ``depth`` words; in every cycle what Amaranth's ``SyncFIFO`` is.

    The oldest word lies in a register, the others behind it in LUT RAM: what is decided by its
    fields need not wait for a memory.

    Latency: a word that enters an empty queue is offered in the next cycle. A full queue takes none
    in the cycle in which one leaves."""

    def elaborate(self, platform):
        m = Module()
        move = ~self.r_rdy | self.r_en      # the register is free; without a word, all is empty
        if self._depth == 1:
            m.d.comb += self.w_rdy.eq(~self.r_rdy)
            with m.If(move):
                m.d.sync += [self.r_data.eq(self.w_data), self.r_rdy.eq(self.w_en & self.w_rdy)]
            return m
        m.submodules.behind = behind = SyncFIFO(width=self._width, depth=self._depth - 1)
        m.d.comb += [
            self.w_rdy.eq(behind.w_rdy), behind.w_data.eq(self.w_data), behind.r_en.eq(self.r_en),
            behind.w_en.eq(self.w_en & (~move | behind.r_rdy)),
        ]
        with m.If(move):
            m.d.sync += [self.r_data.eq(Mux(behind.r_rdy, behind.r_data, self.w_data)),
                         self.r_rdy.eq(behind.r_rdy | self.w_en)]
        return m


class InstructionQueue(_Component):
    """A :class:`Queue` in which the next word is offered in the second cycle after one has left:
    engines take an instruction every third cycle at most. Whether the wide word moves up then
    depends on one register, not on all that decides whether the one before is taken."""

    def elaborate(self, platform):
        m = Module()
        inside = Signal(range(self._depth + 1))
        m.d.sync += inside.eq(inside + (self.w_en & self.w_rdy) - (self.r_en & self.r_rdy))
        m.d.comb += self.w_rdy.eq(inside != self._depth)
        ahead, word = Const(0), self.w_data     # words come from behind first
        if self._depth > 1:
            m.submodules.behind = behind = Fifo(width=self._width, depth=self._depth)
            ahead, word = behind.r_rdy, Mux(behind.r_rdy, behind.r_data, self.w_data)
            m.d.comb += [
                behind.w_data.eq(self.w_data), behind.r_en.eq(~self.r_rdy),
                behind.w_en.eq(self.w_en & self.w_rdy & (self.r_rdy | behind.r_rdy)),
            ]
        with m.If(self.r_rdy):
            m.d.sync += self.r_rdy.eq(~self.r_en)
        with m.Else():
            m.d.sync += [self.r_data.eq(word), self.r_rdy.eq(ahead | (self.w_en & self.w_rdy))]
        return m
