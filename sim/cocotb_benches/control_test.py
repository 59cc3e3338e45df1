"""Tests errors, resets and registers: the machine stops, says why, and runs again after a reset."""

import cocotb
from cocotb.triggers import ClockCycles

from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES, OPS, Target
from bitwright.hw.isa.program_tree import Instr
from bitwright.hw.machine.control_interface import (
    COUNTER_NAMES,
    MAGIC,
    VERSION,
    Control,
    Registers,
    Status,
)
from bitwright.hw.rtl.core.load_engine import PROGRAM_TARGET
from bitwright.sim.cocotb_benches.testbench import Bench, Gemm, random_gemm

UNKNOWN, READ, WRITE, LENGTH = 1, 2, 3, 4  # error codes, by Status.codes


async def begin(dut, name: str) -> tuple[Bench, Gemm]:
    """A bench out of reset, with pauses, and a GEMM in its memory."""
    bench = Bench(dut, name)
    await bench.reset_pin()
    bench.stall()
    gemm = random_gemm(bench.machine, bench.rng)
    bench.place(gemm)
    return bench, gemm


async def recover(bench: Bench, code: int) -> None:
    """Stopped with ``code``; after a reset a new GEMM comes out right."""
    await bench.stopped(code)
    await bench.reset()
    bench.fault(None)
    await bench.run(random_gemm(bench.machine, bench.rng))


def instructions(gemm: Gemm) -> int:
    return len(gemm.where.code) // INSTRUCTION_BYTES


@cocotb.test()
@cocotb.parametrize(opcode=[8, 15])
async def unknown_opcode(dut, opcode: int) -> None:
    """An opcode that does not exist, anywhere in a program."""
    bench, gemm = await begin(dut, f"unknown_opcode {opcode}")
    for at in (0, int(bench.rng.integers(1, instructions(gemm))), instructions(gemm) - 1):
        bench.place(gemm)
        bench.ram.write(at * INSTRUCTION_BYTES, bytes([opcode]))
        await bench.start(instructions(gemm))
        await recover(bench, UNKNOWN)


@cocotb.test()
async def unknown_target(dut) -> None:
    """A load into a buffer that does not exist: the program's own is out of reach."""
    bench, gemm = await begin(dut, "unknown_target")
    for target in (PROGRAM_TARGET, 7, *(() if bench.machine.decodes else (Target.TABLE,))):
        code = INSTRUCTION_BYTES * b"\0"  # halt
        bad = Instr.make("load", beats=4).encode()
        at, _ = OPS["load"].layout["target"]
        word = int.from_bytes(bad, "little") | target << at
        bench.ram.write(0, word.to_bytes(INSTRUCTION_BYTES, "little") + code)
        await bench.start(2)
        await recover(bench, UNKNOWN)


@cocotb.test()
async def program_length(dut) -> None:
    """No instruction, or one more than the buffer holds; the full buffer runs."""
    bench, gemm = await begin(dut, "program_length")
    depth = bench.machine.program_depth
    for length in (0, depth + 1, 1 << 16, 0xFFFFFFFF):
        await bench.start(length)
        await bench.stopped(LENGTH)
        await bench.start(instructions(gemm))  # too late: an error stays until a reset
        await bench.stopped(LENGTH)
        await bench.reset()
    filler = Instr.make("add", reg=1, value=0).encode()  # the program uses every register
    bench.place(gemm)
    code = filler * (depth - instructions(gemm)) + gemm.where.code
    bench.ram.write(0, code)
    await bench.start(depth)
    assert await bench.finish() == Status.DONE
    bench.compare(gemm)


@cocotb.test()
@cocotb.parametrize(region=["code", "weights", "scales", "acts", "outputs"])
async def bus_error(dut, region: str) -> None:
    """SLVERR at the first, the last and a random beat of a region."""
    bench, _ = await begin(dut, f"bus_error {region}")
    for pick in (0.0, 1.0, float(bench.rng.random())):
        bench.stall()
        gemm = random_gemm(bench.machine, bench.rng)
        plan, regions = gemm.where.plan, gemm.where.regions
        size = {"code": len(gemm.where.code), "weights": plan.stored_bytes,
                "scales": plan.scale_bytes, "acts": plan.act_bytes, "outputs": plan.out_bytes}
        base = 0 if region == "code" else getattr(regions, region)
        bench.place(gemm)
        bench.fault(base + int(pick * (size[region] - 1)), write=region == "outputs")
        await bench.start(instructions(gemm))
        await recover(bench, WRITE if region == "outputs" else READ)


@cocotb.test()
async def reset_midway(dut) -> None:
    """A reset at any time, bursts in flight and elements at work included; the next run is
    right."""
    bench, _ = await begin(dut, "reset_midway")
    busy = Registers.COUNTERS + 4 * COUNTER_NAMES.index("execute_busy")
    for index in range(10):
        bench.stall()
        gemm = random_gemm(bench.machine, bench.rng)
        bench.place(gemm)
        await bench.start(instructions(gemm))
        if index % 2:
            await ClockCycles(dut.clk, int(bench.rng.integers(1, 1000)))
        else:  # while slices stream: no pause may come between the counter and the reset
            bench.flow()
            while await bench.get(busy) < 10 and await bench.get(Registers.STATUS) & Status.BUSY:
                pass
        await bench.reset()
        assert not bench.watch.reads and not bench.watch.writes
        await bench.run(random_gemm(bench.machine, bench.rng, most=16))


@cocotb.test()
async def reset_pin_midway(dut) -> None:
    """The reset pin stops everything at once; the next run is right."""
    bench, gemm = await begin(dut, "reset_pin_midway")
    for _ in range(3):
        await bench.start(instructions(gemm))
        await ClockCycles(dut.clk, int(bench.rng.integers(1, 800)))
        await bench.reset_pin()
        assert await bench.get(Registers.STATUS) == 0
    await bench.run(gemm)


@cocotb.test()
async def reset_wins(dut) -> None:
    """A reset beside a start, on an idle machine, leaves it idle; so does a second one."""
    bench, gemm = await begin(dut, "reset_wins")
    for _ in range(2):
        await bench.put(Registers.CONTROL, Control.START | Control.RESET)
        await ClockCycles(dut.clk, 50)
        assert await bench.get(Registers.STATUS) == 0
    assert bench.watch.bursts == 0
    await bench.run(gemm)


@cocotb.test()
async def start_while_busy(dut) -> None:
    """It changes nothing: not the outputs, not a cycle, not the counters."""
    bench, _ = await begin(dut, "start_while_busy")
    bench.flow()
    for m in (1, 2 * bench.machine.rows):
        gemm = random_gemm(bench.machine, bench.rng, name="int8", m=m)
        await bench.run(gemm)
        alone = await bench.counters()
        bench.place(gemm)
        await bench.start(instructions(gemm))
        begun = bench.watch.cycles
        while bench.watch.cycles - begun < alone["total"] - 60:
            await bench.put(Registers.CONTROL, Control.START)
            await ClockCycles(dut.clk, int(bench.rng.integers(1, 50)))
        assert await bench.finish() == Status.DONE
        bench.compare(gemm)
        assert await bench.counters() == alone


@cocotb.test()
async def registers(dut) -> None:
    """What is there reads as stated; what is not reads 0, and writes to it change nothing."""
    bench, gemm = await begin(dut, "registers")
    known = {Registers.MAGIC: MAGIC, Registers.IDENTITY: bench.machine.identity(),
             Registers.VERSION: VERSION, Registers.STATUS: 0}
    for address in range(0, 256, 4):
        if address != Registers.CONTROL:
            await bench.put(address, 0xDEADBEEF)
    for address in range(0, 256, 4):
        # A length that no program buffer can hold reads 0, which is refused at the start.
        expected = 0xDEADBEEF if address == Registers.PROGRAM else known.get(address, 0)
        assert await bench.get(address) == expected, f"register {address:#x}"
    await bench.put(Registers.LENGTH, 0xBEEF)
    assert await bench.get(Registers.LENGTH) == 0xBEEF
    await bench.run(gemm)


@cocotb.test()
async def counters(dut) -> None:
    """Busy counters count beats and slices; they stand still after the end."""
    bench, gemm = await begin(dut, "counters")
    reads, writes = bench.watch.read_beats, bench.watch.write_beats
    await bench.run(gemm)
    plan, found = gemm.where.plan, await bench.counters()
    assert found["load_busy"] == bench.watch.read_beats - reads
    assert found["store_busy"] == bench.watch.write_beats - writes == (
        plan.out_bytes // bench.machine.beat_bytes)
    slices = plan.subs * sum(plan.tiles) * (plan.spec.slots + plan.spec.offset)
    assert found["execute_busy"] == plan.m_tiles * plan.k_tiles * slices
    assert found["total"] > found["run"] > max(found["execute_busy"], found["store_busy"])
    await ClockCycles(dut.clk, 100)
    assert await bench.counters() == found
    assert len(found) == len(COUNTER_NAMES)


@cocotb.test()
async def program_elsewhere(dut) -> None:
    """A program that lies across a page, at an address that is a multiple of the beat only."""
    bench, gemm = await begin(dut, "program_elsewhere")
    beat = bench.machine.beat_bytes
    address = -(-gemm.where.size // 4096) * 4096 + 4096 - 3 * beat
    bench.ram.write(address, gemm.where.code)
    await bench.start(instructions(gemm), address)
    assert await bench.finish() == Status.DONE
    bench.compare(gemm)


@cocotb.test()
async def registers_and_loops(dut) -> None:
    """Address registers step through nested loops; register 0 stays zero."""
    bench, _ = await begin(dut, "registers_and_loops")
    beat, out = bench.machine.beat_bytes, 0x8000
    words = bench.machine.drain_slots * 4
    width = min(words * bench.machine.out_word_bits // 8, 64)
    store = Instr.make("store", dram=out, dram_reg=3, rows=1, beats=width // beat)
    program = [
        Instr.make("add", reg=0, value=0x7FFF),
        Instr.make("loop", count=3), Instr.make("loop", count=1), Instr.make("loop", count=2),
        Instr.make("loop", count=2), store, Instr.make("add", reg=3, value=width),
        Instr("end"), Instr("end"), Instr.make("add", reg=3, value=256 - 4 * width), Instr("end"),
        Instr("end"), Instr.make("store", dram=out + 0x400, rows=1, beats=width // beat),
        Instr("halt")]
    code = b"".join(instr.encode() for instr in program)
    bench.ram.write(0, code)
    bench.ram.write(out, b"\x3c" * 0x800)
    before = bench.watch.write_beats
    await bench.start(len(program))
    assert await bench.finish() == Status.DONE
    assert bench.watch.write_beats - before == (3 * 4 + 1) * width // beat
    written = {out + 256 * i + j for i in range(3) for j in range(4 * width)}
    written |= set(range(out + 0x400, out + 0x400 + width))
    found = bench.ram.read(out, 0x800)
    for at, value in enumerate(found):
        if out + at not in written:
            assert value == 0x3C, f"{out + at:#x} was written"
