"""Table filler: reads activations and writes the next bank of every element's tables."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.axi import instruction_layout
from hw.delay import delay

__all__ = ["TableFiller", "ENTRIES", "FILL_LATENCY", "fill_layout"]

ENTRIES = 8        # entries of one table
FILL_LATENCY = 3   # cycles from an entry's address to its write


def fill_layout(config):
    """What is written into the lanes of one step: table entries, or activations."""
    if config.decodes:
        return data.ArrayLayout(signed(config.act_bits), 4 * config.builders)
    return data.ArrayLayout(signed(config.table_bits), config.builders)


class TableFiller(wiring.Component):
    """First stage of ``exec``: takes an instruction and its tokens, fills one bank per K-tile.

    Entry ``x`` of a table is ``a3 ± a0 ± a1 ± a2``, plus where bit i of ``x`` is set. A K-tile
    takes ``8 * config.table_steps`` cycles; the two banks alternate. An accepted instruction is
    passed on to the sequencer at once.

    Members
    -------
    instr, instr_valid, instr_take : head of the instruction queue
    ready_w, ready_a, ready_out : tokens ``w_ready``, ``a_ready``, ``out_free`` are there
    job, job_valid, job_ready : the instruction, to the sequencer
    read_addr : activation word; ``read_data`` follows one cycle later
    full : banks in use; ``set_full`` pulses as a bank's last entry is addressed
    w_step, w_addr, w_data : table writes, the same for every column; one word per row
    sigma : per row and bank, the sum of the activations in the tables
    idle, wait_w, wait_a, wait_out
    """

    def __init__(self, config):
        self._config = config
        layout = instruction_layout("exec")
        entry = signed(config.table_bits)
        super().__init__({
            "instr": In(layout), "instr_valid": In(1), "instr_take": Out(1),
            "ready_w": In(1), "ready_a": In(1), "ready_out": In(1),
            "job": Out(layout), "job_valid": Out(1), "job_ready": In(1),
            "read_addr": Out(16), "read_data": In(config.act_word_bits),
            "full": In(2), "set_full": Out(2),
            "w_step": Out(config.table_steps), "w_addr": Out(4),
            "w_data": Out(data.ArrayLayout(data.ArrayLayout(entry, config.builders),
                                           config.rows)),
            "sigma": Out(data.ArrayLayout(data.ArrayLayout(signed(config.sigma_bits), 2),
                                          config.rows)),
            "idle": Out(1), "wait_w": Out(1), "wait_a": Out(1), "wait_out": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        bank, entry = Signal(), Signal(range(ENTRIES))
        step = Signal(range(max(config.table_steps, 2)))
        tiles, address = Signal(12), Signal(16)
        filling, end = Signal(), Signal()
        missing_w = self.instr.wait_w & ~self.ready_w
        missing_a = self.instr.wait_a & ~self.ready_a
        missing_out = self.instr.wait_out & ~self.ready_out
        m.d.comb += [
            self.job.eq(self.instr), self.read_addr.eq(address),
            end.eq((entry == ENTRIES - 1) & (step == config.table_steps - 1)),
            self.set_full.eq(Mux(filling & end, 1 << bank, 0)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(~self.instr_valid)
                with m.If(self.instr_valid & self.job_ready):
                    m.d.comb += [self.wait_w.eq(missing_w),
                                 self.wait_a.eq(missing_a & ~missing_w),
                                 self.wait_out.eq(missing_out & ~missing_a & ~missing_w)]
                    with m.If(~(missing_w | missing_a | missing_out)):
                        m.d.comb += [self.instr_take.eq(1), self.job_valid.eq(1)]
                        m.d.sync += [tiles.eq(self.instr.tiles), address.eq(self.instr.a_addr)]
                        m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(~self.full.bit_select(bank, 1)):
                    m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += filling.eq(1)
                m.d.sync += entry.eq(entry + 1)
                with m.If(entry == ENTRIES - 1):
                    m.d.sync += [address.eq(address + 1), step.eq(step + 1)]
                with m.If(end):
                    m.d.sync += [step.eq(0), bank.eq(~bank), tiles.eq(tiles - 1)]
                    with m.If(tiles == 1):
                        m.next = "IDLE"
                    with m.Elif(self.full.bit_select(~bank, 1)):
                        m.next = "WAIT"

        m.d.comb += [
            self.w_step.eq(delay(m, Mux(filling, 1 << step, 0)[:config.table_steps],
                                 FILL_LATENCY, "w_step")),
            self.w_addr.eq(delay(m, Cat(entry, bank), FILL_LATENCY, "w_addr")),
        ]
        sign = delay(m, entry, 1, "sign")
        sums = delay(m, filling & (entry == ENTRIES - 1), FILL_LATENCY, "sums")
        start = delay(m, step == 0, FILL_LATENCY, "start")
        for row in range(config.rows):
            words = self.read_data.word_select(row, config.row_act_bits)
            for column in range(config.builders):
                self._entry(m, words.word_select(column, 4 * config.act_bits), sign,
                            self.w_data[row][column])
            total = sum(self.w_data[row][i] for i in range(config.builders))
            with m.If(sums):
                sigma = self.sigma[row][self.w_addr[3]]
                m.d.sync += sigma.eq(Mux(start, 0, sigma) + total)
        return m

    def _entry(self, m, word, sign, out):
        bits = self._config.act_bits
        a = [word[i * bits:(i + 1) * bits].as_signed() for i in range(4)]
        high, low = Signal(signed(bits + 1)), Signal(signed(bits + 2))  # low reaches +2^bits
        m.d.sync += [
            high.eq(Mux(sign[2], a[3] + a[2], a[3] - a[2])),
            low.eq(Mux(sign[1], a[1], -a[1]) + Mux(sign[0], a[0], -a[0])),
            out.eq(high + low),
        ]
