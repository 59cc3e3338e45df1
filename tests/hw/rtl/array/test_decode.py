import numpy as np
import pytest
from amaranth.sim import Simulator

from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.memory_format import (
    CODES,
    SELECTS,
    STEPS,
    TABLE_ROWS,
    entry_bits,
    row_index,
)
from bitwright.hw.rtl.array.weight_decoder import Decoder

SERIAL = Machine(rows=1, cols=2, k_tile=8, builders=2, pe="serial")
MAC = Machine(rows=1, cols=4, k_tile=4, builders=1, pe="mac", memory_bits=16)
WIDE = Machine(rows=1, cols=8, k_tile=16, builders=4, pe="mac", value_bits=9, memory_bits=128)
CONFIGS = pytest.mark.parametrize("config", [SERIAL, MAC, WIDE], ids=["serial", "mac", "wide"])


async def load(ctx, dut, config, table):
    """Write the rows beat by beat, as the load engine does."""
    bits = entry_bits(config)
    rows = [sum(int(entry) << bits * code for code, entry in enumerate(row)) for row in table]
    beats = CODES * bits // config.memory_bits
    ctx.set(dut.write_en, 1)
    for index in range(TABLE_ROWS * beats):
        ctx.set(dut.write_addr, index)
        part = rows[index // beats] >> index % beats * config.memory_bits
        ctx.set(dut.write_data, part % (1 << config.memory_bits))
        await ctx.tick()
    ctx.set(dut.write_en, 0)


def expected(config, table, codes, digit, step, select):
    """Slices of one word, from the table; ``codes`` [cols, k_tile]."""
    found = []
    for column, which in zip(codes, select, strict=True):
        entries = [int(table[row_index(digit, which, step)][code]) % (1 << config.lane_bits)
                   for code in column]
        if config.pe == "serial":
            signs = [entry >> 3 for entry in entries]
            entries = [entry & 7 | (signs[k] ^ (signs[k & (k - 1)] if k else 0)) << 3
                       for k, entry in enumerate(entries)]
        found.append(sum(entry << k * config.lane_bits for k, entry in enumerate(entries)))
    return found


@CONFIGS
@pytest.mark.parametrize("seed", range(3))
def test_every_code_is_looked_up_in_its_row(config, seed):
    rng = np.random.default_rng(seed)
    dut = Decoder(config)
    table = rng.integers(0, 1 << entry_bits(config), (TABLE_ROWS, CODES))

    async def bench(ctx):
        await load(ctx, dut, config, table)
        before = None
        for _ in range(200):
            packing = int(rng.integers(3))
            part, bits = int(rng.integers(1 << packing)), 4 >> packing
            codes = rng.integers(0, 1 << bits, (config.cols, config.k_tile))
            noise = rng.integers(0, 16, codes.shape) & ~((1 << bits) - 1 << part * bits)
            fields = (codes << part * bits | noise).reshape(-1)
            digit, step = int(rng.integers(2)), int(rng.integers(STEPS))
            select = rng.integers(0, SELECTS, config.cols)
            ctx.set(dut.word, sum(int(field) << 4 * at for at, field in enumerate(fields)))
            for port, value in (("part", part), ("packing", packing), ("digit", digit),
                                ("step", step)):
                ctx.set(getattr(dut, port), value)
            ctx.set(dut.select, select.tolist())
            if before is not None:
                assert [ctx.get(dut.slices[c]) for c in range(config.cols)] == before
            before = expected(config, table, codes, digit, step, select)
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
