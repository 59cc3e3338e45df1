"""Register slices: nothing lost, nothing late, and no path through."""

import random

import pytest

from bitwright.fpga.soc.axi_register_slice import RegisterSlice, Skid
from tests.hw.streams import simulate


@pytest.mark.parametrize("offered, taken", [(1.0, 1.0), (0.5, 1.0), (1.0, 0.5), (0.6, 0.6)])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_stream_comes_out_as_it_went_in(offered, taken, seed):
    rng, dut, words = random.Random(seed), Skid(8), []
    print(f"seed {seed}")

    async def bench(ctx):
        came = []
        held, wait = None, 0    # the word offered; cycles in which one inside was not
        for cycle in range(600):
            if held is None and rng.random() < offered:
                held = rng.randrange(256)
            ctx.set(dut.w_en, held is not None)
            ctx.set(dut.w_data, rng.randrange(256) if held is None else held)
            before = ctx.get(dut.w_rdy), ctx.get(dut.r_rdy), ctx.get(dut.r_data)
            ready = rng.random() < taken
            ctx.set(dut.r_en, ready)
            # Nothing of this cycle's inputs shows in its outputs.
            assert before == (ctx.get(dut.w_rdy), ctx.get(dut.r_rdy), ctx.get(dut.r_data))
            if before[1] and ready:
                came.append(before[2])
            if held is not None and before[0]:
                words.append(held)
                held = None
            wait = wait + 1 if words[len(came):] and not before[1] else 0
            assert wait <= 1, f"a word waits in cycle {cycle}"
            await ctx.tick()
        assert came == words[:len(came)] and len(words) - len(came) <= 2
        if offered == taken == 1:
            assert len(came) >= 599

    simulate(dut, bench)


def test_a_bus_is_one_cycle_longer_each_way():
    rng, dut = random.Random(3), RegisterSlice(16)
    there = [name for name in dut._ports if name[0] in "aw" and not name.endswith("ready")]
    back = [name for name in dut._ports if name[0] in "rb" and not name.endswith("ready")]

    async def bench(ctx):
        for channel in ("ar", "aw", "w"):
            ctx.set(getattr(dut, f"m_axi_{channel}ready"), 1)
        before = None
        for _ in range(100):
            sides = {"s": there, "m": back}
            values = {}
            for side, names in sides.items():
                for name in names:
                    port = getattr(dut, f"{side}_axi_{name}")
                    values[name] = rng.randrange(1 << len(port))
                    ctx.set(port, values[name])
            for name, value in (before or {}).items():
                valid = next(channel for channel in ("ar", "aw", "w", "r", "b")
                             if name.startswith(channel)) + "valid"
                side = "m" if name in there else "s"
                if before[valid] or name == valid:
                    assert ctx.get(getattr(dut, f"{side}_axi_{name}")) == value, name
            for name in ("arready", "awready", "wready"):
                assert ctx.get(getattr(dut, f"s_axi_{name}")) == 1
            assert ctx.get(dut.m_axi_rready) and ctx.get(dut.m_axi_bready)
            before = values
            await ctx.tick()

    simulate(dut, bench)
