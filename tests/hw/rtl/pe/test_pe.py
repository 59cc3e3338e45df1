import itertools

import numpy as np
import pytest
from amaranth.sim import Simulator

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.pe.lut_pe import LutPE
from tests.hw.rtl.pe.slots import TYPES, Seat, Stream, encode, exact_digits, int4, stream_tiles

K4 = Machine(rows=1, cols=4, k_tile=4, builders=1, memory_bits=16, psum_depth=8)
K16 = Machine(rows=1, cols=2, k_tile=16, builders=2, psum_depth=16)
K64 = Machine(rows=1, cols=2, k_tile=64, builders=4, psum_depth=64)
TL3 = Machine(rows=1, cols=16, k_tile=3, builders=1, memory_bits=16, psum_depth=8, table="tl2")
TL12 = TL3.replace(k_tile=12, builders=2)
TL48 = TL3.replace(k_tile=48, builders=4, psum_depth=64)
MACHINES = {
    "k4": K4, "k16": K16, "k64": K64, "k16-mux": K16.replace(table="mux"),
    "k4-mux": K4.replace(table="mux"), "tl3": TL3, "tl12": TL12, "tl48": TL48,
    "k16-serial-scale": K16.replace(dequant="serial"),
    "k16-serial-scale-3": K16.replace(dequant="serial", scale_units=3),
    "k16-mux-serial-scale": K16.replace(table="mux", dequant="serial"),
    **{f"{name}-a{bits}": machine.replace(act_bits=bits) for bits in (4, 16)
       for name, machine in (("k16", K16), ("k16-mux", K16.replace(table="mux")), ("tl12", TL12))},
}
KINDS = [(machine, kind) for machine in MACHINES for kind in TYPES
         if kind != "ternary" or MACHINES[machine].tl2]


def acts_of(rng, config):
    """Activations of a K-tile."""
    top = 1 << config.act_bits - 1
    return rng.integers(-top, top, config.k_tile)


@pytest.mark.parametrize("machine, kind", KINDS)
def test_exact(machine, kind):
    rng = np.random.default_rng(seed=1)
    config = MACHINES[machine]
    _, low, high, value = TYPES[kind]
    tiles = [(acts_of(rng, config), rng.integers(low, high + 1, (5, config.k_tile)))
             for _ in range(3)]
    scales = rng.integers(-2048, 2048, 5).tolist()
    stream = Stream(Seat(config), config, rng)
    final = stream_tiles(stream, kind, tiles, scales)
    stream.run()

    for channel, scale in enumerate(scales):
        constant = sum(d.constant(stream.lane) * d.mult for _, codes in tiles
                       for d in encode(kind, codes[channel], scale))
        exact = sum(int(value(codes[channel]) @ acts) for acts, codes in tiles)
        assert final[channel] == wrap(2 * scale * exact + constant)


def wrap(value):
    """The 33 bits of a partial sum."""
    return (int(value) + 2**32) % 2**33 - 2**32


@pytest.mark.parametrize("machine, kind", [
    (machine, kind) for machine, kind in KINDS if kind in ("int8", "int4", "ternary")])
def test_accumulator_bounds(machine, kind):
    """Extremes of either sign, back to back, with the largest multiplier that the digits leave."""
    config = MACHINES[machine]
    rng = np.random.default_rng(seed=2)
    _, low, high, _ = TYPES[kind]
    top = 1 << config.act_bits - 1
    tiles = [(np.full(config.k_tile, a), np.array([[w] * config.k_tile for w in
                                                   (low, high, -1, 0)]))
             for a in (-top, top - 1, -top)]
    stream = Stream(Seat(config), config, rng, idle=0)
    most = {"int8": 8191, "int4": 131071, "ternary": 65535}[kind]
    stream_tiles(stream, kind, tiles, [most, -8192, 1, 0])
    stream.run()


@pytest.mark.parametrize("machine", ["k4", "k4-mux", "tl3"])
@pytest.mark.parametrize("bits", [4, 8])
def test_every_sign_of_extreme_activations(machine, bits):
    """Every combination of extreme and least activations in one table under every weight sign."""
    config = MACHINES[machine].replace(act_bits=bits)
    kind, lane = ("ternary", 3) if config.tl2 else ("binary", 4)
    _, low, high, _ = TYPES[kind]
    codes = np.array(list(itertools.product(range(low, high + 1), repeat=lane)))
    top = 1 << bits - 1
    tiles = [(np.array(acts), codes) for acts in
             itertools.product((-top, top - 1, -1), repeat=lane)]
    config = config.replace(psum_depth=32)
    stream = Stream(Seat(config), config, np.random.default_rng(seed=8), idle=0)
    stream_tiles(stream, kind, tiles, [1] * len(codes))
    stream.run()


@pytest.mark.parametrize("table", ["lutram", "mux"])
def test_low_bits_of_every_table(table):
    """All activations modulo 4, under every index."""
    config = K4.replace(table=table, psum_depth=16)
    rng = np.random.default_rng(seed=9)
    codes = np.array(list(itertools.product((0, 1), repeat=4)))
    tiles = [(np.array(low) + 4 * rng.integers(-32, 32, 4), codes)
             for low in itertools.product(range(4), repeat=4)]
    stream = Stream(Seat(config), config, rng, idle=0)
    stream_tiles(stream, "binary", tiles, [1] * 16)
    stream.run()


def test_bank_is_written_while_the_other_is_read():
    """Shortest tiles: the slots fill exactly the time that a load takes."""
    rng = np.random.default_rng(seed=3)
    stream = Stream(Seat(K16), K16, rng, idle=0)
    tiles = [(rng.integers(-128, 128, 16), rng.integers(-8, 8, (4, 16))) for _ in range(8)]
    stream_tiles(stream, "int4", tiles, [1, 2, 3, 4])
    stream.run()
    assert stream.cycle <= 2 + 9 * 16 + 2


def test_first_starts_a_channel_anew():
    rng = np.random.default_rng(seed=4)
    stream = Stream(Seat(K4), K4, rng)
    for _ in range(3):
        tiles = [(rng.integers(-128, 128, 4), rng.integers(-128, 128, (4, 4))) for _ in range(2)]
        stream_tiles(stream, "int8", tiles, [7, -5, 3, 1])
    stream.run()


def one_digit(stream, config):
    """Load tables and stream one channel; returns its last slot and S."""
    acts = stream.rng.integers(-128, 128, config.k_tile)
    (digit,) = int4(stream.rng.integers(-8, 8, config.k_tile), 77)
    (exact,) = exact_digits([digit], acts)
    stream.load(acts.tolist())
    stream.switch()
    stream.digit(acts.tolist(), digit, 0, exact, first=True, write=False)
    return stream.cycle - 1, exact + digit.constant(stream.lane)


def test_s_is_held():
    stream = Stream(dut := Seat(K16), K16, np.random.default_rng(seed=6))
    slot, s = one_digit(stream, K16)
    for wait, mult in enumerate([5, -7, 0, 131071], start=1):
        stream.put(slot + dut.s_latency - 1 + wait, mult_i=mult)
        stream.put(slot + dut.product_latency + wait, first_i=1, emit_i=1)
        stream.results[slot + dut.result_latency + wait] = s * mult
    stream.run()


def test_reset_drops_an_unfinished_digit():
    stream = Stream(dut := Seat(K16), K16, np.random.default_rng(seed=7))
    stream.put(dut.v_latency, acc_en_i=1, last_i=0)  # of random slices and tables
    stream.put(dut.v_latency + 1, acc_en_i=1, last_i=0)
    one_digit(stream, K16)
    stream.run(resets=[dut.v_latency + 3])


def test_passes_slices_and_multipliers_on():
    dut = LutPE(K16)
    rng = np.random.default_rng(seed=5)
    sent = [(int(rng.integers(1 << 16)), int(rng.integers(-1 << 17, 1 << 17))) for _ in range(20)]

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
