"""Table builders of one row: entries from activations, and the sums of these."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.primitives.delay_line import delay

__all__ = ["FILL_LATENCY", "RowBuilders", "fill_layout"]

FILL_LATENCY = 4   # cycles from an entry's address to its write


def fill_layout(config):
    """Return the layout of what is written into the lanes in one step: table entries, or
    activations."""
    if config.decodes:
        return data.ArrayLayout(signed(config.act_bits), 4 * config.builders)
    return data.ArrayLayout(signed(config.table_bits), config.builders)


class RowBuilders(wiring.Component):
    """The end of the table filler that every row has for itself: its last registers reach the
    elements of one row only, and none of them is reset: a cycle after its inputs, nothing is
    written.

    Inputs other than ``acts`` and ``entry`` come one cycle before they hold for the write that
    leaves.

    Members
    -------
    acts : the row's activation word, two cycles after its address
    entry : one cycle after its address
    step_i, addr_i : ``w_step`` and ``w_addr`` of the cycle to come
    summing_i, first_i, to_i : add the entries to the sum of bank ``to_i``, or start it with them
    w_step, w_addr, w_data : table writes, ``FILL_LATENCY`` cycles after the entry's address
    sigma : per bank, the sum of the activations in the tables; 0 where there are none
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "acts": In(config.row_act_bits), "entry": In(range(max(config.fill_entries, 2))),
            "step_i": In(config.table_steps), "addr_i": In(4),
            "summing_i": In(1), "first_i": In(1), "to_i": In(1),
            "w_step": Out(config.table_steps), "w_addr": Out(4),
            "w_data": Out(fill_layout(config)),
            "sigma": Out(data.ArrayLayout(signed(config.sigma_bits), 2)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.d.comb += [
            self.w_step.eq(delay(m, self.step_i, 1, "step", data=True)),
            self.w_addr.eq(delay(m, self.addr_i, 1, "addr", data=True)),
        ]
        if config.decodes:
            m.d.comb += Value.cast(self.w_data).eq(
                delay(m, self.acts, FILL_LATENCY - 2, "words", data=True))
        else:
            self._entries(m, delay(m, self.entry, 1, "x", data=True))
            self._sums(m, *(delay(m, value, 1, name, data=True) for name, value in (
                ("summing", self.summing_i), ("first", self.first_i), ("to", self.to_i))))
        return m

    def _entries(self, m, x):
        """One entry of every builder, two cycles after ``x`` and its activations."""
        config = self._config
        build = {"lutram": self._sum, "mux": self._pair, "tl2": self._ternary}[config.table]
        for column in range(config.builders):
            word = self.acts.word_select(column, 4 * config.act_bits)
            four = [word.word_select(i, config.act_bits).as_signed() for i in range(4)]
            high = Signal(signed(config.act_bits + 1), reset_less=True)
            low = Signal(signed(config.act_bits + 2), reset_less=True)  # reaches +2^act_bits
            entry = Signal(signed(config.table_bits), name=f"entry{column}", reset_less=True)
            high_sum, low_sum = build(x, four)
            m.d.sync += [high.eq(high_sum), low.eq(low_sum), entry.eq(high + low)]
            m.d.comb += self.w_data[column].eq(entry)

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

    def _sums(self, m, summing, first, bank):
        total = sum(self.w_data[i] for i in range(self._config.builders))
        sums = Signal(self.sigma.shape(), reset_less=True)
        with m.If(summing):
            m.d.sync += sums[bank].eq(Mux(first, 0, sums[bank]) + total)
        m.d.comb += self.sigma.eq(sums)


def _balanced(number):
    """The three ternary digits of ``number``, highest first, each in −1 … 1."""
    digits = []
    for _ in range(3):
        digits.append((number + 1) % 3 - 1)
        number = (number - digits[-1]) // 3
    return digits[::-1]
