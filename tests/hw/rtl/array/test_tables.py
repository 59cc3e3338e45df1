import random

import pytest

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.array.table_builders import FILL_LATENCY
from bitwright.hw.rtl.array.table_filler import TableFiller
from tests.hw.rtl.pe.slots import table
from tests.hw.streams import simulate, wait_for

PLAIN = Machine(rows=2, cols=2)                                  # two steps of two tables
ONE = Machine(rows=1, cols=4, k_tile=4, builders=1, memory_bits=16)
WIDE = Machine(rows=4, cols=4, k_tile=32, builders=8)            # one step
TERNARY = Machine(rows=2, cols=4, k_tile=12, builders=2, memory_bits=16, table="tl2")
CONFIG = {
    "plain": PLAIN, "one": ONE, "wide": WIDE, "mux": PLAIN.replace(table="mux"),
    "tl2": TERNARY, "tl2-one": TERNARY.replace(k_tile=3, builders=1, cols=16),
    "serial": PLAIN.replace(pe="serial"), "serial-mux": PLAIN.replace(pe="serial", table="mux"),
    "mac-one": ONE.replace(pe="mac", cols=4),
    "plain-a4": PLAIN.replace(act_bits=4), "mux-a16": PLAIN.replace(table="mux", act_bits=16),
    "tl2-a16": TERNARY.replace(act_bits=16), "mac-a4": PLAIN.replace(pe="mac", act_bits=4),
}
CONFIGS = pytest.mark.parametrize("config", CONFIG.values(), ids=CONFIG)


def activations(config, rng, words, extreme=None):
    """Activation words: [word][row][value], of random values or all lowest or all highest."""
    top = 1 << config.act_bits - 1
    low, high = {None: (-top, top - 1), "low": (-top, -top), "high": (top - 1, top - 1)}[extreme]
    return [[[rng.randint(low, high) for _ in range(config.builders * 4)]
             for _ in range(config.rows)] for _ in range(words)]


def packed(word, bits):
    return sum((value & ~(-1 << bits)) << bits * i
               for i, value in enumerate(v for row in word for v in row))


def expected_tables(config, lanes):
    """Entries of each builder lane of a step, from its four activations."""
    if config.decodes:
        return [[value] for lane in lanes for value in lane]
    return [table(lane[:3] if config.tl2 else lane, config.table) for lane in lanes]


class Bank:
    """What the writes leave: [row][bank][table][entry]; [row][0][lane][0] without tables."""
    def __init__(self, config):
        lanes = config.tables * (4 if config.decodes else 1)
        self.tables = [[[[None] * config.fill_entries for _ in range(lanes)]
                        for _ in range(config.banks)] for _ in range(config.rows)]


def run(config, jobs, acts, rng, slow=0.0, check=lambda *args: None):
    """Fill the jobs' (a_addr, tiles) one after the other; banks are freed at random. ``check`` is
    called once a bank is readable, before it is freed."""
    dut, bank = TableFiller(config), Bank(config)
    cycles = {name: [] for name in ("set", "write", "seen_free")}
    queue, done = [], []

    async def feed(ctx):
        ctx.set(dut.job_ready, 1)
        for address, tiles in jobs:
            while rng.random() < slow:
                await ctx.tick()
            ctx.set(dut.instr.a_addr, address)
            ctx.set(dut.instr.tiles, tiles)
            ctx.set(dut.instr_valid, 1)
            await wait_for(ctx, dut.instr_take)
            ctx.set(dut.instr_valid, 0)
        while len(done) < sum(tiles for _, tiles in jobs):
            await ctx.tick()
        assert ctx.get(dut.idle)

    async def memory(ctx):
        async for *_, address in ctx.tick().sample(dut.read_addr):
            ctx.set(dut.read_data, packed(acts[address % len(acts)], config.act_bits))

    async def writes(ctx):
        cycle = 0
        async for *_, steps, addresses, data, new in ctx.tick().sample(
                dut.w_step, dut.w_addr, dut.w_data, dut.set_full):
            cycle += 1
            (step,), (address,) = set(steps), set(addresses)    # the same in every row
            if step:
                cycles["write"].append(cycle)
            lanes = config.builders * (4 if config.decodes else 1)
            index = address >> 3 if config.banks == 2 else 0
            entry = 0 if config.decodes else address if config.tl2 else address & 7
            for row in range(config.rows):
                for lane in range(lanes):
                    for s in range(config.table_steps):
                        if step >> s & 1:
                            bank.tables[row][index][s * lanes + lane][entry] = data[row][lane]
            for index in range(2):
                if new >> index & 1:
                    cycles["set"].append(cycle)
                    queue.append((cycle, index))

    async def banks(ctx):
        full, cycle = 0, 0
        while True:
            ctx.set(dut.full, full)
            *_, new = await ctx.tick().sample(dut.set_full)
            cycle += 1
            assert not new & full, "a bank in use is filled again"
            full |= new
            if queue and cycle > queue[0][0] + FILL_LATENCY + 1 and rng.random() >= slow:
                _, index = queue[0]
                sums = [ctx.get(dut.sigma[row][index]) for row in range(config.rows)]
                check(len(done), index, bank.tables, sums)
                done.append(index)
                queue.pop(0)
                full &= ~(1 << index)
                cycles["seen_free"].append(cycle + 1)

    simulate(dut, feed, background=(memory, writes, banks), max_cycles=30_000)
    return cycles


@CONFIGS
@pytest.mark.parametrize("slow", [0, 0.95], ids=["flowing", "backed-up"])
@pytest.mark.parametrize("extreme", [None, "low", "high"])
def test_tables_and_sums(config, slow, extreme):
    rng = random.Random(11)
    acts = activations(config, rng, 16, extreme)
    jobs = [(rng.randrange(16), tiles) for tiles in (1, 3, 2, 1)]
    words = [(address + tile * config.table_steps) for address, tiles in jobs
             for tile in range(tiles)]
    checked = []

    def check(tile, index, tables, sums):
        assert index == tile % config.banks, "banks alternate"
        for row in range(config.rows):
            lanes = [acts[(words[tile] + step) % len(acts)][row][4 * i:4 * i + 4]
                     for step in range(config.table_steps) for i in range(config.builders)]
            assert tables[row][index] == expected_tables(config, lanes)
            used = 3 if config.tl2 else 4
            if not config.decodes:
                assert sums[row] == sum(sum(lane[:used]) for lane in lanes)
        checked.append(tile)

    run(config, jobs, acts, rng, slow, check)
    assert checked == list(range(7))


@CONFIGS
def test_stated_latency(config):
    """A K-tile takes ``fill_entries`` cycles a step; the last entry's write follows by the fill
    latency. Of two banks the second follows at once, one is filled again once it is free."""
    rng = random.Random(1)
    cycles = run(config, [(0, 2)], activations(config, rng, 16), rng)
    length = config.fill_entries * config.table_steps
    assert len(cycles["write"]) == 2 * length
    assert cycles["write"][length - 1] - cycles["set"][0] == FILL_LATENCY
    if config.banks == 2:
        assert cycles["set"][1] - cycles["set"][0] == length
    else:
        assert cycles["set"][1] - cycles["seen_free"][0] == length


@pytest.mark.parametrize("names", [("w",), ("a",), ("out",), ("w", "a", "out")])
def test_waits_for_the_tokens_the_instruction_names(names):
    dut = TableFiller(PLAIN)

    async def bench(ctx):
        ctx.set(dut.job_ready, 1)
        ctx.set(dut.instr.tiles, 1)
        for name in names:
            ctx.set(dut.instr[f"wait_{name}"], 1)
        ctx.set(dut.instr_valid, 1)
        for name in names:  # one wait is counted at a time, in the order w, a, out
            for _ in range(10):
                await ctx.tick()
                assert not ctx.get(dut.instr_take) and not ctx.get(dut.job_valid)
                assert not ctx.get(dut.idle)
                waits = [other for other in ("w", "a", "out")
                         if ctx.get(getattr(dut, f"wait_{other}"))]
                assert waits == [name]
            ctx.set(getattr(dut, f"ready_{name}"), 1)
        await ctx.delay(0)
        assert ctx.get(dut.instr_take) and ctx.get(dut.job_valid)
        assert not ctx.get(dut.wait_w | dut.wait_a | dut.wait_out)

    simulate(dut, bench)


def test_waits_for_room_in_the_job_queue():
    dut = TableFiller(PLAIN)

    async def bench(ctx):
        ctx.set(dut.instr.tiles, 1)
        ctx.set(dut.instr_valid, 1)
        for _ in range(10):
            await ctx.tick()
            assert not ctx.get(dut.instr_take) and not ctx.get(dut.job_valid)
        ctx.set(dut.job_ready, 1)
        await ctx.delay(0)
        assert ctx.get(dut.instr_take) and ctx.get(dut.job_valid)

    simulate(dut, bench)
