"""The cycle model by itself: known timing, repetition, programs that never end, its own cost."""

import random
import tracemalloc

import numpy as np
import pytest

from bitwright.hw.codegen.gemm_program import Regions, gemm_program, plan_gemm
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES, Queue, Target
from bitwright.hw.isa.program_tree import Instr, Loop, assemble
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.models.datatypes.catalog import DATATYPES, datatype
from bitwright.sim.cycle_model.execute_engine import Executor
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import CycleModel, run_cycles
from bitwright.sim.cycle_model.program_decoder import CycleModelError
from bitwright.sim.performance.gemm_estimate import estimate_gemm
from bitwright.sim.verification.gemm_fuzz import random_case
from bitwright.sim.verilator.simulator import run

TINY = PRESETS["tiny"]
BOARD = PRESETS["ulx3s-85f"]
HALT = Instr("halt")
NEAR = Memory(latency=8)
REGIONS = Regions(weights=1 << 20, scales=2 << 20, acts=3 << 20, outputs=4 << 20)


def load(**values):
    return Instr.make("load", **{"beats": 16, "dram": 1024, **values})


def execute(**values):
    return Instr.make("exec", **{"tiles": 1, "channels": 4, "slots0": 4, "group_tiles": 1,
                                 "first": 1, **values})


def store(**values):
    return Instr.make("store", **{"dram": 1 << 16, "rows": 2, "stride": 32, "beats": 8, **values})


def credit(queue, count=1):
    return Instr.make("credit", queue=queue, count=count)


def model_counters(program, memory=NEAR, machine=TINY):
    return run_cycles(machine, (*program, HALT), memory).counters


def rtl_counters(program, memory=NEAR, size=1 << 22):
    code = assemble((*program, HALT))
    image = np.zeros(size, dtype=np.uint8)
    image[:len(code)] = np.frombuffer(code, dtype=np.uint8)
    result = run(TINY, image, [(0, len(code) // INSTRUCTION_BYTES)], dump=(0, 4),
                 memory=memory, max_cycles=5_000_000)
    assert result.error is None
    return result.counters


# ---- timing worked out by hand --------------------------------------------------------------
# `tiny`, beats of 4 bytes, first beat 8 cycles after its address. The start pulse is cycle 0.
#
# What is put into a queue in cycle t is taken in t + 1 at the earliest; the first address is out
# two cycles later, others two cycles after the one before. A burst's beats follow the bus's last.
# What came is readable two cycles later. An instruction is read in a cycle and issued in the
# second after it, and one later for each of its addresses: `load` and `store` 2, `exec` 5.
#
# Fetch of n instructions, 8n beats: queued in 1, taken in 2, address in 4, beats 12…11+8n. The
# first is read in 13+8n, where `run` starts: 21, 29, 37 for 1, 2, 3. `halt` ends 3 cycles after it
# is read if nothing is under way.
#
# load, read in 29: issued in 33, taken in 34, address in 36, beats from 44.
#     16 beats come in 44…59 and are readable in 61, which ends the program; 1 beat ends in 46;
#     4 beats in 49. From 4 bytes before a page, one beat comes in 44, and the other burst, whose
#     address is out in 38, in 46…48: one cycle more.
# exec, read in 29: taken in 37, tables (16 cycles) filled in 39…54. The sequencer takes it in 38
#     and looks for tables from 39 on, in vain for 16 cycles. 4 channels of 4 planes are the slots
#     56…71; 14 cycles later the last result is in its buffer: 86 ends the program.
#     Tables of another K-tile fill the other bank in 55…70, so its slots follow in 72…87. A third
#     waits for the first bank, seen free 3 cycles after 71: it fills in 75…90. The sequencer waits
#     in 88…90, slots 92…107.
# exec and store, read in 37 and 45: all of exec 8 cycles later, its token seen in 94. The store
#     could be taken in 50: it waits 44 cycles. Its rows' addresses are out in 96 and 98, 16 beats
#     leave in 104…119, answered in 120, and 121 ends the program.
BY_HAND = {
    "nothing": ([], {"total": 24, "run": 4, "load_busy": 8}),
    "one load": ([load()], {"total": 61, "run": 33, "load_busy": 32}),
    "one beat": ([load(beats=1)], {"total": 46, "run": 18, "load_busy": 17}),
    "within a page": ([load(beats=4, dram=4080)], {"total": 49, "run": 21, "load_busy": 20}),
    "across pages": ([load(beats=4, dram=4092)], {"total": 50, "run": 22, "load_busy": 20}),
    "one tile": ([execute()], {"total": 86, "run": 58, "load_busy": 16, "execute_busy": 16,
                               "execute_wait_tables": 16}),
    "two tiles": ([execute(tiles=2)], {"total": 102, "run": 74, "load_busy": 16,
                                       "execute_busy": 32, "execute_wait_tables": 16}),
    "three tiles": ([execute(tiles=3)], {"total": 122, "run": 94, "load_busy": 16,
                                         "execute_busy": 48, "execute_wait_tables": 19}),
    "exec and store": ([execute(final=1, signal_out=1), store(wait=1)],
                       {"total": 121, "run": 85, "load_busy": 24, "execute_busy": 16,
                        "execute_wait_tables": 16, "store_busy": 16, "store_wait_out_ready": 44}),
}


@pytest.mark.parametrize("program, expected", BY_HAND.values(), ids=BY_HAND)
def test_timing_worked_out_by_hand(program, expected):
    found = model_counters(program)
    assert {name: value for name, value in found.items() if value} == expected
    assert rtl_counters(program) == found


@pytest.mark.parametrize("latency", [8, 9, 40, 1000])
@pytest.mark.parametrize("interval", [1, 2, 7])
def test_memory_latency_and_interval(latency, interval):
    memory = Memory(latency=latency, interval=interval)
    # Two bursts of 16 beats, as above, with their last beats 15 intervals after the first.
    assert model_counters([load()], memory)["total"] == 15 + 2 * latency + 30 * interval
    # A second burst's latency hides behind the first's beats, as far as they reach.
    waits = max(18 + latency, 16 + latency + 16 * interval) - 16 - latency
    after = model_counters([load(beats=32, dram=4096 - 64)], memory)
    assert after["total"] == 15 + 2 * latency + 30 * interval + waits


@pytest.mark.parametrize("latency, interval", [(7, 1), (10_001, 1), (8, 0), (8, 65)])
def test_memories_that_are_not_modelled(latency, interval):
    with pytest.raises(ValueError, match=f"not {latency} and {interval}"):
        Memory(latency=latency, interval=interval)


def test_addresses_come_from_registers():
    step = Instr.make("add", reg=5, value=3068)
    assert model_counters([step, load(beats=4, dram_reg=5)])["total"] == 50 + 8 + 3
    at_zero = [Instr.make("add", reg=0, value=3068), load(beats=4)]
    assert model_counters(at_zero) == rtl_counters(at_zero)
    assert model_counters(at_zero)["total"] == 49 + 8 + 3


def test_a_store_comes_between_the_bursts_of_a_load():
    # The loads fill their queue: the store is dispatched when the second has just begun. Of its 8
    # bursts it lets those ahead that may be in flight.
    program = [*[load(beats=2048)] * 10, store(signal=1), execute(wait_out=1)]
    found = model_counters(program)
    assert found == rtl_counters(program)
    ahead = TINY.outstanding * TINY.burst_beats
    assert ahead < found["execute_wait_out_free"] < ahead + TINY.burst_beats


# ---- random programs ------------------------------------------------------------------------
def random_program(seed, counts, steps=(4, 64, 252, 512, 1024)):
    """Loads, exec and store in step, any number of times, in loops of ``counts`` iterations;
    ``steps`` are those of address registers."""
    rng = random.Random(seed)

    def group():
        loads = [load(target=Target.ACTS, wait=1, signal=1, beats=rng.randint(1, 40), dram_reg=1),
                 load(target=Target.WEIGHTS, wait=1, signal=1, beats=rng.randint(1, 300),
                      dram=rng.randrange(0, 8192, 4), dram_reg=2)]
        rng.shuffle(loads)
        nodes = [*loads, execute(
            tiles=rng.choice([1, 2, 3, 9]), channels=rng.randint(4, 12), final=1,
            slots0=rng.randint(1, 4), slots1=rng.choice([0, 0, 4]), offset=rng.randint(0, 1),
            row_mode=rng.randint(0, 1), wait_w=1, wait_a=1, wait_out=1, free_w=1, free_a=1,
            signal_out=1), store(wait=1, signal=1, rows=rng.randint(1, 3),
                                 stride=rng.choice([32, 512, 1000]), beats=rng.randint(1, 24),
                                 dram_reg=3)]
        for _ in range(rng.randint(0, 6)):
            nodes.insert(rng.randint(0, len(nodes)), Instr.make(
                "add", reg=rng.randint(1, 9), value=rng.choice(steps)))
        return nodes

    def body(depth):
        nodes = []
        for _ in range(rng.randint(1, 2)):
            nodes += group()
            if depth < len(counts):
                nodes.append(Loop(rng.choice(counts[depth]), tuple(body(depth + 1))))
        return nodes

    free = [credit(queue, rng.randint(1, 3))
            for queue in (Queue.W_FREE, Queue.A_FREE, Queue.OUT_FREE)]
    return [*free, *body(0)]


def random_memory(seed):
    rng = random.Random(seed)
    return Memory(latency=rng.choice([8, 33, 200]), interval=rng.choice([1, 1, 2, 5]))


@pytest.mark.parametrize("seed", range(20))
def test_random_programs_on_rtl(seed):
    program = random_program(seed, ([1, 2, 5], [3, 8]))
    memory = random_memory(seed)
    assert model_counters(program, memory) == rtl_counters(program, memory)


@pytest.fixture
def both_ways(monkeypatch):
    """Counters with and without leaving out repetition, and how many ``exec`` each ran."""
    acts = 0
    act = Executor.act

    def counted(self, limit):
        nonlocal acts
        acts += 1
        act(self, limit)

    def run_both(machine, nodes, memory):
        nonlocal acts
        found = []
        for skip in (True, False):
            acts = 0
            with monkeypatch.context() as patch:
                patch.setattr(Executor, "act", counted)
                if not skip:
                    patch.setattr(CycleModel, "skip", lambda self, seen, done, count: done)
                found += [run_cycles(machine, nodes, memory).counters, acts]
        return found
    return run_both


@pytest.mark.parametrize("shape", [([300],), ([33, 100, 257],), ([2, 40], [3, 50]),
                                   ([1, 5], [40, 64]), ([9], [2, 5], [4, 33])],
                         ids=["long", "odd", "outer and inner", "inner", "three deep"])
def test_repetition_left_out_changes_no_counter(both_ways, shape):
    total = every = 0
    for seed in range(16):
        program = (*random_program(seed, shape, (512, 1024, 4096)), HALT)
        skipped, acts, full, all_acts = both_ways(TINY, program, random_memory(seed))
        assert skipped == full, f"seed {seed}"
        total, every = total + acts, every + all_acts
    assert total < every / 2


def test_repetition_left_out_of_gemms(both_ways):
    for seed in range(60):
        case = random_case(seed)
        spec = shape_spec(case.machine, case.m, case.k, case.n, datatype(case.datatype),
                          case.group_size, case.asymmetric)
        nodes = gemm_program(plan_gemm(case.machine, spec), REGIONS)
        skipped, _, full, _ = both_ways(case.machine, nodes, case.memory)
        assert skipped == full, f"seed {seed}"


@pytest.mark.parametrize("shape", [(1024, 1024, 1024), (96, 4096, 1024), (1, 8192, 4096)])
@pytest.mark.parametrize("bits", [16, 128])
def test_repetition_left_out_of_large_gemms(both_ways, shape, bits):
    machine = BOARD.replace(memory_bits=bits)
    plan = plan_gemm(machine, shape_spec(machine, *shape, DATATYPES["int4"], 64, False))
    skipped, acts, full, all_acts = both_ways(machine, gemm_program(plan, REGIONS), Memory())
    assert skipped == full
    assert acts < all_acts


def adds(count, value=0):
    return [Instr.make("add", reg=1, value=value)] * count


@pytest.mark.parametrize("body, memory", [
    # A burst boundary moves through the transfer, and costs a cycle where it cuts off one beat.
    ([load(dram_reg=1, signal=1), execute(wait_w=1), *adds(50), *adds(1, 4)], NEAR),
    # 60 cycles, and 64 on the bus: its lead is used up only slowly.
    ([load(beats=1), *adds(18)], Memory(latency=8, interval=64)),
], ids=["boundaries", "bus"])
def test_repetition_is_not_taken_too_early(both_ways, body, memory):
    program = [*adds(40), Loop(600, tuple(body))]   # the fetch has left the bus
    skipped, _, full, _ = both_ways(TINY, (*program, HALT), memory)
    assert skipped == full == rtl_counters(program, memory)


def test_a_loop_is_what_it_repeats():
    for seed in range(10):
        once = random_program(seed, ())
        # A loop takes 3 cycles for itself and 3 for each end, as an add takes them.
        pause = Instr.make("add", reg=15, value=4)
        credits, body = once[:3], once[3:]
        looped = model_counters([*credits, Loop(4, tuple(body))])
        spelled = model_counters([*credits, pause, *[*body, pause] * 4])
        fetched = (len(body) + 1) * 3 * INSTRUCTION_BYTES // TINY.beat_bytes
        assert spelled.pop("total") - looped.pop("total") == fetched
        assert spelled.pop("load_busy") - looped.pop("load_busy") == fetched
        assert spelled == looped


# ---- programs that never end ----------------------------------------------------------------
NEVER = {
    "exec without weights": ([execute(wait_w=1)], "exec waits for a token"),
    "exec without activations": ([load(target=Target.WEIGHTS, signal=1), execute(wait_a=1)],
                                 "exec waits for a token"),
    "exec without room": ([execute(final=1, wait_out=1)], "exec waits for a token"),
    "load without room": ([load(wait=1)], "load waits for a token"),
    "load with the other's token": ([credit(Queue.A_FREE), load(target=Target.SCALES, wait=1)],
                                    "load waits for a token"),
    "store without results": ([execute(final=1), store(wait=1)], "store waits for a token"),
    "a token too few": ([credit(Queue.W_FREE, 9), Loop(10, (load(wait=1),))],
                        "load waits for a token"),
    "a token too few, after long": ([Loop(99, (load(signal=1), Loop(3, (execute(wait_w=1),))))],
                                    "exec waits for a token, its queue is full"),
    "nine loads": ([load(wait=1)] * 9, "load waits for a token, its queue is full"),
    "nine stores": ([store(wait=1)] * 9, "store waits for a token, its queue is full"),
    "nine execs": ([execute(wait_a=1)] * 9, "exec waits for a token, its queue is full"),
}


@pytest.mark.parametrize("program, message", NEVER.values(), ids=NEVER)
def test_programs_that_never_end(program, message):
    with pytest.raises(CycleModelError) as error:
        model_counters(program)
    assert str(error.value) == f"the program never ends: {message}"


def test_a_queue_holds_eight():
    assert model_counters([*[load(wait=1)] * 8, credit(Queue.W_FREE, 8)])["load_busy"] == (
        8 * 16 + 10 * 8)


@pytest.mark.parametrize("program", [(), (load(),), (HALT, HALT), (Loop(2, (HALT,)), HALT)],
                         ids=["empty", "no halt", "two halts", "halt in a loop"])
def test_programs_that_the_model_does_not_follow(program):
    with pytest.raises(CycleModelError, match="halt"):
        run_cycles(TINY, program)


# ---- cost -----------------------------------------------------------------------------------
def test_memory_does_not_grow_with_tokens():
    def peak(tokens):
        spec = shape_spec(BOARD, tokens, 4096, 4096, DATATYPES["int4"], 64, False)
        tracemalloc.start()
        try:
            estimate_gemm(BOARD, spec, Memory())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2048)  # what is kept for good
    usual, larger = peak(2048), peak(8192)
    assert usual < 10e6
    assert abs(larger - usual) < usual / 4
