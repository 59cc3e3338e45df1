import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.config import Machine
from hw.serial_pe import SerialPE
from hw.terms import digit_terms
from tests.hw.serial_slots import BOOKS, SerialStream, word

K4 = Machine(pe="serial", rows=1, cols=2, k_tile=4, builders=1, psum_depth=8)
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


@pytest.mark.parametrize("idle", [0, 0.8], ids=["closest", "gaps"])
@SIZES
def test_serial_dequantization(config, idle):
    config = config.replace(dequant="serial")
    rng = np.random.default_rng(seed=3)
    stream = SerialStream(SerialPE(config), config, rng, idle)
    mults = [0, 1, -1, (1 << 17) - 1, -1 << 17, *rng.integers(-1 << 17, 1 << 17, 3).tolist()]
    tiles = random_tiles(rng, config, range(-8, 8), 3, len(mults))
    stream_tiles(stream, tiles, 2, mults)
    stream.run()
