"""The multiply-accumulate element against plain products, in every cycle."""

import itertools

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module, Value
from amaranth.sim import Simulator

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.fabric.dsp_and_memory import PsumMemory
from bitwright.hw.rtl.pe.mac_pe import MacPE, slot_constant
from tests.hw.rtl.pe.serial_slots import wrapped

K4 = Machine(pe="mac", rows=1, cols=4, k_tile=4, builders=1, memory_bits=16, psum_depth=8)
K16 = Machine(pe="mac", rows=1, cols=2, k_tile=16, builders=2, psum_depth=16)
K64 = Machine(pe="mac", rows=1, cols=2, k_tile=64, builders=4, psum_depth=64)
SIZES = pytest.mark.parametrize("config", [K4, K16, K64], ids=["k4", "k16", "k64"])
LANES = pytest.mark.parametrize("lane_mult", ["fabric", "dsp"])


def ends(bits):
    return -(1 << bits - 1), (1 << bits - 1) - 1


class MacStream:
    """Schedules slots and activation writes. What no slot asks for is random, but for enables."""
    ENABLES = ("w_step", "swap_i", "acc_en_i", "emit_i", "we_i")

    def __init__(self, config, seed, idle=0.2):
        self.dut, self.config, self.idle = MacPE(config), config, idle
        self.rng = np.random.default_rng(seed)
        self.at, self.results, self.psum = {}, {}, {}
        self.cycle = 2     # of the next slot
        self.swapped = 0   # first cycle in which shadow registers may be written
        self.due = 0       # first cycle of a slot, for the multiplier's sake
        self.acts = None

    def put(self, cycle, **ports):
        row = self.at.setdefault(cycle, {})
        assert not row.keys() & ports.keys()
        row.update(ports)

    def tile(self, acts):
        """Write ``acts`` in a random order of steps, from the cycle after the last take-over on;
        the next slot takes them over."""
        config, lanes, cycle = self.config, 4 * self.config.builders, self.swapped
        for step in self.rng.permutation(config.table_steps).tolist():
            group = acts[step * lanes:(step + 1) * lanes]
            self.put(cycle, w_step=1 << step, w_data=sum(
                (int(a) % (1 << config.act_bits)) << i * config.act_bits
                for i, a in enumerate(group)))
            cycle += 1
        self.cycle, self.acts, self.swap = max(self.cycle, cycle), acts, True

    def slot(self, values, mult, channel=0, first=True, write=False):
        """One channel's slot; returns its cycle and S."""
        config, dut = self.config, self.dut
        while self.rng.random() < self.idle:
            self.cycle += 1
        at = self.cycle = max(self.cycle, self.due)
        if self.swap:
            self.put(at, swap_i=1)
            self.swap, self.swapped = False, at + 1
        word = sum((int(v) % (1 << config.value_bits)) << k * config.value_bits
                   for k, v in enumerate(values))
        s = sum(int(v) * int(a) for v, a in zip(values, self.acts, strict=True))
        s += slot_constant(np.array(values))
        assert -1 << config.acc_bits - 1 <= s < 1 << config.acc_bits - 1
        self.put(at, slice_i=word)
        self.put(at + dut.s_latency - 2, acc_en_i=1, last_i=1)
        self.put(at + dut.s_latency - 1, mult_i=mult)
        self.put(at + dut.product_latency - PsumMemory.latency, raddr_i=channel)
        self.put(at + dut.product_latency, first_i=int(first), emit_i=1)
        value = wrapped((0 if first else self.psum[channel]) + s * mult, config.psum_bits)
        self.results[at + dut.result_latency] = value
        if write:
            self.put(at + dut.result_latency, we_i=1, waddr_i=channel)
            self.psum[channel] = value
        self.cycle, self.due = at + 1, at + config.scale_steps
        return at, s

    def run(self, resets=()):
        """Compare ``result_o`` in every cycle; reset in the cycles ``resets``."""
        dut, rng = self.dut, self.rng
        ports = {name: Value.cast(getattr(dut, name)) for name in dut.signature.members
                 if name.endswith("_i") or name.startswith("w_")}

        async def bench(ctx):
            expected = 0
            for cycle in range(max(self.at) + 10):
                row = self.at.get(cycle, {})
                for name, port in ports.items():
                    value = row.get(name)
                    if value is None:
                        value = int.from_bytes(rng.bytes(len(port) // 8 + 1), "little")
                        value = 0 if name in self.ENABLES else value % (1 << len(port))
                    ctx.set(port, value)
                ctx.set(domain.rst, cycle in resets)
                expected = self.results.get(cycle, expected)
                assert ctx.get(dut.result_o) == expected, f"cycle {cycle}"
                await ctx.tick()

        m = Module()
        m.domains.sync = domain = ClockDomain()
        m.submodules += dut
        sim = Simulator(m)
        sim.add_clock(1e-6)
        sim.add_testbench(bench)
        sim.run()


def random_tiles(stream, count=3, channels=5):
    """``count`` K-tiles of ``channels`` channels, one slot each."""
    config, rng = stream.config, stream.rng
    scales = rng.integers(-1 << 17, 1 << 17, channels).tolist()
    for tile in range(count):
        stream.tile(rng.integers(*ends(config.act_bits), config.k_tile, endpoint=True))
        for channel, scale in enumerate(scales):
            stream.slot(rng.integers(*ends(config.value_bits), config.k_tile, endpoint=True),
                        scale, channel, first=tile == 0, write=True)


@pytest.mark.parametrize("value_bits", range(2, 10))
@LANES
@SIZES
def test_exact(config, lane_mult, value_bits):
    stream = MacStream(config.replace(value_bits=value_bits, lane_mult=lane_mult), seed=1)
    random_tiles(stream)
    stream.run()


@pytest.mark.parametrize("act_bits", [4, 16])
@pytest.mark.parametrize("dequant", ["dsp", "serial"])
@pytest.mark.parametrize("value_bits", [2, 5, 8])
@LANES
def test_activation_widths(lane_mult, value_bits, dequant, act_bits):
    stream = MacStream(K16.replace(act_bits=act_bits, value_bits=value_bits, dequant=dequant,
                                   lane_mult=lane_mult), seed=2)
    random_tiles(stream)
    stream.run()


@pytest.mark.parametrize("value_bits", [2, 3])
@LANES
def test_every_operand_pair_of_two_lanes(lane_mult, value_bits):
    """Activations of 4 bits: all of two lanes, beside all weights of both; the pair's place among
    the four lanes alternates."""
    config = K4.replace(act_bits=4, value_bits=value_bits, lane_mult=lane_mult)
    stream = MacStream(config, seed=3, idle=0)
    low, high = ends(value_bits)
    weights = list(itertools.product(range(low, high + 1), repeat=2))
    for turn, acts in enumerate(itertools.product(range(-8, 8), repeat=2)):
        place = turn % 2 * 2
        others = stream.rng.integers(-8, 8, 2).tolist()
        stream.tile([*others[:place], *acts, *others[place:]])
        for pair in weights:
            beside = stream.rng.integers(low, high + 1, 2).tolist()
            stream.slot([*beside[:place], *pair, *beside[place:]], 1 + turn % 3)
    stream.run()


@pytest.mark.parametrize("value_bits", [2, 4])
@LANES
def test_every_operand_pair_of_every_lane(lane_mult, value_bits):
    """Activations of 8 bits, each with every weight, in each of four lanes."""
    stream = MacStream(K4.replace(value_bits=value_bits, lane_mult=lane_mult), seed=4, idle=0)
    low, high = ends(value_bits)
    orders = [stream.rng.permutation(np.arange(-128, 128)) for _ in range(4)]
    for acts in zip(*orders, strict=True):
        stream.tile(acts)
        weights = [stream.rng.permutation(np.arange(low, high + 1)) for _ in range(4)]
        for values in zip(*weights, strict=True):
            stream.slot(values, 1)
    stream.run()


@pytest.mark.parametrize("act_bits, value_bits", [(4, 2), (8, 2), (8, 4), (8, 5), (8, 6), (8, 8),
                                                  (8, 9), (16, 9)])
@LANES
@SIZES
def test_extremes(config, lane_mult, act_bits, value_bits):
    config = config.replace(act_bits=act_bits, value_bits=value_bits, lane_mult=lane_mult)
    stream = MacStream(config, seed=5, idle=0)
    a, v = ends(act_bits), ends(value_bits)
    for low, high in ((a[0], a[0]), (a[1], a[1]), a):
        stream.tile([(low, high)[k % 2] for k in range(config.k_tile)])
        for first, second in ((v[0], v[0]), (v[1], v[1]), v, (-1, -1), (0, 0), (1, 1)):
            for mult in ends(config.mult_bits):
                stream.slot([(first, second)[k % 2] for k in range(config.k_tile)], mult)
    stream.run()


@LANES
def test_swaps_back_to_back(lane_mult):
    """A new tile with every slot, the shadow registers written in the very cycle of the last
    take-over's successor; a write in the cycle of a take-over is not taken."""
    config = K16.replace(builders=4, lane_mult=lane_mult)
    stream = MacStream(config, seed=6, idle=0)
    for _ in range(20):
        stream.tile(stream.rng.integers(-128, 128, 16))
        stream.slot(stream.rng.integers(-32, 32, 16), 5)
    stream.run()
    assert stream.cycle <= 2 + 2 * 20

    stream = MacStream(config, seed=7, idle=0)
    stream.tile(stream.rng.integers(-128, 128, 16))
    at, _ = stream.slot(stream.rng.integers(-32, 32, 16), 5)
    stream.put(at, w_step=1, w_data=0)
    stream.slot(stream.rng.integers(-32, 32, 16), 7)
    stream.run()


def test_first_starts_a_channel_anew():
    stream = MacStream(K4, seed=8)
    for _ in range(3):
        random_tiles(stream, count=2, channels=4)
    stream.run()


@pytest.mark.parametrize("lane_mult, value_bits", [("fabric", 4), ("dsp", 4), ("fabric", 9)])
def test_s_is_held_by_slots_that_do_not_end(lane_mult, value_bits):
    """Neither reset nor slots without both of ``acc_en_i`` and ``last_i`` change S."""
    stream = MacStream(K16.replace(lane_mult=lane_mult, value_bits=value_bits), seed=9)
    dut = stream.dut
    stream.tile(stream.rng.integers(-128, 128, 16))
    at, s = stream.slot(stream.rng.integers(-8, 8, 16), 77)
    for wait, mult in enumerate([5, -7, 0, 131071], start=1):
        stream.put(at + dut.s_latency - 1 + wait, mult_i=mult)
        stream.put(at + dut.s_latency - 2 + wait, acc_en_i=wait % 2, last_i=1 - wait % 2)
        stream.put(at + dut.product_latency + wait, first_i=1, emit_i=1)
        stream.results[at + dut.result_latency + wait] = s * mult
    stream.run(resets=[at + 1, at + dut.s_latency, at + dut.s_latency + 2])


@SIZES
def test_latency_is_the_same_for_every_lane(config):
    """Neither lanes nor fabric may change a cycle."""
    for value_bits in range(2, 10):
        config = config.replace(value_bits=value_bits)
        found = set()
        for lane_mult, fabric in itertools.product(("fabric", "dsp"), ("generic", "ecp5")):
            dut = MacPE(config.replace(lane_mult=lane_mult, fabric=fabric))
            dut._MustUse__used = True
            found.add((dut.s_latency, dut.product_latency, dut.result_latency))
        assert len(found) == 1


def test_passes_slices_and_multipliers_on():
    dut = MacPE(K16)
    rng = np.random.default_rng(seed=10)
    sent = [(int.from_bytes(rng.bytes(12), "little"), int(rng.integers(-1 << 17, 1 << 17)))
            for _ in range(20)]

    async def bench(ctx):
        for before, now in zip([(0, 0), *sent], sent, strict=False):
            ctx.set(dut.slice_i, now[0])
            ctx.set(dut.mult_i, now[1])
            assert (ctx.get(dut.slice_o), ctx.get(dut.mult_o)) == before
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
