"""The lookup-table processing element."""

from amaranth import *
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.fabric.adders import adders_for
from bitwright.hw.rtl.fabric.scale_multipliers import multiplier_for
from bitwright.hw.rtl.pe.element_interface import ElementPE, accumulator, back_half
from bitwright.hw.rtl.pe.lookup_tables import PairTable, RamTable, RowTables, shared_layout
from bitwright.hw.rtl.primitives.delay_line import delay


class LutPE(ElementPE):
    """Sums ``k_tile`` stationary activations under one weight bit-plane, or one slice of ternary
    weights, per cycle.

    Per slot (one cycle of the slice stream), with ``T_t[x]`` the table entries, ``s_t`` the signs
    of the slice and ``g = s_0``::

        v     tree over the tables; node = left + (right ^ s_mid), mid = first table of ``right``
        w     v + ((sigma_i ^ ~g) & sub_i)
        acc   2 * acc + (w ^ g)                          if acc_en_i
        S     takes that sum instead and acc is 0        if acc_en_i and last_i
        sum   (first_i ? 0 : psum[raddr_i]) + S * mult   if emit_i

    One slot per cycle, never stalls. Everything is two's complement and wraps; ``config`` gives
    widths that hold every sum of a digit of 4 planes. Reset clears ``acc``; S is not kept.

    Timing, in cycles after ``slice_i`` of the slot, L = ``config.levels``, P = ``product_latency``
    (6 + L, or more with a serial multiplier, which then sets how close digits may follow):

    ======= ========================================================
    0       ``bank_i``
    1       ``slice_o``; ``shared_i`` but for its
    2       ``odd``; table entries
    2 + L   v; ``sigma_i``, ``sub_i``; ``acc_en_i``, ``last_i``
    3 + L   w; ``mult_i`` of its digit
    4 + L   S, held until the next one; ``mult_o``
    P − 2   ``raddr_i``
    P       product and partial sum; ``first_i``, ``emit_i``
    P + 1   ``result_o``, held until the next one; ``we_i``, ``waddr_i``
    ======= ========================================================

    Parameters
    ----------
    config : ``Machine``

    Members
    -------
    slice_i, slice_o : ``slice_bits`` bits
        Table ``t`` takes bits ``4t .. 4t+3``: its index x (3 bits), then its sign; or (``tl2``)
        ``5t .. 5t+4``: the number of the entry (4 bits), then its sign.
    mult_i, mult_o : ``signed(mult_bits)``
    w_step : ``In(table_steps)``, not for ``mux``
        Bit ``s`` writes tables ``s * builders`` and following with ``w_data``.
    w_addr : ``In(4)``, not for ``mux``
        ``{bank, x}``, or the entry (``tl2``), to write. The write takes effect at the clock edge.
    w_data : ``In(ArrayLayout(signed(table_bits), builders))``, not for ``mux``
    bank_i : ``In(1)``, for ``lutram`` alone
        Bank that is read.
    shared_i : ``In(shared_layout)``, not for ``tl2``
        What the row holds of that bank, from :class:`bitwright.hw.rtl.pe.lookup_tables.RowTables`.
    sigma_i, sub_i : ``In``
        Sum of the activations, and whether the slot subtracts it.
    acc_en_i, last_i : ``In(1)``
        Slot is accumulated; it is the last of its digit.
    raddr_i, first_i, emit_i : ``In``
        Channel, whether its partial sum starts anew, whether ``result_o`` is loaded.
    we_i, waddr_i : ``In``
        Partial sum ``waddr_i`` becomes ``result_o``.
    result_o : ``Out(signed(psum_bits))``
    """
    def __init__(self, config):
        channel = range(config.psum_depth)
        tables = {}
        if config.table != "mux":
            tables |= {
                "w_step": In(config.table_steps),
                "w_addr": In(4),
                "w_data": In(data.ArrayLayout(signed(config.table_bits), config.builders)),
            }
        if config.table == "lutram":
            tables |= {"bank_i": In(1)}
        if config.table != "tl2":
            tables |= {"shared_i": In(shared_layout(config))}
        super().__init__(config, {
            "slice_i":  In(config.slice_bits),
            "slice_o":  Out(config.slice_bits),
            "mult_i":   In(signed(config.mult_bits)),
            "mult_o":   Out(signed(config.mult_bits)),
            **tables,
            "sigma_i":  In(signed(config.sigma_bits)),
            "sub_i":    In(1),
            "acc_en_i": In(1),
            "last_i":   In(1),
            "raddr_i":  In(channel),
            "first_i":  In(1),
            "emit_i":   In(1),
            "we_i":     In(1),
            "waddr_i":  In(channel),
            "result_o": Out(signed(config.psum_bits)),
        })

    @property
    def v_latency(self):
        """Cycles from ``slice_i`` to ``sigma_i`` and ``sub_i``."""
        return self.s_latency - 2

    def held(self, m, row, slot):
        """Return the values of the ports that are the same for all elements of ``row``: those of
        tables and of the sum of activations."""
        config = self._config
        sigma = row.sigma[delay(m, slot.bank, self.v_latency - config.far, "sigma_bank")]
        held = {"sigma_i": delay(m, sigma, config.far, "sigma", data=True),
                "sub_i": delay(m, slot.sigma, self.v_latency, "sub")}
        if config.table != "mux":
            held |= {"w_step": row.w_step, "w_data": row.w_data, "w_addr": row.w_addr}
        if config.table == "lutram":
            held |= {"bank_i": slot.bank}
        if config.table != "tl2":
            m.submodules.tables = tables = RowTables(config)
            m.d.comb += [tables.w_step.eq(row.w_step), tables.w_addr.eq(row.w_addr),
                         tables.w_data.eq(row.w_data), tables.bank_i.eq(slot.bank)]
            held |= {"shared_i": tables.shared_o}
        return held

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.adders = adders = adders_for(config)

        def delayed(value, name):
            register = Signal.like(value, name=name, reset_less=True)
            m.d.sync += register.eq(value)
            return register

        slot = delayed(self.slice_i, "slice")
        mult = delayed(self.mult_i, "mult")
        m.d.comb += [self.slice_o.eq(slot), self.mult_o.eq(mult)]
        bank = delayed(self.bank_i, "bank") if config.table == "lutram" else None

        nodes, signs = [], []
        stride = config.slice_bits // config.tables
        for t in range(config.tables):
            *x, sign = slot[stride * t:stride * (t + 1)]
            entry = self._table(m, t, Cat(x), bank, sign if t % 2 else 0)
            signs.append(delayed(sign, f"sign{t}"))
            if adders.early and config.table != "mux" and t % 2:
                entry = entry.as_unsigned() ^ signs[t].replicate(len(entry))
            nodes.append(entry)

        # Of every pair the sign of the right node is used and that of the left one goes on.
        for level in range(1, config.levels + 1):
            nodes = [delayed(adders.node(level, left, right, inv, out if i % 2 else 0),
                             f"level{level}_{i}")
                     for i, (left, right, out, inv) in enumerate(zip(
                         nodes[::2], nodes[1::2], signs[::2], signs[1::2], strict=True))]
            signs = [delayed(sign, f"sign{level}_{i}") for i, sign in enumerate(signs[::2])]

        w = delayed(adders.sigma(config.levels, nodes[0], self.sigma_i, signs[0], self.sub_i), "w")
        g = delayed(signs[0], "g")

        acc = Signal(signed(config.acc_bits), reset_less=True)
        total = adders.accumulate(acc, w, g)
        load = accumulator(m, self, acc, total)
        back_half(m, self, multiplier_for(config), total, load, adders.psum)
        return m

    def _table(self, m, t, x, bank, inv):
        """Table ``t``, looked up at ``x`` of ``bank``; ``inv`` is for tables that invert their
        entry early."""
        config = self._config
        kind = PairTable if config.table == "mux" else RamTable
        m.submodules[f"table{t}"] = table = kind(config)
        if config.table != "tl2":
            m.d.comb += table.odd.eq(self.shared_i.odd[t])
        if config.table == "mux":
            m.d.comb += [table.x.eq(x), table.inv.eq(inv), table.pairs.eq(self.shared_i.pairs[t])]
            return table.data
        if config.table == "lutram":
            m.d.comb += table.parity.eq(self.shared_i.parity[t])
            x = Cat(x, bank)
        m.d.comb += [
            table.addr.eq(x),
            table.w_en.eq(self.w_step[t // config.builders]),
            table.w_addr.eq(self.w_addr),
            table.w_data.eq(self.w_data[t % config.builders]),
        ]
        return table.data
