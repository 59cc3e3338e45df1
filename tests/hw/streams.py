"""Benches for single units: clocked runs with a time limit, random waits, watchers."""

from amaranth.hdl import Value
from amaranth.sim import Simulator

PERIOD = 1e-6

IDLE_BUSY = [(0, 0), (0.6, 0), (0, 0.6), (0.5, 0.5)]
IDS = ["flowing", "starved", "backed-up", "mixed"]


def simulate(dut, *benches, background=(), max_cycles=20_000):
    """Run until every one of ``benches`` has ended."""
    async def timeout(ctx):
        await ctx.delay(max_cycles * PERIOD)
        raise AssertionError(f"still running after {max_cycles} cycles")

    sim = Simulator(dut)
    sim.add_clock(PERIOD)
    for bench in benches:
        sim.add_testbench(bench)
    for bench in (*background, timeout):
        sim.add_testbench(bench, background=True)
    sim.run()


def stable(valid, ready, *payload):
    """Background bench: what is offered stays, unchanged, until it is taken."""
    async def bench(ctx):
        held = None
        async for _, _, is_valid, is_ready, *now in ctx.tick().sample(
                valid, ready, *map(Value.cast, payload)):
            assert held is None or (is_valid and now == held), f"{held!r} was withdrawn"
            held = now if is_valid and not is_ready else None
    return bench


async def put(ctx, valid, ready, *assignments):
    """Offer values, as (signal, value) pairs, until they are taken."""
    for signal, value in assignments:
        ctx.set(signal, value)
    ctx.set(valid, 1)
    while not (await ctx.tick().sample(ready))[-1]:
        pass
    ctx.set(valid, 0)


async def wait_for(ctx, condition):
    """Cycles until ``condition`` is sampled high, that one included."""
    cycles = 1
    while not (await ctx.tick().sample(condition))[-1]:
        cycles += 1
    return cycles


def at_random(rng, signal, share):
    """Background bench: ``signal`` is low in a ``share`` of the cycles."""
    async def bench(ctx):
        while True:
            ctx.set(signal, int(rng.random() >= share))
            await ctx.tick()
    return bench
