"""Table filler: reads activations and writes the next bank of every element's tables."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.axi import instruction_layout
from hw.delay import delay

__all__ = ["TableFiller", "FILL_LATENCY", "fill_layout"]

FILL_LATENCY = 4   # cycles from an entry's address to its write


def fill_layout(config):
    """What is written into the lanes of one step: table entries, or activations."""
    if config.decodes:
        return data.ArrayLayout(signed(config.act_bits), 4 * config.builders)
    return data.ArrayLayout(signed(config.table_bits), config.builders)


class TableFiller(wiring.Component):
    """First stage of ``exec``: takes an instruction and its tokens, fills one bank per K-tile.

    A K-tile takes ``config.fill_entries`` cycles per step, of ``config.table_steps`` steps. Two
    banks alternate; of one, the next K-tile waits until it is free. An accepted instruction is
    passed on to the sequencer at once. What is written as entry x of the tables of a step:

    ============== =====================================================================
    ``lutram``     ``a3 ± a0 ± a1 ± a2``, plus where bit i of x is set
    ``mux``        ``a3 − a2``, ``a3 + a2``, ``a1 − a0``, ``a1 + a0``, and these once more
    ``tl2``        ``w0 * a0 + w1 * a1 + w2 * a2``, ``9 * w0 + 3 * w1 + w2 = x``, w in −1 … 1
    no tables      the activations themselves, in one cycle
    ============== =====================================================================

    Members
    -------
    instr, instr_valid, instr_take : head of the instruction queue
    ready_w, ready_a, ready_out : tokens ``w_ready``, ``a_ready``, ``out_free`` are there
    job, job_valid, job_ready : the instruction, to the sequencer
    read_addr : activation word; ``read_data`` follows one cycle later
    full : banks in use; ``set_full`` pulses as a bank's last entry is addressed
    w_step, w_addr, w_data : table writes, the same for every column; one word per row; ``w_addr``
        is ``{bank, x}``, or x (``tl2``)
    sigma : per row and bank, the sum of the activations in the tables; 0 where there are none
    idle, wait_w, wait_a, wait_out
    """

    def __init__(self, config):
        self._config = config
        layout = instruction_layout("exec")
        super().__init__({
            "instr": In(layout), "instr_valid": In(1), "instr_take": Out(1),
            "ready_w": In(1), "ready_a": In(1), "ready_out": In(1),
            "job": Out(layout), "job_valid": Out(1), "job_ready": In(1),
            "read_addr": Out(16), "read_data": In(config.act_word_bits),
            "full": In(2), "set_full": Out(2),
            "w_step": Out(config.table_steps), "w_addr": Out(4),
            "w_data": Out(data.ArrayLayout(fill_layout(config), config.rows)),
            "sigma": Out(data.ArrayLayout(data.ArrayLayout(signed(config.sigma_bits), 2),
                                          config.rows)),
            "idle": Out(1), "wait_w": Out(1), "wait_a": Out(1), "wait_out": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        entries = config.fill_entries
        bank, entry = Signal(), Signal(range(max(entries, 2)))
        step = Signal(range(max(config.table_steps, 2)))
        tiles, address = Signal(12), Signal(16)
        filling, end_step, end = Signal(), Signal(), Signal()
        missing_w = self.instr.wait_w & ~self.ready_w
        missing_a = self.instr.wait_a & ~self.ready_a
        missing_out = self.instr.wait_out & ~self.ready_out
        m.d.comb += [
            self.job.eq(self.instr), self.read_addr.eq(address),
            end_step.eq(entry == entries - 1),
            end.eq(end_step & (step == config.table_steps - 1)),
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
                with m.If(end_step):
                    m.d.sync += [entry.eq(0), address.eq(address + 1), step.eq(step + 1)]
                with m.If(end):
                    m.d.sync += [step.eq(0), tiles.eq(tiles - 1)]
                    if config.banks == 2:
                        m.d.sync += bank.eq(~bank)
                    with m.If(tiles == 1):
                        m.next = "IDLE"
                    with m.Elif(self.full.bit_select(~bank, 1) if config.banks == 2 else 1):
                        m.next = "WAIT"

        address = entry if config.tl2 else Cat(entry, bank)
        m.d.comb += [
            self.w_step.eq(delay(m, Mux(filling, 1 << step, 0)[:config.table_steps],
                                 FILL_LATENCY, "w_step")),
            self.w_addr.eq(delay(m, address, FILL_LATENCY, "w_addr")),
        ]
        acts = delay(m, self.read_data, 1, "acts")   # block RAM is slow
        if config.decodes:
            m.d.comb += Value.cast(self.w_data).eq(delay(m, acts, FILL_LATENCY - 2, "words"))
        else:
            self._tables(m, acts, delay(m, entry, 2, "x"))
            # ``mux`` tables get all four activations in two of their entries.
            summing = filling & (entry[0] & entry[2] if config.table == "mux" else end_step)
            first = (step == 0) & ((entry == 5) if config.table == "mux" else 1)
            self._sigma(m, delay(m, summing, FILL_LATENCY, "sums"),
                        delay(m, first, FILL_LATENCY, "first"), delay(m, bank, FILL_LATENCY, "to"))
        return m

    def _tables(self, m, acts, x):
        """One entry of every builder, two cycles after ``x`` and its activations."""
        config = self._config
        build = {"lutram": self._sum, "mux": self._pair, "tl2": self._ternary}[config.table]
        for row in range(config.rows):
            words = acts.word_select(row, config.row_act_bits)
            for column in range(config.builders):
                word = words.word_select(column, 4 * config.act_bits)
                four = [word.word_select(i, config.act_bits).as_signed() for i in range(4)]
                high = Signal(signed(config.act_bits + 1))
                low = Signal(signed(config.act_bits + 2))  # reaches +2^act_bits
                high_sum, low_sum = build(x, four)
                m.d.sync += [high.eq(high_sum), low.eq(low_sum),
                             self.w_data[row][column].eq(high + low)]

    @staticmethod
    def _sum(x, a):
        return (Mux(x[2], a[3] + a[2], a[3] - a[2]),
                Mux(x[1], a[1], -a[1]) + Mux(x[0], a[0], -a[0]))

    @staticmethod
    def _pair(x, a):
        left, right = Mux(x[1], a[1], a[3]), Mux(x[1], a[0], a[2])
        return Mux(x[0], left + right, left - right), 0

    @staticmethod
    def _ternary(x, a):
        weights = [_balanced(number) for number in range(14)]
        plus, minus = ([Array(w[i] == sign for w in weights)[x] for i in range(3)]
                       for sign in (1, -1))
        terms = [Mux(plus[i], a[i], Mux(minus[i], -a[i], 0)) for i in range(3)]
        return terms[0], terms[1] + terms[2]

    def _sigma(self, m, summing, first, bank):
        config = self._config
        for row in range(config.rows):
            total = sum(self.w_data[row][i] for i in range(config.builders))
            with m.If(summing):
                sigma = self.sigma[row][bank]
                m.d.sync += sigma.eq(Mux(first, 0, sigma) + total)


def _balanced(number):
    """The three ternary digits of ``number``, highest first, each in −1 … 1."""
    digits = []
    for _ in range(3):
        digits.append((number + 1) % 3 - 1)
        number = (number - digits[-1]) // 3
    return digits[::-1]
