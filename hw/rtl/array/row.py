"""One row of the array: elements that share a token, their control and their output buffer."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.array.sequencer import slot_layout
from bitwright.hw.rtl.array.table_builders import fill_layout
from bitwright.hw.rtl.fabric.dsp_and_memory import PsumMemory
from bitwright.hw.rtl.pe.element_interface import circuit_of
from bitwright.hw.rtl.primitives.block_ram import block_ram
from bitwright.hw.rtl.primitives.delay_line import delay

__all__ = ["Row", "element"]


def element(config):
    """A processing element of the machine's kind."""
    return circuit_of(config)(config)


class Row(wiring.Component):
    """``config.cols`` elements side by side. What comes from the row above leaves for the row
    below one cycle later.

    Members
    -------
    slot_i/slot_o : control of the slice in ``slice_i``; bit 0 of ``rows`` is this row
    slice_i/slice_o : ``cols`` slices
    mult_i/mult_o : multipliers, ``s_latency − 1`` cycles after their slice
    w_step, w_addr, w_data : table or activation writes, to all elements
    sigma : sum of the activations of each bank
    read_addr, read_part : a part of an output buffer word; ``read_data`` two cycles later
    """

    def __init__(self, config):
        self._config = config
        self._pes = [element(config) for _ in range(config.cols)]
        slices = data.ArrayLayout(config.slice_bits, config.cols)
        mults = data.ArrayLayout(signed(config.mult_bits), config.cols)
        super().__init__({
            "slot_i": In(slot_layout(config)), "slot_o": Out(slot_layout(config)),
            "slice_i": In(slices), "slice_o": Out(slices),
            "mult_i": In(mults), "mult_o": Out(mults),
            "w_step": In(config.table_steps), "w_addr": In(4),
            "w_data": In(fill_layout(config)),
            "sigma": In(data.ArrayLayout(signed(config.sigma_bits), 2)),
            "read_addr": In(16), "read_part": In(range(max(config.out_parts, 2))),
            "read_data": Out(config.memory_bits),
        })

    def elaborate(self, platform):
        m = Module()
        pe = self._pes[0]
        slot = self.slot_i
        m.d.sync += self.slot_o.eq(slot)
        m.d.sync += self.slot_o.rows.eq(slot.rows >> 1)

        taken = Signal()
        m.d.comb += taken.eq(slot.valid & slot.rows[0])
        add = delay(m, taken, pe.s_latency - 2, "add")
        last = delay(m, taken & slot.last, pe.s_latency - 2, "last")
        read_latency = pe.product_latency - PsumMemory.latency
        psum_read = delay(m, slot.psum, read_latency, "psum_read", data=True)
        emit = delay(m, last, pe.product_latency - pe.s_latency + 2, "emit")
        first = delay(m, slot.first, pe.product_latency, "first")
        write = delay(m, emit, 1, "write")
        psum_write = delay(m, psum_read, pe.result_latency - read_latency, "psum_write", data=True)
        final = delay(m, taken & slot.last & slot.final, pe.result_latency - 1, "final")
        out = delay(m, slot.out, pe.result_latency - 1, "out", data=True)
        stationary = pe.held(m, self, slot)
        for index, each in enumerate(self._pes):
            m.submodules[f"pe{index}"] = each
            m.d.comb += [getattr(each, name).eq(value) for name, value in stationary.items()]
            m.d.comb += [
                each.slice_i.eq(self.slice_i[index]), self.slice_o[index].eq(each.slice_o),
                each.mult_i.eq(self.mult_i[index]), self.mult_o[index].eq(each.mult_o),
                each.acc_en_i.eq(add), each.last_i.eq(last),
                each.raddr_i.eq(psum_read), each.first_i.eq(first),
                each.emit_i.eq(emit), each.we_i.eq(write), each.waddr_i.eq(psum_write),
            ]
        self._drain(m, final, out)
        return m

    def _drain(self, m, final, out):
        """Results of one channel, which come in the cycle after ``final``, go to the output buffer
        at ``out`` and on, ``drain`` columns per cycle."""
        config = self._config
        m.submodules.buffer = buffer = block_ram(config.out_word_bits, config.out_depth)
        write, read = buffer.write_port(), buffer.read_port()
        m.d.comb += read.addr.eq(self.read_addr)
        part = delay(m, self.read_part, 1, "part", data=True)
        m.d.sync += self.read_data.eq(read.data.word_select(part, config.memory_bits))
        words = Array(Cat(pe.result_o[1:] for pe in self._pes[i:i + config.drain])
                      for i in reversed(range(0, config.cols, config.drain)))
        writing, target = Signal(), Signal.like(out, reset_less=True)
        left = Signal(range(max(config.drain_slots, 2)))    # words to be written after this one
        m.d.comb += [write.en.eq(writing), write.addr.eq(target),
                     write.data.eq(words[left])]
        after = target + 1 if config.drain_slots > 1 else out
        m.d.sync += [writing.eq(final | (left != 0)), target.eq(Mux(final, out, after)),
                     left.eq(Mux(final, config.drain_slots - 1, Mux(left == 0, 0, left - 1)))]
