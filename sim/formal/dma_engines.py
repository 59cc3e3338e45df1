"""Proves the AXI4 side of the two DMA engines."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Assert, Assume, Cat, Const, Module, Signal, unsigned

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.load_engine import LoadEngine
from bitwright.hw.rtl.core.store_engine import DATA_DEPTH, StoreEngine
from bitwright.sim.formal.harness import Probe, free, holds, no_reset, past, ring

__all__ = ["load_addresses", "load_beats", "store_addresses", "store_beats"]

PAGE = 4096
MOST = 3    # beats of an instruction, and rows, in the bounded proofs
IDLE, SPLIT, ADDRESS = range(3)  # states of both address machines


@dataclass(frozen=True)
class AddressChannel:
    """One AXI4 address channel: its signals, a burst's end ``answered``, and ``final``, set with
    the last burst of an instruction or row."""
    valid: Any
    ready: Any
    address: Any
    length: Any
    answered: Any
    final: Any


def _bursts(m: Module, config: Machine, probe: Probe, channel: AddressChannel) -> Signal:
    """Rules of one address channel, and what makes them inductive; returns the bursts in flight."""
    valid, address, length = channel.valid, channel.address, channel.length
    issued, answered, final = valid & channel.ready, channel.answered, channel.final
    flying = Signal(range(config.outstanding + 2))
    m.d.sync += flying.eq(flying + issued - answered)
    state, left, beats = probe("fsm_state"), probe("remaining"), probe("length")
    odd = config.beat_bytes - 1
    m.d.comb += [
        Assume(~answered | (flying != 0)),
        Assert(~valid | ((address & PAGE - 1) + (length + 1) * config.beat_bytes <= PAGE),
               "a burst crosses 4 KiB"),
        Assert(flying <= config.outstanding, "more bursts in flight than allowed"),
        Assert(~valid | (flying != config.outstanding), "one burst too many is offered"),
        Assert(probe("outstanding") == flying, "bursts in flight counted wrong"),
        Assert((state == IDLE) | (state == SPLIT) | (state == ADDRESS)),
        Assert((state == IDLE) | ((left != 0) & (probe("address") & odd == 0))),
        Assert((state != ADDRESS) | ((beats != 0) & (beats <= left) & (final == (beats == left))
               & ((probe("address") & PAGE - 1) + beats * config.beat_bytes <= PAGE))),
    ]
    return flying


def _words(m: Module, probe: Probe, name: str) -> Any:
    """Words in a :class:`bitwright.hw.rtl.primitives.fifo.Queue`."""
    first, behind = probe(f"{name}.r_rdy"), probe(f"{name}.behind.level")
    m.d.comb += Assert(first | (behind == 0))
    return behind + first


def load_addresses(config: Machine) -> Module:
    """Assumed: instructions of at least one beat at whole beats, no longer than a buffer, as the
    queue hands them on; no answer without a burst."""
    m = Module()
    no_reset(m)
    dut = LoadEngine(config)
    probe = Probe(m, dut)
    free(m, dut.instr, dut.instr_valid, dut.stop, dut.ready_w, dut.ready_a, dut.arready, dut.rdata,
         dut.rresp, dut.rlast, dut.rvalid)
    head = probe.view("queue.r_data", dut.instr)
    m.d.comb += Assume(~probe("queue.r_rdy") | (
        (head.beats != 0) & (head.beats >> config.load_bits == 0)
        & (head.dram & config.beat_bytes - 1 == 0)))
    flying = _bursts(m, config, probe, AddressChannel(
        dut.arvalid, dut.arready, dut.araddr, dut.arlen, answered=dut.rvalid & dut.rlast,
        final=probe("final")))
    holds(m, dut.arvalid, dut.arready, dut.araddr, dut.arlen, name="AR")
    m.d.comb += [
        Assert(dut.quiet == ((flying == 0) & ~dut.arvalid), "quiet with a burst in flight"),
        Assert(~past(m, dut.quiet & dut.stop) | dut.quiet, "a burst begun while stopped"),
        Assert(~dut.take_w | dut.ready_w, "a token of w_free taken where there is none"),
        Assert(~dut.take_a | dut.ready_a, "a token of a_free taken where there is none"),
        Assert(~past(m, dut.rvalid) | (dut.write_en & (dut.write_data == past(m, dut.rdata))),
               "a beat lost or changed"),
        Assert(~dut.write_en | past(m, dut.rvalid), "a beat written that never came"),
    ]
    return m


class First:
    """The first instruction that an engine takes: its fields, and whether it is there."""

    def __init__(self, m: Module, dut: Any):
        self.here = Signal()
        self.fields = Signal(dut.instr.shape())
        with m.If(dut.instr_valid & dut.instr_ready & ~self.here):
            m.d.sync += [self.here.eq(1), self.fields.eq(dut.instr)]


def _in_order(m: Module, config: Machine, first: First, issued: Any, address: Any,
              length: Any) -> tuple[Signal, Signal]:
    """Bursts of the first instruction follow each other without gap or overlap. Returns the beats
    addressed so far and those of the burst in flight that are still to come."""
    asked = Signal(unsigned(16))
    with m.If(issued & first.here & (asked < first.fields.beats)):
        m.d.sync += asked.eq(asked + length + 1)
        m.d.comb += [
            Assert(address == (first.fields.dram + asked * config.beat_bytes)[:32],
                   "a burst begins elsewhere than the last ended"),
            Assert(asked + length + 1 <= first.fields.beats, "more beats than were ordered"),
        ]
    coming = Signal(9)
    with m.If(issued):
        m.d.sync += coming.eq(length + 1)
    return asked, coming


def load_beats(config: Machine) -> Module:
    """Memory answers a burst at a time (``outstanding`` is 1), with any pauses."""
    m = Module()
    no_reset(m)
    m.submodules.dut = dut = LoadEngine(config)
    free(m, dut.instr, dut.instr_valid, dut.stop, dut.ready_w, dut.ready_a, dut.arready, dut.rdata,
         dut.rresp, dut.rlast, dut.rvalid)
    first = First(m, dut)
    issued = dut.arvalid & dut.arready
    asked, coming = _in_order(m, config, first, issued, dut.araddr, dut.arlen)
    with m.If(dut.rvalid):
        m.d.sync += coming.eq(coming - 1)
    m.d.comb += [Assume(~dut.instr_valid | ((dut.instr.beats != 0) & (dut.instr.beats <= MOST)
                        & (dut.instr.dram & config.beat_bytes - 1 == 0))),
                 Assume(~dut.rvalid | (coming != 0)), Assume(dut.rlast == (coming == 1))]
    count = Signal(16)
    with m.If(dut.write_en & (count < first.fields.beats)):
        m.d.sync += count.eq(count + 1)
        m.d.comb += [
            Assert(dut.write_addr == (first.fields.sram + count)[:24], "a beat in a wrong place"),
            Assert(dut.write_target == first.fields.target, "a beat in a wrong buffer"),
            Assert(count < asked, "a beat that nobody asked for"),
        ]
    gives = dut.give_w | dut.give_a
    m.d.comb += Assert(~gives | (first.here & (count + dut.write_en >= first.fields.beats)),
                       "a token given before the last beat")
    return m


def store_addresses(config: Machine) -> Module:
    """Assumed: instructions of at least one beat at whole beats, rows no longer than a buffer, as
    the queue hands them on; a burst is answered once, after its last beat."""
    m = Module()
    no_reset(m)
    dut = StoreEngine(config)
    probe = Probe(m, dut)
    free(m, dut.instr, dut.instr_valid, dut.stop, dut.ready, dut.read_data, dut.awready, dut.wready,
         dut.bresp, dut.bvalid)
    head = probe.view("queue.r_data", dut.instr)
    odd = config.beat_bytes - 1
    issued = dut.awvalid & dut.awready
    flying = _bursts(m, config, probe, AddressChannel(
        dut.awvalid, dut.awready, dut.awaddr, dut.awlen, answered=dut.bvalid,
        final=probe("end_of_row")))
    holds(m, dut.awvalid, dut.awready, dut.awaddr, dut.awlen, name="AW")
    holds(m, dut.wvalid, dut.wready, dut.wdata, dut.wlast, name="W")
    sent = Signal(range(config.outstanding + 2))   # bursts without an answer, all beats sent
    m.d.sync += sent.eq(sent + (dut.wvalid & dut.wready & dut.wlast) - dut.bvalid)
    lengths, answers = _words(m, probe, "lengths"), _words(m, probe, "answers")
    level, reading, came = probe("beats.level"), probe("reading"), probe("came")
    m.d.comb += [
        Assume(~probe("queue.r_rdy")
               | ((head.beats != 0) & (head.beats >> config.store_bits == 0)
                  & ((head.dram | head.stride) & odd == 0))),
        Assume(~dut.bvalid | (sent != 0)),
        Assert(dut.quiet == ((flying == 0) & ~dut.awvalid), "quiet with a burst unanswered"),
        Assert(~past(m, dut.quiet & dut.stop) | dut.quiet, "a burst begun while stopped"),
        Assert(~dut.take | dut.ready, "a token of out_ready taken where there is none"),
        Assert(~issued | ((lengths != config.outstanding) & (answers != config.outstanding)),
               "no room to note a burst's length"),
        Assert(~came | (level != DATA_DEPTH), "no room for a word that was read"),
        Assert(answers == flying), Assert(lengths + sent == flying),
        Assert(level + reading + came <= DATA_DEPTH),
        Assert((probe("fsm_state") == IDLE) | ((probe("beats") != 0) &
               ((probe("row_address") | probe("stride")) & odd == 0))),
    ]
    ring(m, probe, "beats", DATA_DEPTH)
    ring(m, probe, "lengths.behind", config.outstanding - 1)
    return m


def store_beats(config: Machine) -> Module:
    """The output buffer holds at every place a memory word that names it; the first instruction is
    followed, of any beats and rows, ``outstanding`` 1."""
    m = Module()
    no_reset(m)
    m.submodules.dut = dut = StoreEngine(config)
    free(m, dut.instr, dut.instr_valid, dut.stop, dut.ready, dut.awready, dut.wready, dut.bresp,
         dut.bvalid)
    parts = config.out_parts

    def beat(address: Any, row: Any, part: Any) -> Any:
        return Cat(part[:2], Const(0, 2 - len(part[:2])), address[:10], row[:4])

    read = Signal(len(dut.read_data))
    m.d.sync += [read.eq(beat(dut.read_addr, dut.read_row, dut.read_part)),
                 dut.read_data.eq(read)]
    first = First(m, dut)
    issued, sends = dut.awvalid & dut.awready, dut.wvalid & dut.wready
    coming, unanswered = Signal(9), Signal()
    with m.If(sends):
        m.d.sync += coming.eq(coming - 1)
    with m.If(issued):
        m.d.sync += [coming.eq(dut.awlen + 1), unanswered.eq(1)]
    with m.If(dut.bvalid):
        m.d.sync += unanswered.eq(0)
    row, index, over = Signal(8), Signal(16), Signal()
    fields = first.fields
    where = (fields.out + (index >> (parts.bit_length() - 1)))[:16]
    expected = beat(where, row, index[:parts.bit_length() - 1])
    with m.If(sends & ~over):
        m.d.comb += Assert(dut.wdata == expected, "a beat lost, doubled or overtaken")
        m.d.sync += index.eq(index + 1)
        with m.If(index == fields.beats - 1):
            m.d.sync += [index.eq(0), row.eq(row + 1), over.eq(row == fields.rows - 1)]
    asked, burst_row, base = Signal(16), Signal(8), Signal(32)
    with m.If(~first.here):
        m.d.sync += base.eq(dut.instr.dram)
    with m.If(issued & (burst_row < fields.rows)):
        m.d.comb += Assert(dut.awaddr == (base + asked * config.beat_bytes)[:32],
                           "a burst begins elsewhere than it should")
        m.d.comb += Assert(asked + dut.awlen + 1 <= fields.beats, "a burst runs over its row")
        m.d.sync += asked.eq(asked + dut.awlen + 1)
        with m.If(asked + dut.awlen + 1 == fields.beats):
            m.d.sync += [asked.eq(0), burst_row.eq(burst_row + 1), base.eq(base + fields.stride)]
    m.d.comb += [
        Assume(~dut.instr_valid | ((dut.instr.beats != 0) & (dut.instr.rows != 0)
               & (dut.instr.beats <= MOST) & (dut.instr.rows <= MOST)
               & ((dut.instr.dram | dut.instr.stride) & config.beat_bytes - 1 == 0))),
        Assume(~dut.bvalid | (unanswered & (coming == 0))),
        Assert(~dut.wvalid | (coming != 0), "data without an address"),
        Assert(~dut.wvalid | (dut.wlast == (coming == 1)), "last in a wrong place"),
    ]
    return m
