"""Proves the queues of tokens, of instructions and of words."""

from amaranth.hdl import Assert, Assume, Const, Module, Mux, Signal
from amaranth.lib.fifo import SyncFIFO

from bitwright.hw.rtl.primitives.fifo import Fifo, InstructionQueue, Queue
from bitwright.hw.rtl.primitives.token_queue import TokenQueue
from bitwright.sim.formal.harness import Probe, free, holds, no_reset, past, ring

__all__ = ["fifo", "token_queue"]

TOKEN_LIMIT = 255


def token_queue() -> Module:
    """A count kept beside the queue; assumed: a token is taken only while ``ready``, and no more
    than 255 are ever there."""
    m = Module()
    no_reset(m)
    dut = TokenQueue()
    probe = Probe(m, dut)
    free(m, dut.give, dut.credit, dut.credit_valid, dut.take)
    count, following = Signal(10), Signal(11)
    m.d.comb += following.eq(count + dut.give + Mux(dut.credit_valid, dut.credit, 0) - dut.take)
    m.d.sync += count.eq(following)
    m.d.comb += [
        Assume(~dut.take | dut.ready), Assume(following <= TOKEN_LIMIT),
        Assert(count <= TOKEN_LIMIT, "more than 255 tokens"),
        Assert(dut.ready == (count != 0), "ready without a token, or a token not ready"),
        Assert(probe("after") == count.as_signed() - 1, "tokens lost or doubled"),
    ]
    return m


def fifo(depth: int, kind: type) -> Module:
    """One word, entered at any time, is followed through the queue: what leaves in its turn is that
    word, and words leave only while there are some. ``kind`` is ``SyncFIFO``, ``Fifo``, or one that
    has a register behind it for the oldest word."""
    m = Module()
    no_reset(m)
    dut = kind(width=4, depth=depth)
    probe = Probe(m, dut)
    free(m, dut.w_data, dut.w_en, dut.r_en)
    enters, leaves = dut.w_en & dut.w_rdy, dut.r_en & dut.r_rdy
    inside = Signal(range(depth + 2))
    m.d.sync += inside.eq(inside + enters - leaves)

    mark = Signal()
    free(m, mark)
    tracked, gone = Signal(), Signal()
    word, ahead = Signal(4), Signal(range(depth + 1))
    with m.If(enters & mark & ~tracked):
        m.d.sync += [tracked.eq(1), word.eq(dut.w_data), ahead.eq(inside - leaves)]
    with m.If(leaves & tracked & ~gone):
        m.d.sync += [ahead.eq(ahead - 1), gone.eq(ahead == 0)]
    unit, size = {SyncFIFO: ("", depth), Fifo: ("", depth), Queue: ("behind.", depth - 1),
                  InstructionQueue: ("behind.", depth)}[kind]
    first = dut.r_rdy if unit else Const(0, 1)  # lies in the register
    place = probe(unit + "consume") + ahead - first
    kept = Mux(first & (ahead == 0), dut.r_data,
               probe.word(m, unit + "storage", Mux(place >= size, place - size, place)))
    level = probe(unit + "level") + first
    ring(m, probe, unit.removesuffix("."), size)
    offered = dut.r_rdy == (inside != 0)
    if kind is InstructionQueue:
        offered = Mux(past(m, leaves), ~dut.r_rdy, offered)
        m.d.comb += Assert(probe("inside") == inside)
    m.d.comb += [
        Assert(level == inside),
        Assert(~tracked | gone | ((ahead < inside) & (kept == word))),
    ]
    turn = tracked & ~gone & (ahead == 0)
    m.d.comb += [
        Assert(inside <= depth, "more words than the queue holds"),
        Assert(offered, "a word offered that is not there, or not offered"),
        Assert(dut.w_rdy == (inside != depth), "room where there is none, or room not offered"),
        Assert(~(turn & dut.r_rdy) | (dut.r_data == word), "a word was lost, doubled or overtaken"),
    ]
    holds(m, dut.r_rdy, dut.r_en, dut.r_data, name="a word of the queue")
    return m
