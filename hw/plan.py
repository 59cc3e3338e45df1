"""How one GEMM is cut into tiles for a machine: sizes, loop order and buffer use."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from hw.config import Machine
from hw.decode import TABLE_ROWS, row_bits
from hw.isa import DIGITS

__all__ = ["Digit", "GemmSpec", "Plan", "PlanError", "align", "candidates", "PAGE"]

PAGE = 4096  # regions of a memory image start at multiples of this


def align(value: int, to: int = PAGE) -> int:
    """The next multiple of ``to``."""
    return -(-value // to) * to


class PlanError(ValueError):
    """A GEMM that does not fit the machine. One line, for people."""


class Digit(NamedTuple):
    """One digit of a weight: ``Σ w·a`` gets its sum times ``2**shift``.

    slots : slices per channel
    packing : log2 of the codes that share a field of 4 bits, where codes are decoded
    stored : whether it has words of its own; otherwise those of the digit before
    """
    shift: int
    slots: int
    packing: int = 0
    stored: bool = True


@dataclass(frozen=True, kw_only=True)
class GemmSpec:
    """What the machine needs to know of ``y[m, n] = Σ_k w[n, k]·a[m, k]`` with group scales.

    digits : low digit first
    sigma : the low digit subtracts the sum of activations
    offset : every group has an offset
    select : every group chooses its codebook
    plane_scales : every digit has a scale of its own
    group_size : ``k`` for one group per channel; groups are padded to whole K-tiles
    """
    m: int
    k: int
    n: int
    digits: tuple[Digit, ...]
    sigma: bool
    offset: bool = False
    select: bool = False
    plane_scales: bool = False
    group_size: int

    def __post_init__(self) -> None:
        for name in ("m", "k", "n", "group_size"):
            if getattr(self, name) < 1:
                raise PlanError(f"{name} must be positive, not {getattr(self, name)!r}")
        object.__setattr__(self, "digits", tuple(Digit(*digit) for digit in self.digits))
        if not 1 <= len(self.digits) <= DIGITS:
            raise PlanError(f"weights of {len(self.digits)} digits do not run; 1 to {DIGITS} do")

    @property
    def slots(self) -> int:
        """Slices per weight."""
        return sum(digit.slots for digit in self.digits)

    @property
    def scales(self) -> int:
        """Half-words per group and channel, offset included."""
        return (len(self.digits) if self.plane_scales else 1) + self.offset

    @property
    def macs(self) -> int:
        return self.m * self.k * self.n


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Loop order: blocks of ``block`` token tiles; output tiles of ``channels`` per column; chunks
    of ``chunk`` K-tiles; token tiles of the block. Weights of one chunk serve the whole block.
    Activations of a block stay in their buffer (``resident``) or come again for every chunk."""
    machine: Machine
    spec: GemmSpec
    row_mode: bool
    channels: int
    chunk: int
    block: int
    resident: bool

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
        return (sum(self.weight_words(nt, self.k_tiles) for nt in self.tiles)
                * self.machine.weight_word_bits // 8)

    @property
    def table_bytes(self) -> int:
        """The decode table, in front of the weights."""
        return TABLE_ROWS * row_bits(self.machine) // 8 if self.machine.decodes else 0

    @property
    def stored_bytes(self) -> int:
        """What is stored of the weights: decode table, if any, and weight words."""
        return self.table_bytes + self.weight_bytes

    @cached_property
    def scale_bytes(self) -> int:
        return (sum(self.scale_words(nt, self.groups) for nt in self.tiles)
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
        scales = sum(self.scale_words(nt, self.chunk_groups(kt))
                     for nt in self.tiles for kt in self.chunks)
        weights = self.weight_bytes + scales * self.machine.scale_word_bits // 8
        acts = self.act_bytes * (1 if self.resident else len(self.tiles))
        return self.table_bytes + weights * len(self.blocks) + acts + self.out_bytes

    def stream_slots(self, channels: int) -> int:
        """Slots of one K-tile."""
        least = self.machine.scale_steps
        return self.subs * channels * (sum(max(digit.slots, least) for digit in self.spec.digits)
                                       + least * self.spec.offset)

    @property
    def fill_cycles(self) -> int:
        """Cycles to fill the tables for one K-tile."""
        return self.machine.fill_entries * self.machine.table_steps

    @cached_property
    def rough_cycles(self) -> int:
        """Estimate that ranks plans; the cycle model gives the true figure."""
        machine = self.machine
        turn = self.fill_cycles + machine.rows + 6
        compute = 0
        for nt in self.tiles:
            slots = self.stream_slots(nt)
            steady = slots + turn if machine.tl2 else max(slots, turn)
            tile = self.k_tiles * steady + 5 * len(self.chunks)
            tile += nt * self.subs * max(0, machine.drain_slots - max(
                self.spec.digits[-1].slots, machine.scale_steps))
            compute += tile * self.m_tiles
        first = self.weight_words(self.tiles[0], self.chunks[0]) * machine.weight_word_bits // 8
        last = self.tiles[-1] * self.tile_width * 4 * (1 if self.row_mode else machine.rows)
        edges = (first + last) // machine.beat_bytes
        tail = self.chunks[-1] * self.stream_slots(self.tiles[-1])
        return max(compute + edges, (self.dram_bytes + last) // machine.beat_bytes + tail)

    def roofline(self, interval: int = 1) -> tuple[float, str]:
        """Cycles and bound (``compute`` or ``memory``): the larger of MACs / peak and compulsory
        bytes / bandwidth, for a memory of one beat every ``interval`` cycles."""
        compute = self.spec.macs / self.machine.macs_per_cycle(self.spec.slots)
        memory = self.compulsory_bytes / self.machine.beat_bytes * interval
        return max(compute, memory), "compute" if compute >= memory else "memory"


def _chunk_limit(plan: Plan) -> int:
    """Most K-tiles per chunk with two chunks in the buffers; 0 if none fit. Activations count
    unless they are resident."""
    machine = plan.machine
    words = plan.weight_words(plan.channels, 1)
    limit = machine.weight_depth // 2 // words
    per_group = plan.scale_words(plan.channels, 1)
    groups = machine.scale_depth // 2 // per_group
    if not groups:
        return 0
    limit = min(limit, plan.k_tiles, groups * plan.group_tiles)
    if not plan.resident:
        limit = min(limit, machine.act_depth // 2 // plan.act_words(1))
    if limit >= plan.group_tiles:
        return limit // plan.group_tiles * plan.group_tiles
    return next((d for d in range(limit, 0, -1) if plan.group_tiles % d == 0), 0)


def _candidates(machine: Machine, spec: GemmSpec) -> list[Plan]:
    row_mode = spec.m == 1 and machine.rows > 1
    width = machine.cols * (machine.rows if row_mode else 1)
    most = max(-(-spec.n // width), machine.min_channels)
    sizes = {most} | {size for size in (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128) if size < most}
    plans = []
    for channels in sizes:
        if channels > min(255, machine.psum_depth):
            continue
        base = Plan(machine=machine, spec=spec, row_mode=row_mode, channels=channels, chunk=1,
                    block=1, resident=True)
        if base.out_words(channels) > machine.out_depth:
            continue
        for resident in (True, False):
            base = replace(base, resident=resident, chunk=1)
            if not (chunk := _chunk_limit(base)):
                continue
            base = replace(base, chunk=chunk)
            psums = base.m_tiles if len(base.chunks) == 1 else machine.psum_depth // channels
            held = machine.act_depth // base.act_words(base.k_tiles if resident else base.chunk)
            block = min(psums, base.m_tiles, 255, held if resident else base.m_tiles)
            if block < 1 or (not resident and held < 2):
                continue
            blocks = -(-base.m_tiles // block)
            plans.append(replace(base, block=-(-base.m_tiles // blocks)))
    return plans


def candidates(machine: Machine, spec: GemmSpec) -> list[Plan]:
    """Plans that fit the buffers, best first: fewest estimated cycles, then least traffic.

    Raises :class:`PlanError` if there is none."""
    plans = _candidates(machine, spec)
    if not plans:
        raise PlanError(
            f"no tile of {spec.m}x{spec.k}x{spec.n} with {spec.slots} slices fits machine "
            f"{machine.name}: weight_depth={machine.weight_depth}, scale_depth="
            f"{machine.scale_depth}, out_depth={machine.out_depth}, psum_depth="
            f"{machine.psum_depth}; raise them with --set")
    if max(plan.out_bytes for plan in plans) >= 1 << 31:
        raise PlanError(f"output of {spec.m}x{spec.n} exceeds the 2 GiB address range; "
                        "map fewer tokens")
    return sorted(plans, key=lambda p: (p.rough_cycles, p.dram_bytes, p.channels))
