"""The serial multiplier by itself: values, and products as close as it takes them."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.fabric.scale_multipliers import SerialMultiplier

DIGITS = 9   # of two bits of an 18-bit M
STEPS = {1: 9, 2: 5, 3: 3, 5: 2, 9: 1}   # cycles per product
# Widths of S: as wide as the product's 33 bits leave room for, and narrower.
SIZES = {12: (4, 4), 18: (16, 8), 20: (64, 8), 26: (16, 16)}


def machine(bits, units):
    k_tile, act_bits = SIZES[bits]
    found = Machine(pe="serial", cols=2, k_tile=k_tile, builders=1, act_bits=act_bits,
                    memory_bits=16, dequant="serial", scale_units=units)
    assert found.acc_bits == bits
    return found


def ends(bits):
    return -(1 << bits - 1), (1 << bits - 1) - 1


def operands(rng, bits, count):
    """``count`` values of ``bits`` bits: every fourth 0, ±1 or an end."""
    special = [0, 1, -1, *ends(bits)]
    return [int(rng.choice(special)) if rng.integers(4) == 0
            else int(rng.integers(*ends(bits), endpoint=True)) for _ in range(count)]


def check(config, pairs, gaps, rng):
    """Load ``pairs``, ``gaps[i]`` cycles after each other; every other cycle has random inputs."""
    dut = SerialMultiplier(config)
    starts = np.cumsum([0, *gaps[:len(pairs) - 1]]).tolist()
    loads = dict(zip(starts, pairs, strict=True))
    products = {start + 1 + DIGITS: s * mult for start, (s, mult) in loads.items()}

    async def bench(ctx):
        for cycle in range(max(products) + 1):
            s, mult = loads.get(cycle, (int(rng.integers(*ends(config.acc_bits))),
                                        int(rng.integers(*ends(config.mult_bits)))))
            ctx.set(dut.load, cycle in loads)
            ctx.set(dut.a, s)
            ctx.set(dut.b, mult)
            if cycle in products:
                difference = ctx.get(dut.p) - products[cycle]
                assert difference % (1 << config.psum_bits) == 0, f"cycle {cycle}"
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("units", STEPS)
@pytest.mark.parametrize("bits", SIZES)
def test_products_as_close_as_they_may_be(bits, units):
    rng = np.random.default_rng(seed=bits + units)
    config = machine(bits, units)
    assert config.scale_steps == STEPS[units]
    pairs = [*zip(operands(rng, bits, 100), operands(rng, 18, 100), strict=True)]
    check(config, pairs, [STEPS[units]] * 100, rng)


@pytest.mark.parametrize("units", STEPS)
def test_products_further_apart(units):
    rng = np.random.default_rng(seed=units)
    pairs = [*zip(operands(rng, 20, 100), operands(rng, 18, 100), strict=True)]
    check(machine(20, units), pairs, (STEPS[units] + rng.integers(0, 4, 100)).tolist(), rng)


@pytest.mark.parametrize("units", STEPS)
def test_every_digit_and_every_bit_of_s(units):
    """Powers of two of either sign, each with each."""
    powers = [sign << bit for bit in range(17) for sign in (1, -1)] + [-1 << 17]
    pairs = [(s, mult) for s in powers[units % 2::2] for mult in powers]
    check(machine(18, units), pairs, [STEPS[units]] * len(pairs), np.random.default_rng(seed=1))
