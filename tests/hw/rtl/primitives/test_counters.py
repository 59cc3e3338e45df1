import random

import pytest
from amaranth.sim import Simulator

from bitwright.hw.rtl.primitives.counter_bank import Counters


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


async def values(ctx, dut, count):
    """One turn of values."""
    seen = {}
    for _ in range(count):
        *_, index, value = await ctx.tick().sample(dut.index, dut.value)
        seen[index] = value
    return [seen[i] for i in range(count)]


@pytest.mark.parametrize("count", [2, 5, 12])
@pytest.mark.parametrize("seed", range(3))
def test_every_event_is_counted_once(count, seed):
    rng, dut = random.Random(seed), Counters(count)
    share = [rng.random() for _ in range(count - 1)] + [1.0]

    async def bench(ctx):
        for _ in range(3):
            expected = [0] * count
            ctx.set(dut.clear, 1)
            ctx.set(dut.events, (1 << count) - 1)   # lost
            await ctx.tick()
            ctx.set(dut.clear, 0)
            for _ in range(rng.randrange(1, 200)):
                events = [rng.random() < chance for chance in share]
                ctx.set(dut.events, sum(bit << i for i, bit in enumerate(events)))
                expected = [a + b for a, b in zip(expected, events, strict=True)]
                await ctx.tick()
            ctx.set(dut.events, 0)
            await ctx.tick().repeat(2)
            assert await values(ctx, dut, count) == expected
            assert await values(ctx, dut, count) == expected   # they stand still

    simulate(dut, bench)


def test_a_value_holds_all_events_up_to_two_cycles_before():
    count, dut = 4, Counters(4)

    async def bench(ctx):
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        ctx.set(dut.events, 1)
        for cycle in range(50):     # events happened in cycles 0 … cycle - 1
            *_, index, value = await ctx.tick().sample(dut.index, dut.value)
            if index == 0 and cycle >= count:
                assert value == cycle - 1

    simulate(dut, bench)
