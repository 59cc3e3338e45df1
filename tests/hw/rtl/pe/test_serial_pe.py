import numpy as np
import pytest
from amaranth.sim import Simulator

from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.power_of_two_terms import TERMS, digit_terms
from bitwright.hw.rtl.pe.serial_pe import SerialPE
from tests.hw.rtl.pe.serial_slots import BOOKS, SerialStream

K4 = Machine(pe="serial", rows=1, cols=2, k_tile=4, builders=1, memory_bits=16, psum_depth=8)
K16 = Machine(pe="serial", rows=1, cols=2, k_tile=16, builders=2, psum_depth=16)
K64 = Machine(pe="serial", rows=1, cols=2, k_tile=64, builders=4, psum_depth=64)
SIZES = pytest.mark.parametrize("config", [K4, K16, K64], ids=["k4", "k16", "k64"])


def slots_of(values, slots):
    """Terms ``[slot][lane]`` of one channel's digit."""
    return [list(row) for row in zip(*digit_terms(values, slots), strict=True)]


def stream_tiles(stream, tiles, slots, mults):
    """``tiles``: (activations, values[channel, k]). Returns S of every digit, in order."""
    sums = []
    stream.load(tiles[0][0])
    for index, (acts, values) in enumerate(tiles):
        stream.switch()
        for channel, mult in enumerate(mults):
            _, s = stream.digit(acts, slots_of(values[channel], slots), mult, channel,
                                first=index == 0)
            sums.append(s)
            if channel == 0 and index + 1 < len(tiles):
                stream.load(tiles[index + 1][0])   # from the cycle after the take-over on
    return sums


def random_tiles(rng, config, values, count, channels=5):
    half = 1 << config.act_bits - 1
    return [(rng.integers(-half, half, config.k_tile),
             rng.choice(values, (channels, config.k_tile))) for _ in range(count)]


@pytest.mark.parametrize("book", BOOKS)
@SIZES
def test_exact(config, book):
    rng = np.random.default_rng(seed=1)
    values, slots = BOOKS[book]
    stream = SerialStream(SerialPE(config), config, rng)
    stream_tiles(stream, random_tiles(rng, config, values, 3), slots,
                 rng.integers(-1 << 17, 1 << 17, 5).tolist())
    stream.run()


@pytest.mark.parametrize("act_bits", [4, 16])
@pytest.mark.parametrize("dequant", ["dsp", "serial"])
def test_activation_widths(act_bits, dequant):
    config = K16.replace(act_bits=act_bits, dequant=dequant)
    rng = np.random.default_rng(seed=2)
    stream = SerialStream(SerialPE(config), config, rng)
    stream_tiles(stream, random_tiles(rng, config, range(-8, 8), 3), 2,
                 rng.integers(-1 << 17, 1 << 17, 5).tolist())
    stream.run()


@pytest.mark.parametrize("units", [1, 3, 5, 9])
@pytest.mark.parametrize("idle", [0, 0.8], ids=["closest", "gaps"])
@SIZES
def test_serial_dequantization(config, idle, units):
    config = config.replace(dequant="serial", scale_units=units)
    rng = np.random.default_rng(seed=3)
    stream = SerialStream(SerialPE(config), config, rng, idle)
    mults = [0, 1, -1, (1 << 17) - 1, -1 << 17, *rng.integers(-1 << 17, 1 << 17, 3).tolist()]
    tiles = random_tiles(rng, config, range(-8, 8), 3, len(mults))
    stream_tiles(stream, tiles, 2, mults)
    stream.run()


def one_digit(stream, config):
    """Load activations and stream one channel; returns its last slot and S."""
    acts = stream.rng.integers(-128, 128, config.k_tile)
    stream.load(acts)
    stream.switch()
    values = stream.rng.integers(-8, 8, config.k_tile)
    return stream.digit(acts, slots_of(values, 2), 77, write=False)


def test_every_pair_of_terms_and_activation():
    """One pair of lanes: every two terms, every activation of 8 bits; beside it another pair that
    is joined by either sign."""
    rng = np.random.default_rng(seed=4)
    stream = SerialStream(SerialPE(K4), K4, rng, idle=0)
    pairs = [(left, right) for left in TERMS for right in TERMS]
    orders = [rng.permutation(np.arange(-128, 128)) for _ in range(4)]
    stream.load([order[0] for order in orders])
    for index in range(256):
        acts = [order[index] for order in orders]
        stream.switch()
        beside = rng.choice(TERMS, (len(pairs), 2)).tolist()
        for number, ((left, right), other) in enumerate(zip(pairs, beside, strict=True)):
            terms = [left, right, *other] if index % 2 else [*other, left, right]
            stream.digit(acts, [terms], mult=1 + number % 3, write=False)
            if number == 0 and index < 255:
                stream.load([order[index + 1] for order in orders])
    stream.run()


@pytest.mark.parametrize("act_bits", [4, 8, 16])
@SIZES
def test_accumulator_bounds(config, act_bits):
    """All values at either end of ±40, in two slots and in three whose constant is largest, for
    activations at either end, at both ends of the multiplier; and every constant alone."""
    config = config.replace(act_bits=act_bits)
    half = 1 << act_bits - 1
    stream = SerialStream(SerialPE(config), config, np.random.default_rng(seed=5), idle=0)
    corners = [[[sign * 8] * config.k_tile] * 2 for sign in (1, -1)]
    corners += [slots_of([sign * 40] * config.k_tile, 3) for sign in (1, -1)]
    mixed = [8 if k % 2 == 0 else -8 for k in range(config.k_tile)]   # −4 of every right lane
    corners += [[[sign * t for t in mixed]] * 2 for sign in (1, -1)]
    limit = 1 << config.acc_bits - 1
    tiles = [[a] * config.k_tile for a in (-half, half - 1, -half, 0)]
    tiles.append([-half if k % 2 == 0 else half - 1 for k in range(config.k_tile)])
    stream.load(tiles[0])
    for index, acts in enumerate(tiles):
        stream.switch()
        for number, slots in enumerate(corners):
            _, s = stream.digit(acts, slots, [-1 << 17, (1 << 17) - 1][number % 2], number % 4,
                                first=index == 0 and number < 4)
            assert -limit <= s < limit
            if number == 0 and index + 1 < len(tiles):
                stream.load(tiles[index + 1])
    stream.run()


def test_swaps_back_to_back():
    """A new tile with every slot, from shadow registers written in the cycle before."""
    config = K16.replace(builders=4)
    rng = np.random.default_rng(seed=6)
    stream = SerialStream(SerialPE(config), config, rng, idle=0)
    for _ in range(20):
        acts = rng.integers(-128, 128, 16)
        stream.load(acts)
        stream.switch()
        stream.digit(acts, [rng.choice(TERMS, 16).tolist()], 5, write=False)
    stream.run()
    assert stream.cycle <= 2 + 2 * 20


def test_first_starts_a_channel_anew():
    rng = np.random.default_rng(seed=7)
    stream = SerialStream(SerialPE(K4), K4, rng)
    for _ in range(3):
        stream_tiles(stream, random_tiles(rng, K4, range(-8, 8), 2, 4), 2, [7, -5, 3, 1])
    stream.run()


def test_s_is_held():
    stream = SerialStream(dut := SerialPE(K16), K16, np.random.default_rng(seed=8))
    slot, s = one_digit(stream, K16)
    for wait, mult in enumerate([5, -7, 0, 131071], start=1):
        stream.put(slot + dut.s_latency - 1 + wait, mult_i=mult)
        stream.put(slot + dut.product_latency + wait, first_i=1, emit_i=1)
        stream.results[slot + dut.result_latency + wait] = s * mult
    stream.run()


@pytest.mark.parametrize("dequant", ["dsp", "serial"])
def test_reset_drops_an_unfinished_digit(dequant):
    config = K16.replace(dequant=dequant)
    stream = SerialStream(dut := SerialPE(config), config, np.random.default_rng(seed=9))
    stream.put(dut.s_latency - 2, acc_en_i=1, last_i=0)  # of random slices and activations
    stream.put(dut.s_latency - 1, acc_en_i=1, last_i=0)
    stream.cycle = 3 + config.scale_steps
    one_digit(stream, config)
    stream.run(resets=[dut.s_latency + 1])


def test_passes_slices_and_multipliers_on():
    dut = SerialPE(K16)
    rng = np.random.default_rng(seed=10)
    sent = [(int.from_bytes(rng.bytes(8), "little"), int(rng.integers(-1 << 17, 1 << 17)))
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
