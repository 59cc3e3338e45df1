"""Table filler: reads activations and writes the next bank of every element's tables."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.array.table_builders import FILL_LATENCY, RowBuilders, fill_layout
from bitwright.hw.rtl.primitives.delay_line import delay
from bitwright.hw.rtl.primitives.instruction_layout import instruction_layout

__all__ = ["TableFiller"]


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
    w_step, w_addr, w_data : table writes per row, the same for every column and but for ``w_data``
        for every row; ``w_addr`` is ``{bank, x}``, or x (``tl2``)
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
            "w_step": Out(data.ArrayLayout(config.table_steps, config.rows)),
            "w_addr": Out(data.ArrayLayout(4, config.rows)),
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
        # A step's last entry is addressed; the last step. Both are known before they come.
        end_step, last_step = Signal(), Signal(init=config.table_steps == 1)
        end_next, filling, end = Signal(), Signal(), Signal()
        missing_w = self.instr.wait_w & ~self.ready_w
        missing_a = self.instr.wait_a & ~self.ready_a
        missing_out = self.instr.wait_out & ~self.ready_out
        m.d.comb += [
            self.job.eq(self.instr), end.eq(end_step & last_step),
            self.set_full.eq(Mux(end, 1 << bank, 0)),
        ]
        m.d.sync += end_step.eq(end_next)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(~self.instr_valid)
                m.d.sync += [tiles.eq(self.instr.tiles), address.eq(self.instr.a_addr)]
                with m.If(self.instr_valid & self.job_ready):
                    m.d.comb += [self.wait_w.eq(missing_w),
                                 self.wait_a.eq(missing_a & ~missing_w),
                                 self.wait_out.eq(missing_out & ~missing_a & ~missing_w)]
                    with m.If(~(missing_w | missing_a | missing_out)):
                        m.d.comb += [self.instr_take.eq(1), self.job_valid.eq(1)]
                        m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(~self.full.bit_select(bank, 1)):
                    m.d.comb += end_next.eq(entries == 1)
                    m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += [filling.eq(1), end_next.eq(entry + 2 == entries)]
                m.d.sync += entry.eq(entry + 1)
                with m.If(end_step):
                    m.d.comb += end_next.eq(entries == 1)
                    m.d.sync += [entry.eq(0), step.eq(step + 1),
                                 last_step.eq(step + 2 == config.table_steps)]
                with m.If(end):
                    m.d.sync += [step.eq(0), last_step.eq(config.table_steps == 1),
                                 tiles.eq(tiles - 1)]
                    if config.banks == 2:
                        m.d.sync += bank.eq(~bank)
                    with m.If(tiles == 1):
                        m.d.comb += end_next.eq(0)
                        m.next = "IDLE"
                    with m.Elif(self.full.bit_select(~bank, 1) if config.banks == 2 else 1):
                        m.d.comb += end_next.eq(0)
                        m.next = "WAIT"

        # At the block RAMs, which are far, the address is that of the cycle before.
        m.d.comb += self.read_addr.eq(delay(m, address, config.far, "read_addr", data=True))
        with m.If(end_next if config.far else end_step):
            m.d.sync += address.eq(address + 1)

        step_i = Mux(filling, 1 << step, 0)[:config.table_steps]
        addr_i = entry if config.tl2 else Cat(entry, bank)
        # Tables of pairs get all four activations in two of their entries.
        pairs = config.table == "mux" and not config.decodes
        summing = filling & entry[0] & entry[2] if pairs else end_step
        first = (step == 0) & ((entry == 5) if pairs else 1)
        ends = {f"{name}_i": delay(m, value, FILL_LATENCY - 1, name) for name, value in (
            ("step", step_i), ("addr", addr_i), ("summing", summing), ("first", first),
            ("to", bank))}
        acts = delay(m, self.read_data, 1, "acts", data=True)    # block RAM is slow
        entry = delay(m, entry, 1, "entry", data=True)
        for row in range(config.rows):
            m.submodules[f"row{row}"] = end = RowBuilders(config)
            m.d.comb += [
                *(getattr(end, name).eq(value) for name, value in ends.items()),
                end.acts.eq(acts.word_select(row, config.row_act_bits)), end.entry.eq(entry),
                self.w_step[row].eq(end.w_step), self.w_addr[row].eq(end.w_addr),
                self.w_data[row].eq(end.w_data), self.sigma[row].eq(end.sigma),
            ]
        return m
