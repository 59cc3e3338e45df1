"""Sizes that follow from a machine description: widths, depths, cycles and rates."""

from bitwright.hw.elements import CODES, ELEMENTS, Element

DECODE_LATENCY = 1  # cycles that decoding adds between weight buffer and slice
PSUM_LATENCY = 4  # cycles from a psum read to the first read that sees the sum
MULT_BITS = 18

__all__ = ["MULT_BITS", "PSUM_LATENCY", "Sizes", "ceil_log2"]


def ceil_log2(value: int) -> int:
    return (value - 1).bit_length()


class Sizes:
    """Derived properties of :class:`Machine`, whose fields these are."""

    rows: int
    cols: int
    k_tile: int
    act_bits: int
    builders: int
    pe: str
    table: str
    value_bits: int
    lane_mult: str
    dequant: str
    scale_units: int
    memory_bits: int
    queue_depth: int
    weight_depth: int
    act_depth: int
    scale_depth: int
    out_depth: int
    program_depth: int

    @property
    def element(self) -> Element:
        """Return the description of the machine's kind of element."""
        return ELEMENTS[self.pe]

    @property
    def lane_acts(self) -> int:
        """Activations of one table, and of one builder."""
        return self.element.lane_acts(self)

    @property
    def tl2(self) -> bool:
        """Say whether tables are of three activations, for ternary weights."""
        return self.lane_acts == 3

    @property
    def decodes(self) -> bool:
        """Say whether weights rest as codes of 4 bits, decoded at the head of each column."""
        return self.element.form == CODES

    @property
    def tables(self) -> int:
        """Tables of one element (groups of four activations where there are no tables)."""
        return self.k_tile // self.lane_acts

    @property
    def levels(self) -> int:
        """Adder levels above the tables."""
        return ceil_log2(self.tables)

    @property
    def table_bits(self) -> int:
        """Width of ``a3 ± a0 ± a1 ± a2``: between −2^(a+1) and 2^(a+1)−1, so two bits more."""
        return self.act_bits + 2

    @property
    def table_steps(self) -> int:
        """Groups of ``builders`` tables filled one after the other, ``fill_entries`` cycles
        each."""
        return self.tables // self.builders

    @property
    def fill_entries(self) -> int:
        """Entries written per table; activations themselves where there are no tables."""
        return self.element.fill_entries(self)

    @property
    def banks(self) -> int:
        """Banks of tables, or of shadow registers. A bank of tables is free again after its last
        slot, shadow registers after the first, which takes them over."""
        return self.element.banks(self)

    @property
    def job_depth(self) -> int:
        """Instructions that wait between table filler and sequencer: the filler may be as many
        ahead, or, with none, takes the next when the sequencer has finished."""
        return 0 if self.queue_depth == 1 else 2

    @property
    def lane_bits(self) -> int:
        """Bits of a slice per lane: a table, or an activation where there are none."""
        return self.element.lane_bits(self)

    @property
    def field_bits(self) -> int:
        """Bits of a field of a weight word: a lane's part of a slice, or a code."""
        return 4 if self.decodes else self.lane_bits

    @property
    def slice_bits(self) -> int:
        """Bits of one column's slice, as an element takes it."""
        return self.element.lanes(self) * self.lane_bits

    @property
    def weight_word_bits(self) -> int:
        """A word of the weight buffer: a slice of every column, or a code of 4 bits per
        activation where codes are decoded."""
        return self.cols * (4 * self.k_tile if self.decodes else self.slice_bits)

    @property
    def weight_word_beats(self) -> int:
        return self.weight_word_bits // self.memory_bits

    @property
    def weight_word_gap(self) -> int:
        """Beat addresses left out between words of the weight buffer."""
        return (1 << ceil_log2(self.weight_word_beats)) - self.weight_word_beats

    @property
    def scale_digits(self) -> int:
        """Digits of two bits of a group scale, of which a serial unit multiplies one a cycle."""
        return self.mult_bits // 2

    @property
    def scale_steps(self) -> int:
        """Fewest slots of a channel, for the sake of the multiplier."""
        return -(-self.scale_digits // self.scale_units) if self.dequant == "serial" else 1

    @property
    def sigma_bits(self) -> int:
        """Width of the sum of ``k_tile`` activations."""
        return self.act_bits + ceil_log2(self.k_tile)

    @property
    def acc_bits(self) -> int:
        """Width of a digit's sum, which the element bounds."""
        return self.element.acc_bits(self)

    @property
    def mult_bits(self) -> int:
        return MULT_BITS

    @property
    def sum_latency(self) -> int:
        """Cycles from a digit's last slice, at its element, to the sum."""
        return self.element.sum_latency(self)

    @property
    def product_latency(self) -> int:
        """Cycles from a digit's last slice, at its element, to the sum's product with the scale."""
        return self.sum_latency + self.element.scale_latency(self)

    @property
    def result_latency(self) -> int:
        """Cycles from a digit's last slice, at its element, to the new partial sum."""
        return self.product_latency + 1

    @property
    def slice_latency(self) -> int:
        """Cycles from a slot leaving the sequencer to its slice at the first row."""
        return 2 + (DECODE_LATENCY if self.decodes else 0)

    @property
    def retire_latency(self) -> int:
        """Cycles from a job's last slot leaving the sequencer to its tokens being given: by then
        its last result is in the output buffer of the last row."""
        return self.slice_latency + self.result_latency + self.rows + self.drain_slots

    @property
    def psum_bits(self) -> int:
        """Twice an int32 accumulator, modulo 2^33: intermediate wrap-around cancels."""
        return 33

    @property
    def row_act_bits(self) -> int:
        """Return the bits of one row's part of an activation word."""
        return self.builders * 4 * self.act_bits

    @property
    def act_word_bits(self) -> int:
        return self.rows * self.row_act_bits

    @property
    def scale_word_bits(self) -> int:
        return self.cols * 16

    @property
    def far(self) -> int:
        """Registers between the engines and what lies all over the chip; a small one needs none."""
        return int(self.fabric != "ice40")

    @property
    def drain(self) -> int:
        """Columns of a row drained per cycle: enough to feed the memory port."""
        return max(self.memory_bits // 32, min(self.cols, 2))

    @property
    def out_word_bits(self) -> int:
        return self.drain * 32

    @property
    def out_parts(self) -> int:
        """Memory words in a word of the output buffer."""
        return self.out_word_bits // self.memory_bits

    @property
    def drain_slots(self) -> int:
        """Slots a channel takes at least in a final pass."""
        return self.cols // self.drain

    @property
    def min_channels(self) -> int:
        """Fewest channels per column and tile: a psum is read again ≥ 4 cycles later."""
        return PSUM_LATENCY

    @property
    def beat_bytes(self) -> int:
        return self.memory_bits // 8

    @property
    def burst_beats(self) -> int:
        """Longest AXI4 burst: 256 beats, within 4 KiB."""
        return min(256, 4096 // self.beat_bytes)

    @property
    def load_bits(self) -> int:
        """Width of a load's length in beats: that of the largest buffer."""
        beats = max(self.weight_depth << ceil_log2(self.weight_word_beats),
                    self.act_depth * self.act_word_bits // self.memory_bits,
                    self.scale_depth * self.scale_word_bits // self.memory_bits,
                    self.program_depth * 256 // self.memory_bits)
        return beats.bit_length()

    @property
    def store_bits(self) -> int:
        """Width of a row's length in beats, at most the output buffer's."""
        return (self.out_depth * self.out_parts).bit_length()

    @property
    def row_bits(self) -> int:
        """Width of a number of rows."""
        return self.rows.bit_length()

    @property
    def one_bit_products(self) -> int:
        """Products of an activation and a slice's weight per cycle, the peak."""
        return self.rows * self.cols * self.k_tile

    def macs_per_cycle(self, slots: int) -> float:
        """Peak multiply-accumulates per cycle for a weight type that takes ``slots`` slots."""
        return self.one_bit_products / slots
