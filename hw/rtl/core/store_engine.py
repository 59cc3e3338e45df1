"""Store engine: output buffers to memory."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.primitives.axi_ports import burst_length
from bitwright.hw.rtl.primitives.fifo import InstructionQueue, Queue
from bitwright.hw.rtl.primitives.instruction_layout import instruction_layout

__all__ = ["StoreEngine"]

DATA_DEPTH = 4    # beats read ahead: enough for one per cycle


class StoreEngine(wiring.Component):
    """Executes ``store`` instructions in order; instructions overlap.

    A row is at most as long as the output buffer, and there are at most ``config.rows``.

    Addresses are issued one burst every two cycles, up to ``config.outstanding`` unanswered. Data
    follow at one beat per cycle; the first is offered at most 4 cycles after its address.

    Members
    -------
    instr, instr_valid, instr_ready : instruction with its addresses resolved
    stop : issue no further burst
    ready, take : ``out_ready`` tokens; give : ``out_free`` tokens, when a store is answered
    read_addr, read_part, read_row : output buffer read; ``read_data`` is that part of the word,
        as wide as the memory, two cycles later
    idle : nothing queued or in flight; quiet : no burst unanswered
    error : a burst was answered with an error
    beat, wait : events for the counters
    """

    def __init__(self, config):
        self._config = config
        bits = config.memory_bits
        super().__init__({
            "instr": In(instruction_layout("store")), "instr_valid": In(1), "instr_ready": Out(1),
            "stop": In(1), "ready": In(1), "take": Out(1), "give": Out(1),
            "read_addr": Out(16), "read_part": Out(range(max(config.out_parts, 2))),
            "read_row": Out(8), "read_data": In(config.memory_bits),
            "awaddr": Out(32), "awlen": Out(8), "awvalid": Out(1), "awready": In(1),
            "wdata": Out(bits), "wlast": Out(1), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1),
            "idle": Out(1), "quiet": Out(1), "error": Out(1), "beat": Out(1), "wait": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        layout = instruction_layout("store")
        m.submodules.queue = queue = InstructionQueue(
            width=layout.size, depth=config.queue_depth)
        # Output buffer word, and of rows and beats the last.
        job = Signal(data.StructLayout({
            "out": 16, "rows": config.row_bits, "beats": config.store_bits}))
        m.submodules.pump = pump = Queue(width=job.shape().size, depth=config.outstanding + 1)
        m.submodules.lengths = lengths = Queue(width=8, depth=config.outstanding)
        m.submodules.answers = answers = Queue(width=1, depth=config.outstanding)
        head = data.View(layout, queue.r_data)
        outstanding = Signal(range(config.outstanding + 1))
        issued = Signal()
        m.d.sync += outstanding.eq(outstanding + issued - self.bvalid)
        m.d.comb += [
            queue.w_data.eq(self.instr), queue.w_en.eq(self.instr_valid),
            self.instr_ready.eq(queue.w_rdy), pump.w_data.eq(job),
            *(job[name].eq(head[name] - (name != "out")) for name in ("out", "rows", "beats")),
            issued.eq(self.awvalid & self.awready),
            self.quiet.eq((outstanding == 0) & ~self.awvalid),
        ]

        row_address = Signal(32)
        address = Signal(32)
        stride = Signal(32)
        rows = Signal(config.row_bits)
        beats = Signal(config.store_bits)
        remaining = Signal(config.store_bits)
        length = Signal(9)
        signal = Signal()
        end_of_row = Signal()
        end = Signal()
        m.d.comb += [
            self.awaddr.eq(address), self.awlen.eq(length - 1),
            end.eq(end_of_row & (rows == 1)),
            lengths.w_data.eq(length - 1), lengths.w_en.eq(issued),
            answers.w_data.eq(end & signal), answers.w_en.eq(issued),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(~queue.r_rdy & ~pump.r_rdy & (outstanding == 0))
                with m.If(queue.r_rdy & pump.w_rdy & ~self.stop):
                    m.d.comb += self.wait.eq(head.wait & ~self.ready)
                    with m.If(~self.wait):
                        m.d.comb += [queue.r_en.eq(1), pump.w_en.eq(1), self.take.eq(head.wait)]
                        m.d.sync += [address.eq(head.dram), row_address.eq(head.dram),
                                     stride.eq(head.stride), rows.eq(head.rows),
                                     beats.eq(head.beats), remaining.eq(head.beats),
                                     signal.eq(head.signal)]
                        m.next = "SPLIT"
            with m.State("SPLIT"):
                with m.If(~self.stop):
                    count, ends = burst_length(config, address, remaining)
                    m.d.sync += [length.eq(count), end_of_row.eq(ends)]
                    m.next = "ADDRESS"
            with m.State("ADDRESS"):
                m.d.comb += self.awvalid.eq(outstanding != config.outstanding)
                with m.If(issued):
                    m.d.sync += [address.eq(address + length * config.beat_bytes),
                                 remaining.eq(remaining - length)]
                    m.next = "SPLIT"
                    with m.If(end_of_row):
                        m.d.sync += [address.eq(row_address + stride),
                                     row_address.eq(row_address + stride),
                                     remaining.eq(beats), rows.eq(rows - 1)]
                    with m.If(end):
                        m.next = "IDLE"

        m.d.comb += [
            answers.r_en.eq(self.bvalid), self.give.eq(self.bvalid & answers.r_data),
            self.error.eq(self.bvalid & (self.bresp != 0)),
        ]
        self._pump(m, data.View(job.shape(), pump.r_data), pump)
        self._send(m, lengths)
        return m

    def _pump(self, m, job, pump):
        """Read the rows of ``job`` beat by beat into the data queue."""
        config = self._config
        m.submodules.beats = beats = SyncFIFO(width=config.memory_bits, depth=DATA_DEPTH)
        part_bits = config.out_parts.bit_length() - 1
        row, index = Signal(config.row_bits), Signal(config.store_bits)
        reading = Signal()
        came = Signal()
        end_of_row = index == job.beats
        go = Signal()
        m.d.comb += [
            go.eq(pump.r_rdy & (beats.level + reading + came < DATA_DEPTH)),
            self.read_addr.eq(job.out + (index >> part_bits)), self.read_row.eq(row),
            self.read_part.eq(index[:part_bits]),
            pump.r_en.eq(go & end_of_row & (row == job.rows)),
            beats.w_en.eq(came), beats.w_data.eq(self.read_data),
        ]
        m.d.sync += [reading.eq(go), came.eq(reading)]
        with m.If(go):
            m.d.sync += index.eq(index + 1)
            with m.If(end_of_row):
                m.d.sync += [index.eq(0), row.eq(Mux(row == job.rows, 0, row + 1))]
        m.d.comb += self.wdata.eq(beats.r_data)
        self._beats = beats

    def _send(self, m, lengths):
        """Offer beats on the bus, ``last`` by the bursts' lengths."""
        beats, sent = self._beats, Signal(8)
        m.d.comb += [
            self.wvalid.eq(beats.r_rdy & lengths.r_rdy),
            self.wlast.eq(sent == lengths.r_data),
            self.beat.eq(self.wvalid & self.wready),
            beats.r_en.eq(self.beat), lengths.r_en.eq(self.beat & self.wlast),
        ]
        with m.If(self.beat):
            m.d.sync += sent.eq(Mux(self.wlast, 0, sent + 1))
