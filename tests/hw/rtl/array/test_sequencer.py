import random

import pytest

from bitwright.hw.isa.instruction_table import OPS
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.array.sequencer import Sequencer
from tests.hw.streams import simulate, wait_for

PLAIN = Machine(rows=2, cols=2)                                     # a channel drains in one slot
SLOW = Machine(rows=4, cols=8, memory_bits=16)                      # … in four
CODES = Machine(rows=4, cols=8, k_tile=8, memory_bits=16, pe="mac")  # codes, taken over at once
STEPS = Machine(rows=2, cols=4, k_tile=4, builders=1, pe="serial", dequant="serial")
PAIRS = STEPS.replace(scale_units=5)                                # two slots at least
TRIPLES = Machine(rows=2, cols=4, k_tile=24, table="tl2")           # one bank
CONFIGS = pytest.mark.parametrize("config", [PLAIN, SLOW, CODES, STEPS, PAIRS, TRIPLES], ids=[
    "plain", "slow-drain", "codes", "scale-steps", "scale-pairs", "one-bank"])
FIELDS = ("psum", "out", "rows", "last", "sigma", "first", "final", "bank")
SIDE = ("w_addr", "s_addr", "shift", "offset", "digit", "step", "part", "packing", "select")


def random_job(config, rng):
    more = [0, 0, 0]
    for index in range(rng.choice([0, 0, 1, 2, 3]) if not config.decodes else rng.randrange(2)):
        more[index] = rng.choice([1, 2, 4])
    job = {name: 0 for name in (field.name for field in OPS["exec"].fields)}
    return job | {
        "w_addr": rng.randrange(65536), "s_addr": rng.randrange(65536),
        "out": rng.randrange(config.out_depth), "psum": rng.randrange(config.psum_depth),
        "tiles": rng.choice([1, 1, 2, 5]), "channels": rng.choice([4, 4, 7]),
        "slots0": rng.randrange(1, 5), "sigma0": rng.randrange(2),
        **{f"slots{index}": slots for index, slots in enumerate(more, start=1)},
        **{f"shift{index}": rng.randrange(16) for index in range(4)},
        "packing0": rng.randrange(3), "packing1": rng.randrange(3), "select": rng.randrange(2),
        "again": rng.randrange(2) if more[0] and config.decodes else 0,
        "plane_scales": rng.randrange(2),
        "offset": rng.randrange(2),
        "group_tiles": rng.choice([1, 2, 3, 4095]), "row_mode": rng.randrange(2),
        "first": rng.randrange(2), "final": rng.randrange(2),
        **{name: rng.randrange(2) for name in ("free_w", "free_a", "signal_out")}}


def reference(config, job, bank):
    """Valid slots of a job in order, straight from the description of the stream; then, for
    every K-tile, the number of slots it takes."""
    slots, lengths = [], []
    words, groups = 0, -1
    subs = config.rows if job["row_mode"] else 1
    digits = [(job[f"slots{d}"], job[f"shift{d}"], d + 1) for d in range(4) if job[f"slots{d}"]]
    passes = [(1, 1, 0)] * job["offset"] + digits
    scales = len(digits) if job["plane_scales"] else 1
    per_channel = scales + job["offset"]
    for tile in range(job["tiles"]):
        groups += tile % job["group_tiles"] == 0
        length = 0
        for sub in range(subs):
            start = words
            for index, (planes, shift, digit) in enumerate(passes):
                offset, packing = digit == 0, job["packing1" if digit == 2 else "packing0"]
                final = (job["final"] and tile == job["tiles"] - 1 and index == len(passes) - 1)
                if digit == 2 and job["again"]:
                    words = start
                for channel in range(job["channels"]):
                    scale = ((groups * subs + sub) * job["channels"] + channel) * per_channel
                    scale += scales if offset else digit - 1 if job["plane_scales"] else 0
                    for plane in range(planes):
                        end = plane == planes - 1
                        word = (words + (channel >> packing) if config.decodes
                                else words + channel * planes + plane)
                        slots.append({
                            "w_addr": None if offset else (job["w_addr"] + word) % 65536,
                            "s_addr": (job["s_addr"] + scale) % 65536,
                            "shift": shift, "offset": int(offset), "digit": int(digit == 2),
                            "step": plane, "packing": packing,
                            "part": channel % (1 << packing)
                            if config.decodes and not offset else None,
                            "select": int(job["select"] and not offset),
                            "psum": (job["psum"] + channel) % config.psum_depth,
                            "out": (job["out"] + channel * config.drain_slots) % config.out_depth
                            if final else None,
                            "rows": 1 << sub if job["row_mode"] else (1 << config.rows) - 1,
                            "last": int(end), "sigma": int(digit == 1 and end and job["sigma0"]),
                            "first": int(job["first"] and tile == 0 and index == 0),
                            "final": int(final), "bank": bank})
                        slots[-1]["starts"] = sub == index == channel == plane == 0
                    took = max(planes, config.scale_steps, config.drain_slots if final else 0)
                    slots[-planes]["waited"] = took - planes
                    length += took
                if not offset:
                    words += (-(-job["channels"] >> packing) if config.decodes
                              else job["channels"] * planes)
        lengths.append(length)
        bank = (bank + 1) % config.banks
    return slots, lengths, bank


def run(config, jobs, rng, slow):
    """Feed the jobs; returns valid slots with their cycles, retirements, cycles of ``swap``."""
    dut, slots, retired, swaps = Sequencer(config), [], [], []

    async def feed(ctx):
        for job in jobs:
            while rng.random() < slow:
                await ctx.tick()
            for name, value in job.items():
                ctx.set(getattr(dut.job, name), value)
            ctx.set(dut.job_valid, 1)
            await wait_for(ctx, dut.job_ready)
            ctx.set(dut.job_valid, 0)
        while not ctx.get(dut.idle):
            await ctx.tick()
        await ctx.tick()
        await ctx.tick()

    async def tables(ctx):
        full, bank = 0, 0
        while True:
            if not full >> bank & 1 and rng.random() >= slow:
                full |= 1 << bank
                bank = (bank + 1) % config.banks
            ctx.set(dut.full, full)
            *_, clear = await ctx.tick().sample(dut.clear_full)
            assert not clear & ~full, "an empty bank is cleared"
            full &= ~clear

    async def watch(ctx):
        cycle = 0
        tokens = (dut.free_w, dut.free_a, dut.signal_out)
        side = [getattr(dut, name) for name in SIDE]
        async for _, _, valid, slot, retire, fw, fa, so, *rest in ctx.tick().sample(
                dut.slot.valid, dut.slot, dut.retire, *tokens, *side):
            cycle += 1
            if slot.swap:
                swaps.append(cycle)
            if valid:
                slots.append((cycle, {**dict(zip(SIDE, rest, strict=True)),
                                      **{name: slot[name] for name in FIELDS}}))
            if retire:
                retired.append((cycle, {"free_w": fw, "free_a": fa, "signal_out": so}))

    simulate(dut, feed, background=(tables, watch), max_cycles=60_000)
    return slots, retired, swaps


@CONFIGS
@pytest.mark.parametrize("slow", [0, 0.7], ids=["flowing", "starved"])
@pytest.mark.parametrize("seed", range(6))
def test_slots_follow_the_stream_order(config, slow, seed):
    rng = random.Random(seed)
    jobs = [random_job(config, rng) for _ in range(4)]
    slots, retired, swaps = run(config, jobs, rng, slow)
    bank, expected = 0, []
    for job in jobs:
        part, _, bank = reference(config, job, bank)
        expected += part
    assert len(slots) == len(expected)
    for (cycle, found), want in zip(slots, expected, strict=True):
        known = {name: value for name, value in want.items()
                 if value is not None and name not in ("starts", "waited")}
        assert {name: found[name] for name in known} == known, f"cycle {cycle}"
    # Activations are taken over with the first slot, or in the pause before it.
    pairs = zip(slots, expected, strict=True)
    assert swaps == [cycle - want["waited"] for (cycle, _), want in pairs if want["starts"]]
    assert [tokens for _, tokens in retired] == [
        {name: job[name] for name in ("free_w", "free_a", "signal_out")} for job in jobs]


@CONFIGS
@pytest.mark.parametrize("seed", range(4))
def test_k_tiles_follow_without_a_gap(config, seed):
    rng = random.Random(seed)
    jobs = [random_job(config, rng) for _ in range(2)]
    slots, retired, _ = run(config, jobs, rng, 0)
    at, bank = 0, 0
    ends = []
    for job, (end, _) in zip(jobs, retired, strict=True):
        part, lengths, bank = reference(config, job, bank)
        waits = len(lengths) - 1 if config.banks == 1 and not config.decodes else 0
        # A slot is seen one cycle after its cycle; tables with one bank are waited for.
        start = slots[at][0] - part[0]["waited"]
        assert end - start + 2 == sum(lengths) + waits
        ends.append((start, end))
        at += len(part)
    assert ends[1][0] - ends[0][1] - 2 == 2  # cycles between two instructions


def test_one_channel_group_of_one_plane():
    """The shortest instruction: four slots, one plane, one K-tile."""
    job = random_job(PLAIN, random.Random(0)) | {
        "tiles": 1, "channels": 4, "slots0": 1, "slots1": 0, "offset": 0, "row_mode": 0}
    slots, retired, _ = run(PLAIN, [job], random.Random(0), 0)
    assert [slot["last"] for _, slot in slots] == [1] * 4 and len(retired) == 1
