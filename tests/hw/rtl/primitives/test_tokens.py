import random

import pytest

from bitwright.hw.rtl.primitives.token_queue import TokenQueue
from tests.hw.streams import simulate


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_counts_gives_credits_and_takes(share):
    dut, rng = TokenQueue(), random.Random(1)

    async def bench(ctx):
        count = 0
        for _ in range(2000):
            assert ctx.get(dut.ready) == (count > 0)
            give = rng.random() < share and count < 200
            credit = rng.randrange(1, 20) if rng.random() < 0.05 and count < 200 else 0
            take = count > 0 and rng.random() < 1 - share
            ctx.set(dut.give, give)
            ctx.set(dut.credit, credit or rng.randrange(256))  # means nothing without its valid
            ctx.set(dut.credit_valid, credit > 0)
            ctx.set(dut.take, take)
            await ctx.tick()
            count += give + credit - take

    simulate(dut, bench)


def test_holds_255():
    dut = TokenQueue()

    async def bench(ctx):
        ctx.set(dut.credit, 255)
        ctx.set(dut.credit_valid, 1)
        await ctx.tick()
        ctx.set(dut.credit_valid, 0)
        ctx.set(dut.take, 1)
        for _ in range(255):
            assert ctx.get(dut.ready)
            await ctx.tick()
        assert not ctx.get(dut.ready)

    simulate(dut, bench)


def test_a_token_is_ready_in_the_next_cycle_and_no_sooner():
    dut = TokenQueue()

    async def bench(ctx):
        ctx.set(dut.give, 1)
        assert not ctx.get(dut.ready)
        await ctx.tick()
        assert ctx.get(dut.ready)
        ctx.set(dut.take, 1)  # gives and takes at once: stays
        await ctx.tick()
        assert ctx.get(dut.ready)
        ctx.set(dut.give, 0)
        await ctx.tick()
        assert not ctx.get(dut.ready)

    simulate(dut, bench)
