import random

import pytest

from bitwright.hw.isa.dispatch_timing import dispatch_cycles
from bitwright.hw.isa.instruction_table import OPS
from bitwright.hw.isa.program_tree import Instr, Loop, assemble, flatten
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.dispatcher import ENGINES, Dispatcher
from bitwright.hw.rtl.core.load_engine import PROGRAM_TARGET
from tests.hw.streams import IDLE_BUSY, IDS, simulate, stable, wait_for

NARROW = Machine(program_depth=64)
WHOLE = Machine(rows=1, cols=16, k_tile=32, builders=8, memory_bits=256, program_depth=64)
HALT = Instr("halt")


def interpret(nodes, registers=None):
    """What reaches the engines, in order: (engine, values) and ("credit", values)."""
    registers = [0] * 16 if registers is None else registers
    for node in nodes:
        if isinstance(node, Loop):
            for _ in range(node.count):
                yield from interpret(node.body, registers)
        elif node.op == "add":
            if node["reg"]:
                registers[node["reg"]] = (registers[node["reg"]] + node["value"]) % 2**32
        elif node.op != "halt":
            values = {}
            for field in OPS[node.op].fields:
                base = registers[node[field.name + "_reg"]] if field.base else 0
                values[field.name] = (node[field.name] + base) % (1 << field.bits)
            yield node.op, values


def random_instr(rng):
    op = rng.choice(["add", "add", "credit", "load", "exec", "store"])
    values = {name: rng.randrange(1 << bits) for name, (_, bits) in OPS[op].layout.items()}
    values.update({"target": rng.randrange(3)} if op == "load" else {})
    values.update({"queue": rng.randrange(6)} if op == "credit" else {})
    return Instr.make(op, **values)


def random_nodes(rng, depth=0):
    nodes = []
    for _ in range(rng.randrange(1, 5)):
        if depth < 4 and rng.random() < 0.4:
            nodes.append(Loop(rng.randrange(1, 4), tuple(random_nodes(rng, depth + 1))))
        else:
            nodes.append(random_instr(rng))
    return nodes


async def fetch(ctx, dut, config, code, address=0x40):
    """Start, check the fetch, and write the program as the load engine does."""
    ctx.set(dut.address, address)
    ctx.set(dut.length, len(code) // 32)
    ctx.set(dut.start, 1)
    await ctx.tick()
    ctx.set(dut.start, 0)
    await ctx.delay(0)
    assert ctx.get(dut.load_valid) and not ctx.get(dut.running)
    load, beat = dut.load, config.beat_bytes
    assert ctx.get(load.dram) == address and ctx.get(load.target) == PROGRAM_TARGET
    assert ctx.get(load.beats) == len(code) // beat
    assert not ctx.get(load.wait | load.signal | load.broadcast | load.sram)
    ctx.set(dut.load_ready, 1)
    await ctx.tick()
    ctx.set(dut.load_ready, 0)
    ctx.set(dut.write_en, 1)
    for index in range(len(code) // beat):
        ctx.set(dut.write_addr, index)
        ctx.set(dut.write_data, int.from_bytes(code[index * beat:(index + 1) * beat], "little"))
        await ctx.tick()
    ctx.set(dut.write_en, 0)
    ctx.set(dut.program_done, 1)
    await ctx.tick()
    ctx.set(dut.program_done, 0)


def watcher(dut, seen):
    """Everything taken by an engine or a token queue, with its cycle."""
    async def bench(ctx):
        cycle = 0
        signals = [getattr(dut, f"{name}_{way}") for name in ENGINES for way in ("valid", "ready")]
        payloads = [getattr(dut, name) for name in ENGINES]
        async for *_, running, credit, queue, count, lv, lr, ev, er, sv, sr, ld, ex, st in (
                ctx.tick().sample(dut.running, dut.credit_valid, dut.credit_queue,
                                  dut.credit_count, *signals, *payloads)):
            cycle += 1
            if not running:
                continue
            if credit:
                seen.append((cycle, "credit", {"queue": queue, "count": count}))
            for name, taken, value in (("load", lv and lr, ld), ("exec", ev and er, ex),
                                       ("store", sv and sr, st)):
                if taken:
                    seen.append((cycle, name, {f.name: value[f.name] for f in OPS[name].fields}))
    return bench


@pytest.mark.parametrize("config", [NARROW, WHOLE], ids=["narrow", "whole"])
@pytest.mark.parametrize("_idle, busy", IDLE_BUSY, ids=IDS)
@pytest.mark.parametrize("seed", range(3))
def test_programs_reach_the_engines_in_order(config, _idle, busy, seed):
    rng, dut, seen = random.Random(seed), Dispatcher(config), []
    while True:
        program = [*random_nodes(rng), HALT]
        expected = list(interpret(program))
        if len(list(flatten(program))) <= config.program_depth and 3 <= len(expected) < 200:
            break

    async def bench(ctx):
        await fetch(ctx, dut, config, assemble(program))
        ready = [getattr(dut, f"{name}_ready") for name in ENGINES]
        for _ in range(20_000):
            for signal in ready:
                ctx.set(signal, int(rng.random() >= busy))
            *_, running = await ctx.tick().sample(dut.running)
            if len(seen) == len(expected):
                break
        for _ in range(20):  # engines are busy: not done
            *_, done, running = await ctx.tick().sample(dut.done, dut.running)
            assert running and not done
        ctx.set(dut.engines_idle, 1)
        await wait_for(ctx, dut.done)
        await ctx.tick()
        assert not ctx.get(dut.running) and not ctx.get(dut.done)

    simulate(dut, bench, background=(watcher(dut, seen), *(
        stable(getattr(dut, f"{name}_valid"), getattr(dut, f"{name}_ready"), getattr(dut, name))
        for name in ENGINES[1:])), max_cycles=60_000)
    assert [(name, values) for _, name, values in seen] == expected


def test_cycles_per_instruction():
    """Three, and one per address: ``store`` has two, ``load`` two, ``exec`` five."""
    dut, seen = Dispatcher(NARROW), []
    store, run, load = (Instr.make(name) for name in ("store", "exec", "load"))
    program = [store, Loop(2, (run, Instr.make("add", reg=1, value=4), store)), load, HALT]

    async def bench(ctx):
        for name in ("store", "exec"):
            ctx.set(getattr(dut, f"{name}_ready"), 1)
        ctx.set(dut.engines_idle, 1)
        await fetch(ctx, dut, NARROW, assemble(program))
        ctx.set(dut.load_ready, 1)
        await wait_for(ctx, dut.done)

    simulate(dut, bench, background=(watcher(dut, seen),))
    steps = [b[0] - a[0] for a, b in zip(seen, seen[1:], strict=False)]
    # loop, exec; add, store; end and back, exec; add, store; end and on, load
    assert steps == [3 + 8, 3 + 5, 3 + 8, 3 + 5, 3 + 5]
    assert [dispatch_cycles(name) for name in ("add", "load", "exec", "store")] == [3, 5, 8, 5]


@pytest.mark.parametrize("code", [bytes([opcode]).ljust(32, b"\0") for opcode in range(8, 16)]
                         + [Instr.make("load", target=3, beats=1).encode()])
def test_an_unknown_instruction_stops_it(code):
    dut, seen, pulses = Dispatcher(NARROW), [], []

    async def bench(ctx):
        for name in ENGINES:
            ctx.set(getattr(dut, f"{name}_ready"), int(name != "load"))
        await fetch(ctx, dut, NARROW, code + Instr.make("store", rows=1).encode() + HALT.encode())
        ctx.set(dut.load_ready, 1)
        for _ in range(60):
            *_, unknown, done = await ctx.tick().sample(dut.unknown, dut.done)
            pulses.append(unknown)
            assert not done

    simulate(dut, bench, background=(watcher(dut, seen),))
    assert sum(pulses) == 1 and seen == []


def test_stop_holds_everything_back():
    dut, seen = Dispatcher(NARROW), []

    async def bench(ctx):
        await fetch(ctx, dut, NARROW, Instr.make("exec", tiles=1).encode() + HALT.encode())
        await wait_for(ctx, dut.exec_valid)
        ctx.set(dut.stop, 1)
        ctx.set(dut.exec_ready, 1)
        for _ in range(30):
            await ctx.tick()
            assert not ctx.get(dut.exec_valid)

    simulate(dut, bench, background=(watcher(dut, seen),))
    assert seen == []


def test_registers_and_loops_start_afresh():
    """A second run sees no register, no loop of the first."""
    dut, seen = Dispatcher(NARROW), []
    program = [Instr.make("store", dram_reg=5), Instr.make("add", reg=5, value=7),
               Loop(2, (Instr.make("store", dram_reg=5),)), HALT]

    async def bench(ctx):
        ctx.set(dut.store_ready, 1)
        ctx.set(dut.engines_idle, 1)
        for _ in range(2):
            await fetch(ctx, dut, NARROW, assemble(program))
            await wait_for(ctx, dut.done)
            await ctx.tick()

    simulate(dut, bench, background=(watcher(dut, seen),))
    assert [values["dram"] for _, _, values in seen] == [0, 7, 7] * 2
