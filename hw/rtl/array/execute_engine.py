"""Execute engine: buffers, table filler, sequencer and the array."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.isa.instruction_table import Target
from bitwright.hw.machine.memory_format import SELECT_BIT
from bitwright.hw.rtl.array.row import Row
from bitwright.hw.rtl.array.sequencer import Sequencer
from bitwright.hw.rtl.array.table_filler import TableFiller
from bitwright.hw.rtl.array.weight_decoder import Decoder
from bitwright.hw.rtl.primitives.block_ram import block_ram
from bitwright.hw.rtl.primitives.delay_line import delay
from bitwright.hw.rtl.primitives.fifo import Fifo, InstructionQueue
from bitwright.hw.rtl.primitives.instruction_layout import instruction_layout
from bitwright.hw.rtl.primitives.local_reset import later_reset

__all__ = ["ExecuteEngine"]


def plus_slice(config):
    """The slice in which every weight is +1."""
    element = config.element
    return sum(element.plus(config) << lane * config.lane_bits
               for lane in range(element.lanes(config)))


class ExecuteEngine(wiring.Component):
    """Executes ``exec`` instructions in order: tables of one K-tile are filled while the slices
    of the one before stream by.

    Members
    -------
    instr, instr_valid, instr_ready : instruction with its addresses resolved
    ready_*/take_* : tokens ``w_ready``, ``a_ready``, ``out_free``
    give_* : tokens ``w_free``, ``a_free``, ``out_ready``
    write_* : buffer writes of the load engine
    read_addr, read_part, read_row, read_data : output buffer read, two cycles late
    idle, busy and wait_* : state and events for the counters
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "instr": In(instruction_layout("exec")), "instr_valid": In(1), "instr_ready": Out(1),
            **{f"ready_{name}": In(1) for name in ("w", "a", "out")},
            **{f"take_{name}": Out(1) for name in ("w", "a", "out")},
            **{f"give_{name}": Out(1) for name in ("w", "a", "out")},
            "write_en": In(1), "write_target": In(3), "write_addr": In(24),
            "write_data": In(config.memory_bits), "write_broadcast": In(1),
            "read_addr": In(16), "read_part": In(range(max(config.out_parts, 2))),
            "read_row": In(8), "read_data": Out(config.memory_bits),
            "idle": Out(1), "busy": Out(1),
            **{f"wait_{name}": Out(1) for name in ("w", "a", "out", "tables")},
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        layout = instruction_layout("exec")
        m.submodules.queue = queue = InstructionQueue(
            width=layout.size, depth=config.queue_depth)
        m.submodules.filler = filler = TableFiller(config)
        m.submodules.sequencer = sequencer = Sequencer(config)
        self._buffers(m, filler, sequencer)

        # The filler sees a bank free when the last row has used it.
        full, held = Signal(2), Signal(2)
        clear = delay(m, sequencer.clear_full, config.rows, "clear_full")
        m.d.sync += [full.eq((full | filler.set_full) & ~sequencer.clear_full),
                     held.eq((held | filler.set_full) & ~clear)]
        m.d.comb += [
            queue.w_data.eq(self.instr), queue.w_en.eq(self.instr_valid),
            self.instr_ready.eq(queue.w_rdy), queue.r_en.eq(filler.instr_take),
            filler.instr.eq(queue.r_data), filler.instr_valid.eq(queue.r_rdy),
            filler.full.eq(held), sequencer.full.eq(full),
            self.busy.eq(sequencer.busy), self.wait_tables.eq(sequencer.wait_tables),
        ]
        if config.job_depth:
            m.submodules.jobs = jobs = Fifo(width=layout.size, depth=config.job_depth)
            m.d.comb += [
                jobs.w_data.eq(filler.job), jobs.w_en.eq(filler.job_valid),
                filler.job_ready.eq(jobs.w_rdy), sequencer.job.eq(jobs.r_data),
                sequencer.job_valid.eq(jobs.r_rdy), jobs.r_en.eq(sequencer.job_ready),
            ]
        else:
            m.d.comb += [sequencer.job.eq(filler.job), sequencer.job_valid.eq(filler.job_valid),
                         filler.job_ready.eq(sequencer.job_ready)]
        instr = filler.instr
        for name in ("w", "a", "out"):
            m.d.comb += [
                getattr(filler, f"ready_{name}").eq(getattr(self, f"ready_{name}")),
                getattr(self, f"take_{name}").eq(delay(
                    m, filler.instr_take & instr[f"wait_{name}"], config.far, f"take_{name}")),
                getattr(self, f"wait_{name}").eq(getattr(filler, f"wait_{name}")),
            ]

        retire = Cat(sequencer.retire, sequencer.free_w, sequencer.free_a, sequencer.signal_out)
        stages = [retire]
        for stage in range(config.retire_latency):
            stages.append(delay(m, stages[-1], 1, f"retire{stage}"))
        ended = stages[-1]
        m.d.comb += [
            self.give_w.eq(ended[0] & ended[1]), self.give_a.eq(ended[0] & ended[2]),
            self.give_out.eq(ended[0] & ended[3]),
            self.idle.eq(filler.idle & sequencer.idle & ~Cat(s[0] for s in stages).any()),
        ]
        return m

    def _buffers(self, m, filler, sequencer):
        """Weight, activation and scale buffers, and the array they feed. What is loaded is written
        ``2 * far`` cycles later: nobody reads it before the third cycle after its token."""
        config = self._config
        write = {name: delay(m, getattr(self, f"write_{name}"), config.far, f"write_{name}",
                             data=name != "en")
                 for name in ("en", "target", "addr", "data", "broadcast")}
        weights = self._buffer(m, write, "weights", Target.WEIGHTS, config.weight_word_bits,
                               config.weight_depth)
        acts = self._buffer(m, write, "acts", Target.ACTS, config.act_word_bits, config.act_depth,
                            config.rows)
        scales = self._buffer(m, write, "scales", Target.SCALES, config.scale_word_bits,
                              config.scale_depth)
        m.d.comb += [weights.addr.eq(sequencer.w_addr), acts.addr.eq(filler.read_addr),
                     filler.read_data.eq(acts.data)]
        head = config.slice_latency
        rows = [Row(config) for _ in range(config.rows)]
        sent = (self._decode(m, write, sequencer, weights, scales) if config.decodes
                else weights.data)
        plus = Const(plus_slice(config), config.slice_bits).replicate(config.cols)
        # Slices pass one register; an offset slot sends all-plus instead (synchronous set).
        slices = Signal(data.ArrayLayout(config.slice_bits, config.cols), reset_less=True)
        offset = delay(m, sequencer.offset, head - 1, "offset")
        m.d.sync += slices.eq(Mux(offset, plus, sent))
        slot = delay(m, sequencer.slot, head, "slot")

        # Four registers between a scale's address and its multiplier, at the first row in time.
        wait = head + config.sum_latency - 1 - 4
        mults = Signal(data.ArrayLayout(signed(config.mult_bits), config.cols), reset_less=True)
        shift = delay(m, sequencer.shift, wait + 1, "shift")
        if config.decodes:  # the select in the scale's half-word is wanted at once
            m.d.comb += scales.addr.eq(sequencer.s_addr)
            words = delay(m, scales.data, wait, "scale_word", data=True)
            select = delay(m, sequencer.select, wait + 1, "select")
        else:
            m.d.comb += scales.addr.eq(delay(m, sequencer.s_addr, wait, "s_addr", data=True))
            words, select = scales.data, Const(0, 1)
        for column in range(config.cols):
            word = words.word_select(column, 16)
            mantissa, total = Signal(signed(12), reset_less=True), Signal(5, reset_less=True)
            coarse = Signal(signed(config.mult_bits), reset_less=True)
            coarse_shift = Signal(2, reset_less=True)
            m.d.sync += [
                mantissa.eq(Mux(select, word[:SELECT_BIT], word[:12].as_signed())),
                total.eq(word[12:] + shift),
                coarse.eq(mantissa << (total[2:] << 2)), coarse_shift.eq(total[:2]),
                mults[column].eq(coarse << coarse_shift),
            ]

        above = {"slice": slices, "slot": slot, "mult": mults}
        read_row = delay(m, self.read_row, 2, "read_row")
        words = Array(row.read_data for row in rows)
        m.d.comb += self.read_data.eq(words[read_row])
        reset = Const(0)    # goes down the rows as slots do
        for index, row in enumerate(rows):
            clear = later_reset(m, f"row{index}", reset)
            above_reset, reset = reset, Signal(init=1, name=f"reset{index}")
            m.d.sync += reset.eq(above_reset)
            m.submodules[f"row{index}"] = clear(row)
            m.d.comb += [getattr(row, f"{name}_i").eq(value) for name, value in above.items()]
            above = {name: getattr(row, f"{name}_o") for name in above}
            m.d.comb += [
                row.w_step.eq(filler.w_step[index]), row.w_addr.eq(filler.w_addr[index]),
                row.w_data.eq(filler.w_data[index]), row.sigma.eq(filler.sigma[index]),
                row.read_addr.eq(self.read_addr), row.read_part.eq(self.read_part),
            ]

    def _decode(self, m, write, sequencer, weights, scales):
        """Slices from the codes in the weight words."""
        config = self._config
        m.submodules.decoder = decoder = Decoder(config)
        select = delay(m, sequencer.select, 1, "select_head")
        m.d.comb += [
            decoder.word.eq(weights.data),
            *(getattr(decoder, name).eq(delay(m, getattr(sequencer, name), 1, name))
              for name in ("digit", "step", "part", "packing")),
            *(decoder.select[column].eq(Mux(select, scales.data.word_select(column, 16)[
                SELECT_BIT:SELECT_BIT + 2], 0)) for column in range(config.cols)),
            decoder.write_en.eq(write["en"] & (write["target"] == Target.TABLE)),
            decoder.write_addr.eq(write["addr"]), decoder.write_data.eq(write["data"]),
        ]
        return decoder.slices

    def _buffer(self, m, beat, name, target, width, depth, rows=1):
        """A buffer written by memory beats and read by whole words; returns its read port."""
        config = self._config
        m.submodules[name] = memory = block_ram(unsigned(width), depth)
        write = memory.write_port(granularity=config.memory_bits)
        chunks = width // config.memory_bits
        lane_bits = (chunks - 1).bit_length()
        row_chunks = chunks // rows
        row_bits = row_chunks.bit_length() - 1
        every = sum(1 << row_chunks * row for row in range(rows))  # one lane of every row
        place = Mux(beat["broadcast"], every << beat["addr"][:row_bits],
                    1 << beat["addr"][:lane_bits])[:chunks]
        address = Mux(beat["broadcast"], beat["addr"] >> row_bits, beat["addr"] >> lane_bits)
        hit = beat["en"] & (beat["target"] == target)   # a gate, not a reset of the registers
        write_data = delay(m, beat["data"], config.far, f"{name}_data", data=True)
        m.d.comb += [
            write.addr.eq(delay(m, address[:len(write.addr)], config.far, f"{name}_addr",
                                data=True)),
            write.data.eq(write_data.replicate(chunks)),
            write.en.eq(delay(m, place & hit.replicate(chunks), config.far, f"{name}_en")),
        ]
        return memory.read_port()
