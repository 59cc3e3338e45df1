"""Load engine: memory to weight, activation, scale and program buffers."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.isa.instruction_table import Target
from bitwright.hw.rtl.primitives.axi_ports import burst_length
from bitwright.hw.rtl.primitives.fifo import InstructionQueue, Queue
from bitwright.hw.rtl.primitives.instruction_layout import instruction_layout

__all__ = ["LoadEngine", "PROGRAM_TARGET"]

PROGRAM_TARGET = 4  # the program buffer; not reachable from a program


class LoadEngine(wiring.Component):
    """Executes ``load`` instructions in order; bursts of consecutive instructions overlap.

    An instruction starts when its token (``wait``) is there. Bursts are issued one every two
    cycles, up to ``config.outstanding`` in flight; every beat is taken in the cycle it comes. A
    beat is readable in its buffer two cycles later, and so is the token of an instruction's last.

    A load is at most as long as its buffer.

    Words of the weight buffer lie at addresses that are a power of two of beats apart; loads of
    weights are whole words and skip what is between.

    Members
    -------
    instr, instr_valid, instr_ready : instruction with its addresses resolved
    stop : issue no further burst
    ready_w/ready_a, take_w/take_a : ``w_free`` and ``a_free`` tokens
    give_w/give_a : ``w_ready`` and ``a_ready`` tokens
    program_done : the last beat of a program fetch is in its buffer
    write_* : buffer write, one beat: target, beat address, data, broadcast
    idle : nothing queued or in flight; quiet : no burst in flight
    error : a beat came with an error response
    beat, wait_w, wait_a : events for the counters
    """

    def __init__(self, config):
        self._config = config
        bits = config.memory_bits
        super().__init__({
            "instr": In(instruction_layout("load")), "instr_valid": In(1), "instr_ready": Out(1),
            "stop": In(1),
            "ready_w": In(1), "ready_a": In(1), "take_w": Out(1), "take_a": Out(1),
            "give_w": Out(1), "give_a": Out(1), "program_done": Out(1),
            "write_en": Out(1), "write_target": Out(3), "write_addr": Out(24),
            "write_data": Out(bits), "write_broadcast": Out(1),
            "araddr": Out(32), "arlen": Out(8), "arvalid": Out(1), "arready": In(1),
            "rdata": In(bits), "rresp": In(2), "rlast": In(1), "rvalid": In(1),
            "idle": Out(1), "quiet": Out(1), "error": Out(1),
            "beat": Out(1), "wait_w": Out(1), "wait_a": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        layout = instruction_layout("load")
        m.submodules.queue = queue = InstructionQueue(
            width=layout.size, depth=config.queue_depth)
        pending_layout = data.StructLayout({    # final: index of the last beat
            "sram": 24, "final": config.load_bits, "target": 3, "broadcast": 1, "signal": 1})
        m.submodules.pending = pending = Queue(width=pending_layout.size,
                                             depth=config.outstanding + 1)
        outstanding = Signal(range(config.outstanding + 1))
        issued, done = Signal(), Signal()
        m.d.sync += outstanding.eq(outstanding + issued - done)
        m.d.comb += [
            queue.w_data.eq(self.instr), queue.w_en.eq(self.instr_valid),
            self.instr_ready.eq(queue.w_rdy),
            issued.eq(self.arvalid & self.arready), done.eq(self.rvalid & self.rlast),
            self.quiet.eq((outstanding == 0) & ~self.arvalid),
        ]

        head = data.View(layout, queue.r_data)
        acts = head.target == Target.ACTS
        token = Mux(acts, self.ready_a, self.ready_w) | ~head.wait
        address = Signal(32)
        remaining = Signal(config.load_bits)
        length = Signal(9)
        final = Signal()    # the burst is the last of the instruction
        entry = Signal(pending_layout)
        m.d.comb += [entry[name].eq(head[name]) for name in
                     ("sram", "target", "broadcast", "signal")]
        m.d.comb += [entry.final.eq(head.beats - 1), pending.w_data.eq(entry),
                     self.araddr.eq(address), self.arlen.eq(length - 1)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(~queue.r_rdy & ~pending.r_rdy & ~self.write_en)
                with m.If(queue.r_rdy & pending.w_rdy & ~self.stop):
                    m.d.comb += [self.wait_w.eq(~token & ~acts), self.wait_a.eq(~token & acts)]
                    with m.If(token):
                        m.d.comb += [queue.r_en.eq(1), pending.w_en.eq(1),
                                     self.take_w.eq(head.wait & ~acts),
                                     self.take_a.eq(head.wait & acts)]
                        m.d.sync += [address.eq(head.dram), remaining.eq(head.beats)]
                        m.next = "SPLIT"
            with m.State("SPLIT"):
                with m.If(~self.stop):
                    beats, ends = burst_length(config, address, remaining)
                    m.d.sync += [length.eq(beats), final.eq(ends)]
                    m.next = "ADDRESS"
            with m.State("ADDRESS"):
                m.d.comb += self.arvalid.eq(outstanding != config.outstanding)
                with m.If(issued):
                    m.d.sync += [address.eq(address + length * config.beat_bytes),
                                 remaining.eq(remaining - length)]
                    m.next = "SPLIT"
                    with m.If(final):
                        m.next = "IDLE"

        current = data.View(pending_layout, pending.r_data)
        index, gaps = Signal(config.load_bits), Signal(24)
        last = Signal()
        m.d.comb += [last.eq(index == current.final), self.beat.eq(self.rvalid),
                     pending.r_en.eq(self.rvalid & last),
                     self.error.eq(self.rvalid & (self.rresp != 0))]
        m.d.sync += [self.write_en.eq(self.rvalid), self.write_target.eq(current.target),
                     self.write_addr.eq(current.sram + index + gaps),
                     self.write_data.eq(self.rdata),
                     self.write_broadcast.eq(current.broadcast)]
        finished = Signal(pending_layout)
        finish = Signal()
        m.d.sync += [finish.eq(self.rvalid & last), finished.eq(current)]
        m.d.comb += [
            self.give_w.eq(finish & finished.signal & (finished.target != Target.ACTS)),
            self.give_a.eq(finish & finished.signal & (finished.target == Target.ACTS)),
            self.program_done.eq(finish & (finished.target == PROGRAM_TARGET)),
        ]
        with m.If(self.rvalid):
            m.d.sync += index.eq(Mux(last, 0, index + 1))
        if config.weight_word_gap:
            beat = Signal(range(config.weight_word_beats))
            with m.If(self.rvalid & (current.target == Target.WEIGHTS)):
                m.d.sync += beat.eq(beat + 1)
                with m.If(beat == config.weight_word_beats - 1):
                    m.d.sync += [beat.eq(0), gaps.eq(gaps + config.weight_word_gap)]
                with m.If(last):
                    m.d.sync += [beat.eq(0), gaps.eq(0)]
        return m
