"""Column decoder: codes of weights to slices, through a writable table."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.machine.memory_format import TABLE_ROWS, entry_bits, row_bits
from bitwright.hw.rtl.pe.element_interface import circuit_of
from bitwright.hw.rtl.primitives.block_ram import block_ram
from bitwright.hw.rtl.primitives.delay_line import delay

__all__ = ["Decoder"]


class Decoder(wiring.Component):
    """Looks up every code of a weight word. Latency 1 cycle, one word per cycle.

    A row of the table holds, for one digit, codebook and slice, what each of the 16 codes sends:
    a term (``serial``: exponent, nonzero, sign) or a value (``mac``). The element's circuit makes
    the lanes of a slice from them.

    Members
    -------
    word : weight word; per column ``k_tile`` fields of 4 bits, each holding one code, or two of 2
        bits, or four of 1 bit
    part, packing : which code of the field; log2 of the codes in it
    digit, step : of the slot
    select : per column, the codebook
    slices : one slice per column, one cycle after the word; goes into the first row's register
    write_en, write_addr, write_data : table write by beats of the memory
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "word": In(config.weight_word_bits), "part": In(2), "packing": In(2),
            "digit": In(1), "step": In(2), "select": In(data.ArrayLayout(2, config.cols)),
            "slices": Out(data.ArrayLayout(config.slice_bits, config.cols)),
            "write_en": In(1), "write_addr": In(24), "write_data": In(config.memory_bits),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        lanes, entry = config.k_tile, config.lane_bits
        width = row_bits(config)
        m.submodules.table = table = block_ram(unsigned(width), TABLE_ROWS)
        write = table.write_port(granularity=config.memory_bits)
        chunks = width // config.memory_bits
        m.d.comb += [
            write.addr.eq(self.write_addr >> chunks.bit_length() - 1),
            write.data.eq(self.write_data.replicate(chunks)),
            write.en.eq(Mux(self.write_en, 1 << self.write_addr[:chunks.bit_length() - 1], 0)),
        ]
        word = delay(m, self.word, 1, "word")
        part, packing = delay(m, self.part, 1, "part"), delay(m, self.packing, 1, "packing")
        stored = entry_bits(config)
        for column in range(config.cols):
            read = table.read_port()
            m.d.comb += read.addr.eq(Cat(self.step, self.select[column], self.digit))
            column_word = word.word_select(column, 4 * lanes)
            fields = []
            for lane in range(lanes):
                field = column_word.word_select(lane, 4)
                code = Signal(4, name=f"code{column}_{lane}")
                m.d.comb += code.eq(Mux(
                    packing == 0, field, Mux(packing == 1, field.word_select(part[0], 2),
                                             field.word_select(part, 1))))
                fields.append(read.data.word_select(code, stored)[:entry])
            m.d.comb += self.slices[column].eq(Cat(circuit_of(config).decoded(fields)))
        return m
