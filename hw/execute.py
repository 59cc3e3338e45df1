"""Execute engine: buffers, table filler, sequencer and the array."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.axi import instruction_layout
from hw.delay import delay
from hw.isa import Target
from hw.load import QUEUE_DEPTH
from hw.row import Row
from hw.sequencer import Sequencer
from hw.tables import TableFiller

__all__ = ["ExecuteEngine", "JOB_DEPTH", "retire_latency"]

JOB_DEPTH = 2  # instructions the table filler may be ahead of the sequencer


def retire_latency(config):
    """Cycles from a job's last slot leaving the sequencer to its tokens being given: by then
    its last result is in the output buffer of the last row."""
    return 2 + Row.result_latency(config) + config.rows + config.drain_slots


class ExecuteEngine(wiring.Component):
    """Executes ``exec`` instructions in order: tables of one K-tile are filled while the slices
    of the one before stream by.

    Members
    -------
    instr, instr_valid, instr_ready : instruction with its addresses resolved
    ready_*/take_* : tokens ``w_ready``, ``a_ready``, ``out_free``
    give_* : tokens ``w_free``, ``a_free``, ``out_ready``
    write_* : buffer writes of the load engine
    read_addr, read_row, read_data : output buffer read, one cycle late
    idle, busy and wait_* : state and events for the counters
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "instr": In(instruction_layout("exec")), "instr_valid": In(1), "instr_ready": Out(1),
            **{f"ready_{name}": In(1) for name in ("w", "a", "out")},
            **{f"take_{name}": Out(1) for name in ("w", "a", "out")},
            **{f"give_{name}": Out(1) for name in ("w", "a", "out")},
            "write_en": In(1), "write_target": In(2), "write_addr": In(24),
            "write_data": In(config.memory_bits), "write_broadcast": In(1),
            "read_addr": In(16), "read_row": In(8), "read_data": Out(config.out_word_bits),
            "idle": Out(1), "busy": Out(1),
            **{f"wait_{name}": Out(1) for name in ("w", "a", "out", "tables")},
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        layout = instruction_layout("exec")
        m.submodules.queue = queue = SyncFIFO(width=layout.size, depth=QUEUE_DEPTH)
        m.submodules.jobs = jobs = SyncFIFO(width=layout.size, depth=JOB_DEPTH)
        m.submodules.filler = filler = TableFiller(config)
        m.submodules.sequencer = sequencer = Sequencer(config)
        self._buffers(m, filler, sequencer)

        full = Signal(2)
        clear = delay(m, sequencer.clear_full, config.rows, "clear_full")
        m.d.sync += full.eq((full | filler.set_full) & ~clear)
        m.d.comb += [
            queue.w_data.eq(self.instr), queue.w_en.eq(self.instr_valid),
            self.instr_ready.eq(queue.w_rdy), queue.r_en.eq(filler.instr_take),
            filler.instr.eq(queue.r_data), filler.instr_valid.eq(queue.r_rdy),
            jobs.w_data.eq(filler.job), jobs.w_en.eq(filler.job_valid),
            filler.job_ready.eq(jobs.w_rdy), filler.full.eq(full),
            sequencer.job.eq(jobs.r_data), sequencer.job_valid.eq(jobs.r_rdy),
            jobs.r_en.eq(sequencer.job_take), sequencer.full.eq(full),
            self.busy.eq(sequencer.busy), self.wait_tables.eq(sequencer.wait_tables),
        ]
        instr = filler.instr
        for name in ("w", "a", "out"):
            m.d.comb += [
                getattr(filler, f"ready_{name}").eq(getattr(self, f"ready_{name}")),
                getattr(self, f"take_{name}").eq(filler.instr_take & instr[f"wait_{name}"]),
                getattr(self, f"wait_{name}").eq(getattr(filler, f"wait_{name}")),
            ]

        retire = Cat(sequencer.retire, sequencer.free_w, sequencer.free_a, sequencer.signal_out)
        stages = [retire]
        for stage in range(retire_latency(config)):
            stages.append(delay(m, stages[-1], 1, f"retire{stage}"))
        ended = stages[-1]
        m.d.comb += [
            self.give_w.eq(ended[0] & ended[1]), self.give_a.eq(ended[0] & ended[2]),
            self.give_out.eq(ended[0] & ended[3]),
            self.idle.eq(filler.idle & sequencer.idle & ~Cat(s[0] for s in stages).any()),
        ]
        return m

    def _buffers(self, m, filler, sequencer):
        """Weight, activation and scale buffers, and the array they feed."""
        config = self._config
        weights = self._buffer(m, "weights", Target.WEIGHTS, config.weight_word_bits,
                               config.weight_depth)
        acts = self._buffer(m, "acts", Target.ACTS, config.act_word_bits, config.act_depth,
                            config.rows)
        scales = self._buffer(m, "scales", Target.SCALES, config.scale_word_bits,
                              config.scale_depth)
        m.d.comb += [weights.addr.eq(sequencer.w_addr), acts.addr.eq(filler.read_addr),
                     filler.read_data.eq(acts.data)]

        rows = [Row(config) for _ in range(config.rows)]
        # Slices pass one register; an offset slot sends all-plus instead (synchronous set).
        slices = Signal(data.ArrayLayout(config.k_tile, config.cols))
        plus = int("0111" * (config.tables * config.cols), 2)
        offset = delay(m, sequencer.offset, 1, "offset")
        m.d.sync += slices.eq(Mux(offset, plus, weights.data))
        slot = delay(m, delay(m, sequencer.slot, 1, "slot"), 1, "slot_head")

        mults = Signal(data.ArrayLayout(signed(config.mult_bits), config.cols))
        latency = 2 + rows[0]._pes[0].s_latency - 1   # from slot to multiplier, below: 4 registers
        s_addr = delay(m, sequencer.s_addr, latency - 4, "s_addr")
        shift = delay(m, sequencer.shift, latency - 3, "shift")
        m.d.comb += scales.addr.eq(s_addr)
        for column in range(config.cols):
            word = scales.data.word_select(column, 16)
            mantissa, total = Signal(signed(12)), Signal(5)
            coarse, coarse_shift = Signal(signed(config.mult_bits)), Signal(2)
            m.d.sync += [
                mantissa.eq(word[:12].as_signed()), total.eq(word[12:] + shift),
                coarse.eq(mantissa << (total[2:] << 2)), coarse_shift.eq(total[:2]),
                mults[column].eq(coarse << coarse_shift),
            ]

        above = {"slice": slices, "slot": slot, "mult": mults}
        read_row = delay(m, self.read_row, 1, "read_row")
        words = Array(row.read_data for row in rows)
        m.d.comb += self.read_data.eq(words[read_row])
        for index, row in enumerate(rows):
            m.submodules[f"row{index}"] = row
            m.d.comb += [getattr(row, f"{name}_i").eq(value) for name, value in above.items()]
            above = {name: getattr(row, f"{name}_o") for name in above}
            m.d.comb += [
                row.w_step.eq(filler.w_step), row.w_addr.eq(filler.w_addr),
                row.w_data.eq(filler.w_data[index]), row.sigma.eq(filler.sigma[index]),
                row.read_addr.eq(self.read_addr),
            ]

    def _buffer(self, m, name, target, width, depth, rows=1):
        """A buffer written by memory beats and read by whole words; returns its read port."""
        config = self._config
        m.submodules[name] = memory = Memory(shape=unsigned(width), depth=depth, init=[])
        write = memory.write_port(granularity=config.memory_bits)
        chunks = width // config.memory_bits
        lane_bits = chunks.bit_length() - 1
        row_chunks = chunks // rows
        row_bits = row_chunks.bit_length() - 1
        hit = self.write_en & (self.write_target == target)
        every = sum(1 << row_chunks * row for row in range(rows))  # one lane of every row
        single, broadcast = Signal(chunks), Signal(chunks)
        m.d.comb += [
            single.eq(1 << self.write_addr[:lane_bits]),
            broadcast.eq(every << self.write_addr[:row_bits]),
            write.addr.eq(Mux(self.write_broadcast, self.write_addr >> row_bits,
                              self.write_addr >> lane_bits)),
            write.data.eq(self.write_data.replicate(chunks)),
            write.en.eq(Mux(hit, Mux(self.write_broadcast, broadcast, single), 0)),
        ]
        return memory.read_port()
