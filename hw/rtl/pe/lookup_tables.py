"""Tables of activation sums: what the elements of a row share, and what each one looks up.

Entry x of a table is ``a3 ± a0 ± a1 ± a2``, plus where bit i of x is set. Its bit 0 is the same for
every x, and its bit 1 is that of entry 0 exclusive-or the parity of ``x & {a2[0], a1[0], a0[0]}``.
"""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.fabric.adders import adders_for
from bitwright.hw.rtl.primitives.delay_line import delay

__all__ = ["PairTable", "RamTable", "RowTables", "pair_layout", "shared_layout"]


def pair_layout(config):
    """Sums of two activations from which a table of kind ``mux`` is made up.

    ``high``: ``a3 − a2`` and ``a3 + a2``; ``low``: ``a1 − a0`` and ``a1 + a0``; of each the bits
    from 1 up. ``odd_high``, ``odd_low``: their bit 0, the same for difference and sum.
    """
    return data.StructLayout({
        "high": data.ArrayLayout(signed(config.act_bits), 2),
        "low": data.ArrayLayout(signed(config.act_bits), 2),
        "odd_high": 1, "odd_low": 1,
    })


def shared_layout(config):
    """Return the layout of what all elements of a row need of a bank's tables, by kind of table.

    ``parity`` (``lutram``): per table, bit 1 of entry 0, then bit 0 of a0, a1 and a2.
    ``pairs`` (``mux``): per table, :func:`pair_layout`.
    ``odd``: per table, bit 0 of its entries, one cycle later than the rest.
    """
    if config.table == "mux":
        first = {"pairs": data.ArrayLayout(pair_layout(config), config.tables)}
    else:
        first = {"parity": data.ArrayLayout(4, config.tables)}
    return data.StructLayout(first | {"odd": config.tables})


class RowTables(wiring.Component):
    """Holds for a row, in ``config.banks`` banks, what :func:`shared_layout` names; not for
    ``tl2``.

    Members
    -------
    w_step, w_addr, w_data : table writes as :class:`TableFiller` gives them; the entries
        of a step come in ascending order, with or without gaps
    bank_i : bank that the slice reads, in the cycle of ``slice_i``
    shared_o : ``shared_layout``, one cycle later (``odd`` two), for ``shared_i`` of every element
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "w_step": In(config.table_steps), "w_addr": In(4),
            "w_data": In(data.ArrayLayout(signed(config.table_bits), config.builders)),
            "bank_i": In(1), "shared_o": Out(shared_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        banks = [[] for _ in range(config.banks)]  # per bank and table: (what is shared, odd)
        hold = self._hold_pairs if config.table == "mux" else self._hold_parity
        lanes = self._lanes(m) if config.table == "lutram" else self.w_data
        for t in range(config.tables):
            step, lane = self.w_step[t // config.builders], lanes[t % config.builders]
            for index, bank in enumerate(banks):
                bank.append(hold(m, step, index, lane, f"{index}_{t}"))

        late = delay(m, self.bank_i, 1, "bank")
        shared = Signal(shared_layout(config), reset_less=True)
        rest = shared.pairs if config.table == "mux" else shared.parity
        for t in range(config.tables):
            held = Array(bank[t][0] for bank in banks)
            odd = Array(bank[t][1] for bank in banks)
            m.d.sync += [Value.cast(rest[t]).eq(held[self.bank_i]), shared.odd[t].eq(odd[late])]
        m.d.comb += self.shared_o.eq(shared)
        return m

    def _lanes(self, m):
        """Per builder: odd and parity of its table, while entry 4 is written."""
        lanes = []
        for i in range(self._config.builders):
            entry = self.w_data[i]
            seen = Signal(3, name=f"lane{i}", reset_less=True)
            with m.If(self.w_step.any()):
                with m.Switch(self.w_addr[:3]):
                    with m.Case(0):
                        m.d.sync += seen[0].eq(entry[1])
                    with m.Case(1):
                        m.d.sync += seen[1].eq(entry[1] ^ seen[0])
                    with m.Case(2):
                        m.d.sync += seen[2].eq(entry[1] ^ seen[0])
            lanes.append(Cat(entry[0], seen, entry[1] ^ seen[0]))
        return lanes

    def _hold_parity(self, m, step, bank, lane, name):
        held = Signal(5, name=f"parity{name}", reset_less=True)
        with m.If(step & (self.w_addr == (bank << 3 | 4))):
            m.d.sync += held.eq(lane)
        return held[1:], held[0]

    def _hold_pairs(self, m, step, bank, lane, name):
        """Entry 0 is ``a3 − a2``, 1 ``a3 + a2``, 2 ``a1 − a0`` and 3 ``a1 + a0``."""
        held = Signal(pair_layout(self._config), name=f"pairs{name}", reset_less=True)
        with m.If(step & (self.w_addr[3] == bank)):
            with m.Switch(self.w_addr[:2]):
                for index in range(2):
                    with m.Case(index):
                        m.d.sync += [held.high[index].eq(lane[1:]), held.odd_high.eq(lane[0])]
                    with m.Case(2 + index):
                        m.d.sync += [held.low[index].eq(lane[1:]), held.odd_low.eq(lane[0])]
        return Value.cast(held), held.odd_high ^ held.odd_low


class RamTable(wiring.Component):
    """A table in LUT RAM, 16 entries deep. Read latency 1 cycle.

    Two banks of 8 entries without their bits 0 and 1, which come from what the row shares; or
    (``tl2``) one bank of whole entries.

    Members
    -------
    addr : ``{bank, x}``, or the number of the entry; ``data`` is the entry one cycle later.
    parity, odd : of the table, see :func:`shared_layout`; not for ``tl2``
    w_en, w_addr, w_data : The write takes effect at the clock edge; an entry read in that cycle is
        the old one.
    """
    latency = 1

    def __init__(self, config):
        self._config = config
        shape = signed(config.table_bits)
        shared = {} if config.tl2 else {"parity": In(4), "odd": In(1)}
        super().__init__(shared | {
            "addr": In(4), "data": Out(shape),
            "w_en": In(1), "w_addr": In(4), "w_data": In(shape),
        })

    def elaborate(self, platform):
        m = Module()
        low = 0 if self._config.tl2 else 2
        m.submodules.mem = mem = Memory(shape=len(self.data) - low, depth=16, init=[])
        read, write = mem.read_port(domain="comb"), mem.write_port()
        high = Signal(len(self.data) - low, reset_less=True)
        m.d.sync += high.eq(read.data)
        m.d.comb += [
            read.addr.eq(self.addr), write.en.eq(self.w_en),
            write.addr.eq(self.w_addr), write.data.eq(self.w_data[low:]),
        ]
        if low:
            bit1 = Signal(reset_less=True)
            m.d.sync += bit1.eq(self.parity[0] ^ (self.addr[:3] & self.parity[1:]).xor())
            m.d.comb += self.data.eq(Cat(self.odd, bit1, high))
        else:
            m.d.comb += self.data.eq(high)
        return m


class PairTable(wiring.Component):
    """A table without memory: adds two of the sums that the row shares. Read latency 1 cycle.

    Members
    -------
    x, inv : index; ``data`` is the entry one cycle later, inverted by ``inv`` where the fabric's
        adders want that early
    pairs, odd : of the table, see :func:`shared_layout`
    """
    latency = 1

    def __init__(self, config):
        self._config = config
        super().__init__({
            "x": In(3), "inv": In(1), "data": Out(signed(config.table_bits)),
            "pairs": In(pair_layout(config)), "odd": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.adders = adders = adders_for(self._config)
        x, pairs = self.x, self.pairs
        high = Mux(x[2], pairs.high[1], pairs.high[0]).as_signed()
        low = Mux(x[0] ^ x[1], pairs.low[0], pairs.low[1]).as_unsigned()
        low ^= (~x[1]).replicate(len(low))
        entry = Signal(signed(len(self.data) - 1), reset_less=True)
        m.d.sync += entry.eq(adders.pair(high, low.as_signed(), pairs.odd_high, pairs.odd_low,
                                         x[1], self.inv))
        inverted = Signal(reset_less=True)
        m.d.sync += inverted.eq(self.inv & adders.early)
        m.d.comb += self.data.eq(Cat(self.odd ^ inverted, entry))
        return m
