"""Queues against Amaranth's ``SyncFIFO`` cycle by cycle, and against a list of words."""

from collections import deque

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib.fifo import SyncFIFO
from amaranth.sim import Simulator

from bitwright.hw.rtl.primitives.fifo import Fifo, InstructionQueue, Queue

WIDTH, CYCLES = 9, 2000


def simulate(bench, *units):
    m = Module()
    m.submodules += units
    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("eager", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("kind", [Fifo, Queue])
def test_every_cycle_is_that_of_a_sync_fifo(kind, depth, eager):
    """Words are offered and taken at random; a word is looked at only where there is one."""
    rng = np.random.default_rng(seed=depth)
    unit, model = kind(width=WIDTH, depth=depth), SyncFIFO(width=WIDTH, depth=depth)
    moved = 0

    async def bench(ctx):
        nonlocal moved
        for cycle in range(CYCLES):
            w_en, r_en = rng.random() < eager, rng.random() < 1.1 - eager
            data = int(rng.integers(1 << WIDTH))
            for each in (unit, model):
                for port, value in ((each.w_en, w_en), (each.w_data, data), (each.r_en, r_en)):
                    ctx.set(port, value)
            here = [(ctx.get(each.w_rdy), ctx.get(each.r_rdy)) for each in (unit, model)]
            assert here[0] == here[1], f"cycle {cycle}"
            if here[0][1]:
                assert ctx.get(unit.r_data) == ctx.get(model.r_data), f"cycle {cycle}"
                moved += r_en
            await ctx.tick()

    simulate(bench, unit, model)
    assert moved > CYCLES / 20


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
def test_instructions_leave_in_order_two_cycles_apart(depth):
    rng = np.random.default_rng(seed=depth)
    unit = InstructionQueue(width=WIDTH, depth=depth)
    taken = 0

    async def bench(ctx):
        nonlocal taken
        inside, since = deque(), 9  # (word, cycle); cycles since one left
        for cycle in range(CYCLES):
            w_en, data = int(rng.random() < 0.5), int(rng.integers(1 << WIDTH))
            r_en = int(since > 2 and rng.random() < 0.7)
            for port, value in ((unit.w_en, w_en), (unit.w_data, data), (unit.r_en, r_en)):
                ctx.set(port, value)
            offered = bool(inside) and since > 1 and inside[0][1] < cycle
            assert ctx.get(unit.r_rdy) == offered, f"cycle {cycle}"
            assert ctx.get(unit.w_rdy) == (len(inside) < depth), f"cycle {cycle}"
            if w_en and len(inside) < depth:
                inside.append((data, cycle))
            since += 1
            if r_en and offered:
                assert ctx.get(unit.r_data) == inside.popleft()[0], f"cycle {cycle}"
                taken, since = taken + 1, 1
            await ctx.tick()

    simulate(bench, unit)
    assert taken > CYCLES / 10
