"""Describes how one GEMM is cut into tiles for a machine: sizes, loop order and buffer use."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.memory_format import TABLE_ROWS, row_bits
from bitwright.hw.tiling.gemm_spec import Digit, GemmSpec

__all__ = ["MOST_PARTS", "PAGE", "Digit", "GemmSpec", "Plan", "align"]

PAGE = 4096  # regions of a memory image start at multiples of this
MOST_PARTS = 8  # of the first chunk of weights, which come one after another


def align(value: int, to: int = PAGE) -> int:
    """The next multiple of ``to``."""
    return -(-value // to) * to


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Loop order: blocks of ``block`` token tiles; output tiles of ``channels`` per column; chunks
    of ``chunk`` K-tiles; token tiles of the block. Weights of one chunk serve the whole block.

    resident : the activations of a block stay in their buffer for all its output tiles
    kept : of activations that are not resident, chunks at the start that stay nevertheless; those
        of the others come again for every output tile
    stay : all weights stay in their buffer, for all blocks
    """
    machine: Machine
    spec: GemmSpec
    row_mode: bool
    channels: int
    chunk: int
    block: int
    resident: bool
    kept: int = 0
    stay: bool = False

    # ---- K ------------------------------------------------------------------------------
    @cached_property
    def groups(self) -> int:
        return -(-self.spec.k // self.spec.group_size)

    @cached_property
    def group_tiles(self) -> int:
        """K-tiles of a group; groups end in a padded tile where they must."""
        return -(-min(self.spec.group_size, self.spec.k) // self.machine.k_tile)

    @cached_property
    def k_tiles(self) -> int:
        return self.groups * self.group_tiles

    @cached_property
    def chunks(self) -> tuple[int, ...]:
        """K-tiles of each chunk."""
        full, rest = divmod(self.k_tiles, self.chunk)
        return (self.chunk,) * full + ((rest,) if rest else ())

    # ---- N ------------------------------------------------------------------------------
    @cached_property
    def subs(self) -> int:
        return self.machine.rows if self.row_mode else 1

    @cached_property
    def tile_width(self) -> int:
        """Output channels per ``channels`` of a column."""
        return self.machine.cols * self.subs

    @cached_property
    def tiles(self) -> tuple[int, ...]:
        """Channels per column of each output tile."""
        full, rest = divmod(self.spec.n, self.tile_width * self.channels)
        last = max(-(-rest // self.tile_width), self.machine.min_channels)
        return (self.channels,) * full + ((last,) if rest else ())

    @cached_property
    def n_padded(self) -> int:
        return sum(self.tiles) * self.tile_width

    # ---- M ------------------------------------------------------------------------------
    @cached_property
    def m_tiles(self) -> int:
        return self.spec.m if self.row_mode else -(-self.spec.m // self.machine.rows)

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """Token tiles of each block."""
        full, rest = divmod(self.m_tiles, self.block)
        return (self.block,) * full + ((rest,) if rest else ())

    # ---- sizes --------------------------------------------------------------------------
    def weight_words(self, channels: int, k_tiles: int) -> int:
        return k_tiles * self.subs * sum(self.digit_words(channels, d) for d in self.spec.digits)

    def digit_words(self, channels: int, digit: Digit) -> int:
        """Words of one digit of ``channels``: a word per slice, or of codes to be decoded."""
        if not self.machine.decodes:
            return channels * digit.slots
        return -(-channels >> digit.packing) if digit.stored else 0

    def scale_words(self, channels: int, groups: int) -> int:
        return groups * self.subs * channels * self.spec.scales

    def act_words(self, k_tiles: int) -> int:
        return k_tiles * self.machine.table_steps

    def out_words(self, channels: int) -> int:
        return channels * self.machine.drain_slots

    @cached_property
    def kept_tiles(self) -> int:
        """K-tiles whose activations stay for a block."""
        return self.k_tiles if self.resident else self.kept * self.chunk

    @cached_property
    def loaded_weight_words(self) -> int:
        """Weight words of all steps of a block."""
        return sum(count * self.weight_words(nt, self.k_tiles)
                   for nt, count in Counter(self.tiles).items())

    @cached_property
    def loaded_scale_words(self) -> int:
        """Scale words of all steps of a block; parts of one group take its scales each."""
        groups = sum(map(self.chunk_groups, self.chunks))
        return self.scale_words(sum(self.tiles), groups)

    def chunk_groups(self, k_tiles: int) -> int:
        """Groups a chunk touches: whole groups, or one group in several chunks."""
        return max(1, k_tiles // self.group_tiles)

    @cached_property
    def act_word_bytes(self) -> int:
        """Bytes in memory of one activation word (row mode stores one row)."""
        bits = self.machine.row_act_bits if self.row_mode else self.machine.act_word_bits
        return bits // 8

    @cached_property
    def weight_bytes(self) -> int:
        return self.loaded_weight_words * self.machine.weight_word_bits // 8

    @property
    def table_bytes(self) -> int:
        """The decode table, in front of the weights."""
        return TABLE_ROWS * row_bits(self.machine) // 8 if self.machine.decodes else 0

    @property
    def stored_bytes(self) -> int:
        """Return the stored bytes of the weights: weight words, and the decode table if there is
        one."""
        return self.table_bytes + self.weight_bytes

    @cached_property
    def scale_bytes(self) -> int:
        return (self.scale_words(sum(self.tiles), self.groups)
                * self.machine.scale_word_bits // 8)

    @cached_property
    def act_bytes(self) -> int:
        return self.m_tiles * self.act_words(self.k_tiles) * self.act_word_bytes

    @cached_property
    def out_bytes(self) -> int:
        return self.spec.m * self.n_padded * 4

    @cached_property
    def compulsory_bytes(self) -> int:
        """Every weight, scale, activation and output once, as stored."""
        return self.stored_bytes + self.scale_bytes + self.act_bytes + self.out_bytes

    @cached_property
    def dram_bytes(self) -> int:
        """Bytes moved by the plan, program fetch left out."""
        weights = self.weight_bytes + self.loaded_scale_words * self.machine.scale_word_bits // 8
        again = 0 if self.resident else self.act_words(self.k_tiles - self.kept_tiles)
        acts = self.act_bytes + again * (len(self.tiles) - 1) * self.m_tiles * self.act_word_bytes
        return (self.table_bytes + weights * (1 if self.stay else len(self.blocks)) + acts
                + self.out_bytes)

    def stream_slots(self, channels: int) -> int:
        """Slots of one K-tile."""
        least = self.machine.scale_steps
        return self.subs * channels * (sum(max(digit.slots, least) for digit in self.spec.digits)
                                       + least * self.spec.offset)

    @property
    def fill_cycles(self) -> int:
        """Cycles to fill the tables for one K-tile."""
        return self.machine.fill_entries * self.machine.table_steps

    def roofline(self, interval: int = 1) -> tuple[float, str]:
        """Cycles and bound (``compute`` or ``memory``): the larger of MACs / peak and compulsory
        bytes / bandwidth, for a memory of one beat every ``interval`` cycles."""
        compute = self.spec.macs / self.machine.macs_per_cycle(self.spec.slots)
        memory = self.compulsory_bytes / self.machine.beat_bytes * interval
        return max(compute, memory), "compute" if compute >= memory else "memory"
