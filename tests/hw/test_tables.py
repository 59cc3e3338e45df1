import random

import pytest

from hw.config import Machine
from hw.tables import ENTRIES, FILL_LATENCY, TableFiller
from tests.hw.streams import simulate, wait_for

PLAIN = Machine(rows=2, cols=2)                                  # two steps of two tables
ONE = Machine(rows=1, cols=4, k_tile=4, builders=1, memory_bits=16)
WIDE = Machine(rows=4, cols=4, k_tile=32, builders=8)            # one step
CONFIGS = pytest.mark.parametrize("config", [PLAIN, ONE, WIDE], ids=["plain", "one", "wide"])


def activations(config, rng, words, extreme=None):
    """Activation words: [word][row][value], values in -128 … 127."""
    return [[[rng.randrange(-128, 128) if extreme is None else extreme
              for _ in range(config.builders * 4)] for _ in range(config.rows)]
            for _ in range(words)]


def packed(word):
    return sum((value & 255) << 8 * i for i, value in enumerate(v for row in word for v in row))


class Bank:
    """Tables of every row as the writes leave them: [row][bank][table][entry]."""
    def __init__(self, config):
        self.tables = [[[[None] * ENTRIES for _ in range(config.tables)] for _ in range(2)]
                       for _ in range(config.rows)]


def run(config, jobs, acts, rng, slow=0.0, check=lambda *args: None):
    """Fill the jobs' (a_addr, tiles) one after the other; banks are freed at random. ``check`` is
    called once a bank is readable, before it is freed."""
    dut, bank, cycles = TableFiller(config), Bank(config), {"set": [], "write": []}
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
            ctx.set(dut.read_data, packed(acts[address % len(acts)]))

    async def writes(ctx):
        cycle = 0
        async for *_, step, address, data, new in ctx.tick().sample(
                dut.w_step, dut.w_addr, dut.w_data, dut.set_full):
            cycle += 1
            if step:
                cycles["write"].append(cycle)
            for row in range(config.rows):
                for builder in range(config.builders):
                    for s in range(config.table_steps):
                        if step >> s & 1:
                            bank.tables[row][address >> 3][s * config.builders + builder][
                                address & 7] = data[row][builder]
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

    simulate(dut, feed, background=(memory, writes, banks), max_cycles=30_000)
    return cycles


@CONFIGS
@pytest.mark.parametrize("slow", [0, 0.95], ids=["flowing", "backed-up"])
@pytest.mark.parametrize("extreme", [None, -128, 127])
def test_tables_and_sums(config, slow, extreme):
    rng = random.Random(11)
    acts = activations(config, rng, 16, extreme)
    jobs = [(rng.randrange(16), tiles) for tiles in (1, 3, 2, 1)]
    words = [(address + tile * config.table_steps) for address, tiles in jobs
             for tile in range(tiles)]
    checked = []

    def check(tile, index, tables, sums):
        assert index == tile % 2, "banks alternate"
        for row in range(config.rows):
            values = [v for step in range(config.table_steps)
                      for v in acts[(words[tile] + step) % len(acts)][row]]
            assert sums[row] == sum(values)
            for table in range(config.tables):
                a0, a1, a2, a3 = values[4 * table:4 * table + 4]
                for x in range(ENTRIES):
                    expected = a3 + sum(a if x >> i & 1 else -a for i, a in enumerate((a0, a1, a2)))
                    assert tables[row][index][table][x] == expected
        checked.append(tile)

    run(config, jobs, acts, rng, slow, check)
    assert checked == list(range(7))


@CONFIGS
def test_stated_latency(config):
    """A K-tile takes 8 cycles a step; the last entry's write follows by the fill latency."""
    rng = random.Random(1)
    cycles = run(config, [(0, 2)], activations(config, rng, 16), rng)
    length = ENTRIES * config.table_steps
    assert len(cycles["write"]) == 2 * length
    assert cycles["set"][1] - cycles["set"][0] == length
    assert cycles["write"][length - 1] - cycles["set"][0] == FILL_LATENCY


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
