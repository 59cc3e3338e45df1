import random

import pytest

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.store_engine import StoreEngine
from tests.hw.streams import IDLE_BUSY, IDS, at_random, put, simulate, stable, wait_for

NARROW = Machine(rows=64, out_depth=512, memory_bits=16, outstanding=2)
SAME = Machine(rows=64, cols=4, k_tile=32, builders=2, out_depth=512, memory_bits=64)
CONFIGS = pytest.mark.parametrize("config", [NARROW, SAME], ids=["narrow", "same"])


def word(config, row, address):
    return (row * 0x51ED270B + address * 0x9E3779B97F4A7C15 + 3) % (1 << config.out_word_bits)


def beat(config, row, address, part):
    """A part of a word."""
    return word(config, row, address) >> part * config.memory_bits & (1 << config.memory_bits) - 1


def buffer(dut, config):
    """Output buffers: two cycles from address to part of a word."""
    async def bench(ctx):
        late = 0
        async for *_, row, address, part in ctx.tick().sample(
                dut.read_row, dut.read_addr, dut.read_part):
            ctx.set(dut.read_data, late)
            late = beat(config, row, address, part)
    return bench


def memory(dut, config, rng, slow, stored, log, fault=None):
    """Takes bursts and their data, answers each after a while; ``log`` lists (event, cycle)."""
    lengths, answers = [], []

    async def channels(ctx):
        cycle = sent = 0
        async for *_, av, ar, address, length, wv, wr, data, last in ctx.tick().sample(
                dut.awvalid, dut.awready, dut.awaddr, dut.awlen, dut.wvalid, dut.wready,
                dut.wdata, dut.wlast):
            cycle += 1
            if wv:
                log.append(("offer", cycle))
            if av and ar:
                log.append(("aw", cycle))
                assert address // 4096 == (address + (length + 1) * config.beat_bytes - 1) // 4096
                lengths.append((address, length + 1))
            if wv and wr:
                address, length = lengths[0]
                stored[address + sent * config.beat_bytes] = data
                sent += 1
                assert last == (sent == length), "wlast"
                if last:
                    lengths.pop(0)
                    sent = 0
                    answers.append(address == fault)

    async def answer(ctx):
        while True:
            ctx.set(dut.bvalid, 0)
            if answers and rng.random() >= slow:
                ctx.set(dut.bresp, 2 if answers.pop(0) else 0)
                ctx.set(dut.bvalid, 1)
            await ctx.tick()
    return channels, answer


async def issue(ctx, dut, store):
    await put(ctx, dut.instr_valid, dut.instr_ready,
              *((getattr(dut.instr, name), value) for name, value in store.items()))


@CONFIGS
@pytest.mark.parametrize("idle, busy", IDLE_BUSY, ids=IDS)
def test_rows_go_to_memory(config, idle, busy):
    dut, rng = StoreEngine(config), random.Random(7)
    stores, stored, log, gives = [], {}, [], []
    for index in range(25):
        beats = rng.choice([1, rng.randrange(1, 9), rng.randrange(1, 300)])
        stores.append({"dram": index << 16 | rng.randrange(2000) * config.beat_bytes,
                       "out": rng.randrange(1000), "stride": 4096 + 64 * rng.randrange(9),
                       "rows": rng.choice([1, 1, 2, 3]), "beats": beats,
                       "wait": rng.randrange(2), "signal": rng.randrange(2)})

    async def feed(ctx):
        for store in stores:
            while rng.random() < idle:
                await ctx.tick()
            await issue(ctx, dut, store)
        while not ctx.get(dut.idle & dut.quiet):
            await ctx.tick()

    async def tokens(ctx):
        ctx.set(dut.ready, 1)
        async for *_, take, give in ctx.tick().sample(dut.take, dut.give):
            gives.extend(["take"] * take + ["give"] * give)

    simulate(dut, feed, background=(
        buffer(dut, config), *memory(dut, config, rng, busy, stored, log), tokens,
        at_random(rng, dut.awready, busy), at_random(rng, dut.wready, busy),
        stable(dut.awvalid, dut.awready, dut.awaddr, dut.awlen),
        stable(dut.wvalid, dut.wready, dut.wdata, dut.wlast)), max_cycles=100_000)
    expected = {}
    for store in stores:
        parts = config.out_parts
        for row in range(store["rows"]):
            for i in range(store["beats"]):
                at = store["dram"] + row * store["stride"] + i * config.beat_bytes
                expected[at] = beat(config, row, store["out"] + i // parts, i % parts)
    assert stored == expected
    assert gives.count("take") == sum(store["wait"] for store in stores)
    assert gives.count("give") == sum(store["signal"] for store in stores)


@CONFIGS
def test_stated_latency_and_throughput(config):
    """Data are offered at most 4 cycles after the first address, then one beat per cycle."""
    dut, stored, log = StoreEngine(config), {}, []

    async def bench(ctx):
        for signal in (dut.awready, dut.wready):
            ctx.set(signal, 1)
        await issue(ctx, dut, {"dram": 0x2000, "out": 5, "rows": 2, "stride": 512, "beats": 64})
        await wait_for(ctx, dut.idle & dut.quiet & (dut.beat == 0))

    simulate(dut, bench, background=(
        buffer(dut, config), *memory(dut, config, random.Random(1), 0, stored, log)))
    offers = [cycle for event, cycle in log if event == "offer"]
    assert 0 <= offers[0] - next(cycle for event, cycle in log if event == "aw") <= 4
    assert offers == list(range(offers[0], offers[0] + 128))


def test_a_store_waits_for_its_token():
    dut, stored = StoreEngine(NARROW), {}

    async def bench(ctx):
        for signal in (dut.awready, dut.wready):
            ctx.set(signal, 1)
        await issue(ctx, dut, {"rows": 1, "beats": 1, "wait": 1, "signal": 1})
        for _ in range(20):
            await ctx.tick()
            assert ctx.get(dut.wait) and not ctx.get(dut.awvalid) and not ctx.get(dut.idle)
        ctx.set(dut.ready, 1)
        await ctx.delay(0)
        assert ctx.get(dut.take) and not ctx.get(dut.wait)
        await wait_for(ctx, dut.give)  # with the answer, not before
        assert len(stored) == 1

    simulate(dut, bench, background=(
        buffer(dut, NARROW), *memory(dut, NARROW, random.Random(2), 0.5, stored, [])))


def test_an_error_is_reported_and_stop_ends_after_the_bursts_in_flight():
    dut, stored, log = StoreEngine(NARROW), {}, []

    async def bench(ctx):
        for signal in (dut.awready, dut.wready):
            ctx.set(signal, 1)
        await issue(ctx, dut, {"dram": 0x1000, "rows": 50, "stride": 256, "beats": 16})
        await wait_for(ctx, dut.error)
        ctx.set(dut.stop, 1)
        await wait_for(ctx, dut.quiet)
        count = len([1 for event, _ in log if event == "aw"])
        assert len(stored) == 16 * count and count < 12
        for _ in range(50):
            await ctx.tick()
            assert ctx.get(dut.quiet) and not ctx.get(dut.awvalid)

    simulate(dut, bench, background=(
        buffer(dut, NARROW), *memory(dut, NARROW, random.Random(3), 0.6, stored, log, 0x1300)))


def test_stop_leaves_an_offered_address_until_it_is_taken():
    dut = StoreEngine(NARROW)

    async def bench(ctx):
        await issue(ctx, dut, {"dram": 0x200, "rows": 3, "stride": 64, "beats": 4})
        await wait_for(ctx, dut.awvalid)
        ctx.set(dut.stop, 1)
        for _ in range(10):
            await ctx.tick()
            assert ctx.get(dut.awvalid) and not ctx.get(dut.quiet)
        ctx.set(dut.awready, 1)
        await ctx.tick()
        for _ in range(10):
            await ctx.tick()
            assert not ctx.get(dut.awvalid)

    simulate(dut, bench, background=(stable(dut.awvalid, dut.awready, dut.awaddr, dut.awlen),))
