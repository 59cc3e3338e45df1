import random

import pytest

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.load_engine import PROGRAM_TARGET, LoadEngine
from tests.hw.streams import IDLE_BUSY, IDS, at_random, put, simulate, stable, wait_for

NARROW = Machine(memory_bits=16, outstanding=2)
WIDE = Machine(rows=1, cols=16, k_tile=32, builders=8, memory_bits=256, outstanding=4)


def word(config, address):
    """Memory contents: every beat differs."""
    return (address // config.beat_bytes * 0x9E3779B1 + 7) % (1 << config.memory_bits)


def memory(dut, config, rng, slow, bursts, faults=()):
    """Answers bursts in order; the data channel pauses in a ``slow`` share of the cycles."""
    queue = []

    async def addresses(ctx):
        async for *_, valid, ready, address, length in ctx.tick().sample(
                dut.arvalid, dut.arready, dut.araddr, dut.arlen):
            if valid and ready:
                bursts.append((address, length + 1))
                queue.append((address, length + 1))

    async def beats(ctx):
        while True:
            if not queue or rng.random() < slow:
                await ctx.tick()
                continue
            address, length = queue.pop(0)
            for i in range(length):
                while rng.random() < slow:
                    await ctx.tick()
                here = address + i * config.beat_bytes
                ctx.set(dut.rdata, word(config, here))
                ctx.set(dut.rresp, 2 if here in faults else 0)
                ctx.set(dut.rlast, i == length - 1)
                ctx.set(dut.rvalid, 1)
                await ctx.tick()
                ctx.set(dut.rvalid, 0)
    return addresses, beats


def random_loads(config, rng, count):
    longest = 2 * config.burst_beats + 3
    for _ in range(count):
        beats = rng.choice([1, 1, rng.randrange(2, 9), rng.randrange(2, longest)])
        yield {"dram": rng.randrange(1 << 16) * config.beat_bytes, "sram": rng.randrange(1 << 16),
               "beats": beats, "target": rng.randrange(4), "broadcast": rng.randrange(2),
               "wait": rng.randrange(2), "signal": rng.randrange(2)}


async def issue(ctx, dut, load):
    await put(ctx, dut.instr_valid, dut.instr_ready,
              *((getattr(dut.instr, name), value) for name, value in load.items()))


@pytest.mark.parametrize("config", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("idle, busy", IDLE_BUSY, ids=IDS)
def test_loads_in_order(config, idle, busy):
    dut, rng = LoadEngine(config), random.Random(3)
    loads = list(random_loads(config, rng, 30))
    writes, tokens, bursts = [], [], []

    async def feed(ctx):
        for load in loads:
            while rng.random() < idle:
                await ctx.tick()
            await issue(ctx, dut, load)
        while not ctx.get(dut.idle & dut.quiet):
            await ctx.tick()

    async def watch(ctx):
        names = ("write_target", "write_addr", "write_data", "write_broadcast")
        async for *_, enable, give_w, give_a, done, at, where, data, broadcast in (
                ctx.tick().sample(dut.write_en, dut.give_w, dut.give_a, dut.program_done,
                                  *(getattr(dut, name) for name in names))):
            if enable:
                writes.append((at, where, data, broadcast))
            if give_w or give_a or done:
                tokens.append((len(writes), give_w, give_a, done))

    async def takes(ctx):
        ctx.set(dut.ready_w, 1)
        ctx.set(dut.ready_a, 1)
        taken = [0, 0]
        async for *_, w, a in ctx.tick().sample(dut.take_w, dut.take_a):
            taken[0] += w
            taken[1] += a
            counts[:] = taken

    counts = [0, 0]
    simulate(dut, feed, background=(
        *memory(dut, config, rng, busy, bursts), at_random(rng, dut.arready, busy), watch, takes,
        stable(dut.arvalid, dut.arready, dut.araddr, dut.arlen)), max_cycles=100_000)
    expected, gives, beats = [], [], 0
    for load in loads:
        beats += load["beats"]
        for i in range(load["beats"]):
            expected.append((load["target"], load["sram"] + i,
                             word(config, load["dram"] + i * config.beat_bytes),
                             load["broadcast"]))
        acts = load["target"] == 1
        give = (beats, load["signal"] & (not acts), load["signal"] & acts,
                int(load["target"] == PROGRAM_TARGET))
        gives += [give] if any(give[1:]) else []
    assert writes == expected
    assert tokens == gives
    assert counts == [sum(ld["wait"] for ld in loads if (ld["target"] == 1) == acts)
                      for acts in (False, True)]
    for address, length in bursts:
        assert address // 4096 == (address + length * config.beat_bytes - 1) // 4096
        assert length <= config.burst_beats
    fewest = sum((load["dram"] + load["beats"] * config.beat_bytes - 1) // span
                 - load["dram"] // span + 1 for load in loads
                 for span in [config.burst_beats * config.beat_bytes])
    assert len(bursts) == fewest


def test_a_load_waits_for_its_token_and_counts_the_wait():
    dut = LoadEngine(NARROW)

    async def bench(ctx):
        for target, ready, wait, take in ((0, dut.ready_w, dut.wait_w, dut.take_w),
                                          (1, dut.ready_a, dut.wait_a, dut.take_a)):
            await issue(ctx, dut, {"dram": 0, "beats": 1, "target": target, "wait": 1})
            for _ in range(20):
                await ctx.tick()
                assert ctx.get(wait) and not ctx.get(take) and not ctx.get(dut.arvalid)
            ctx.set(ready, 1)
            await ctx.delay(0)
            assert ctx.get(take) and not ctx.get(wait)
            await ctx.tick()
            ctx.set(ready, 0)
            await wait_for(ctx, dut.write_en)
            await ctx.tick()

    async def grant(ctx):
        ctx.set(dut.arready, 1)

    simulate(dut, bench, background=(*memory(dut, NARROW, random.Random(1), 0, []), grant))


def test_stated_latencies():
    """Bursts every two cycles; a token follows its last beat by one cycle, with the write."""
    dut, issued, last, given = LoadEngine(NARROW.replace(outstanding=4)), [], [], []

    async def bench(ctx):
        ctx.set(dut.arready, 1)
        await issue(ctx, dut, {"dram": 0, "beats": 600, "target": 0, "signal": 1})
        await wait_for(ctx, dut.give_w)

    async def watch(ctx):
        cycle = 0
        async for *_, ar, rvalid, rlast, write, give in ctx.tick().sample(
                dut.arvalid, dut.rvalid, dut.rlast, dut.write_en, dut.give_w):
            cycle += 1
            issued.extend([cycle] if ar else [])
            last.extend([cycle] if rvalid and rlast else [])
            given.extend([cycle] if give else [])
            assert write or not give

    simulate(dut, bench, background=(*memory(dut, NARROW, random.Random(1), 0, []), watch))
    assert len(issued) == 3 and issued[1] - issued[0] == issued[2] - issued[1] == 2
    assert given == [last[-1] + 1]


@pytest.mark.parametrize("beat", [0, 100, 299])
def test_an_error_is_reported_and_stop_ends_after_the_bursts_in_flight(beat):
    dut, bursts, rng = LoadEngine(NARROW), [], random.Random(5)
    seen = []

    async def bench(ctx):
        ctx.set(dut.arready, 1)
        await issue(ctx, dut, {"dram": 0x1000, "beats": 3000, "target": 2})
        await wait_for(ctx, dut.error)
        ctx.set(dut.stop, 1)
        await wait_for(ctx, dut.quiet)
        count = len(bursts)
        for _ in range(50):
            await ctx.tick()
            assert ctx.get(dut.quiet) and not ctx.get(dut.arvalid)
        seen.append(count)

    simulate(dut, bench, background=memory(dut, NARROW, rng, 0.3, bursts, {0x1000 + 2 * beat}))
    assert seen == [len(bursts)] and len(bursts) < 12


def test_no_more_bursts_in_flight_than_allowed():
    dut = LoadEngine(NARROW)

    async def bench(ctx):
        ctx.set(dut.arready, 1)
        await issue(ctx, dut, {"dram": 0, "beats": 2000, "target": 0})
        addresses = 0
        for _ in range(40):
            addresses += (await ctx.tick().sample(dut.arvalid))[-1]
        assert addresses == NARROW.outstanding

    simulate(dut, bench)


def test_stop_leaves_an_offered_address_until_it_is_taken():
    dut = LoadEngine(NARROW)

    async def bench(ctx):
        await issue(ctx, dut, {"dram": 0x200, "beats": 600, "target": 0})
        await wait_for(ctx, dut.arvalid)
        ctx.set(dut.stop, 1)
        for _ in range(10):
            await ctx.tick()
            assert ctx.get(dut.arvalid) and not ctx.get(dut.quiet)
        ctx.set(dut.arready, 1)
        await ctx.tick()
        for _ in range(10):
            await ctx.tick()
            assert not ctx.get(dut.arvalid)

    simulate(dut, bench, background=(stable(dut.arvalid, dut.arready, dut.araddr, dut.arlen),))
