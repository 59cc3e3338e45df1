"""Every cycle of a run has one cause, worked out by hand and held against the counters."""

import pytest

from bitwright.hw.codegen.gemm_program import gemm_program, plan_gemm
from bitwright.hw.isa.instruction_table import Queue, Target
from bitwright.hw.isa.program_tree import Instr, Loop
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.models.datatypes.catalog import DATATYPES, datatype
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import CycleModel, run_cycles
from bitwright.sim.cycle_model.recorder import CAUSES
from bitwright.sim.verification.gemm_fuzz import random_case
from tests.sim.cycle_model.test_cycles import BOARD, REGIONS, TINY, execute, load, store


def causes(program, machine=TINY, memory=Memory(latency=8)):
    result = run_cycles(machine, (*program, Instr("halt")), memory)
    assert [*result.causes] == [*CAUSES]
    assert sum(result.causes.values()) == result.counters["run"]
    assert result.causes["compute"] == result.counters["execute_busy"]
    return {cause: count for cause, count in result.causes.items() if count}


# The first four follow the timing worked out in test_cycles.py. An exec read in 29 is taken in 37
# (8 cycles of dispatch), its tables are full from 55 on (18), slots begin in 56 (1 to take them
# over) and end in 71 (16), and 86 ends the program (15). Further tables are waited for in 88…90,
# and taken over in 91.
# With weights: the load is read in 37, issued in 41, taken in 42, its address is out in 44, its 16
# beats come in 52…67, and the exec sees its token in 69. It was there in 50: 13 cycles of dispatch,
# 19 of waiting.
BY_HAND = {
    "nothing": ([], {"instructions": 3, "finish": 1}),
    "one tile": ([execute()], {"instructions": 8, "tables": 18, "handover": 1, "compute": 16,
                               "finish": 15}),
    "three tiles": ([execute(tiles=3)], {"instructions": 8, "tables": 21, "handover": 2,
                                         "compute": 48, "finish": 15}),
    "exec and store": ([execute(final=1, signal_out=1), store(wait=1)], {
        "instructions": 8, "tables": 18, "handover": 1, "compute": 16, "finish": 121 - 79}),
    "weights": ([load(target=Target.WEIGHTS, signal=1), execute(wait_w=1)], {
        "instructions": 13, "weights": 19, "tables": 18, "handover": 1, "compute": 16,
        "finish": 15}),
    "activations": ([load(target=Target.ACTS, signal=1), execute(wait_a=1)], {
        "instructions": 13, "activations": 19, "tables": 18, "handover": 1, "compute": 16,
        "finish": 15}),
}


@pytest.mark.parametrize("program, expected", BY_HAND.values(), ids=BY_HAND)
def test_causes_worked_out_by_hand(program, expected):
    assert causes(program) == expected


def test_slots_longer_than_slices():
    # Four channels of two slices: eight columns leave two by two, so the last pass has four slots.
    found = causes([execute(slots0=2, final=1, tiles=2)], BOARD)
    assert (found["compute"], found["drain"]) == (2 * 4 * 2, 4 * 2)
    assert "scales" not in found
    # Nine digits of a scale in one unit: a channel of four slices takes nine slots.
    found = causes([execute(tiles=2)], TINY.replace(dequant="serial"))
    assert (found["compute"], found["scales"]) == (2 * 4 * 4, 2 * 4 * 5)
    assert "drain" not in found


def test_a_full_store_queue_holds_the_dispatcher_up():
    def held_up(instr, cause):
        """Cycles until the last is issued."""
        found = causes([execute(), *[instr] * 20, execute()], memory=Memory(latency=8, interval=8))
        assert not {"stores", "loads"} - {cause} & found.keys()
        # The array is at work first; each exec is dispatched in 8 cycles.
        return 8 + 18 + 1 + 16 + found[cause] + found["instructions"] - 2 * 8

    # The last of 20 is issued when 12 have left the queue of 8: then the address of the 11th's last
    # burst is out. Four are in flight, so all but four of these have ended. A store has two bursts
    # of 64 cycles, a load one of 128.
    assert 18 * 64 < held_up(store(), "stores") < 19 * 64
    assert 7 * 128 < held_up(load(), "loads") < 8 * 128


def test_a_full_output_buffer():
    program = [Instr.make("credit", queue=Queue.OUT_FREE, count=1),
               *[execute(final=1, wait_out=1, signal_out=1), store(wait=1, signal=1)] * 3]
    slow = Memory(latency=8, interval=8)
    # Each of the two that wait does so from its fetch, long before the slots of the one before
    # end, until 128 cycles of storing are over.
    found = causes(program, memory=slow)
    assert 2 * 128 < found["outputs"] < 2 * 190


def without_skipping(monkeypatch, machine, nodes, memory):
    with monkeypatch.context() as patch:
        patch.setattr(CycleModel, "skip", lambda self, seen, done, count: done)
        return run_cycles(machine, nodes, memory)


def test_waits_that_differ_before_states_that_do_not(monkeypatch):
    # The first turn's exec ends later, as it comes behind others; all have ended when it is over.
    idle = [Instr.make("add", reg=1, value=0)] * 120
    nodes = (*[execute(tiles=2)] * 8, Loop(600, (execute(), *idle)), Instr("halt"))
    found = run_cycles(TINY, nodes, Memory())
    assert found == without_skipping(monkeypatch, TINY, nodes, Memory())
    assert sum(found.causes.values()) == found.counters["run"]
    assert found.causes["instructions"] > 600 * 3 * 120 * 0.8


def test_causes_of_gemms(monkeypatch):
    for seed in range(120):
        case = random_case(seed)
        spec = shape_spec(case.machine, case.m, case.k, case.n, datatype(case.datatype),
                          case.group_size, case.asymmetric)
        nodes = gemm_program(plan_gemm(case.machine, spec), REGIONS)
        found = run_cycles(case.machine, nodes, case.memory)
        assert found == without_skipping(monkeypatch, case.machine, nodes, case.memory), seed
        counters = found.counters
        assert sum(found.causes.values()) == counters["run"], seed
        assert found.causes["compute"] == counters["execute_busy"], seed
        # An engine's waits count while the array is still busy, too.
        for cause, counter in (("weights", "wait_w_ready"), ("activations", "wait_a_ready"),
                               ("outputs", "wait_out_free")):
            assert found.causes[cause] <= counters[f"execute_{counter}"], seed


@pytest.mark.parametrize("shape, bits", [((1024, 1024, 1024), 16), ((1024, 1024, 1024), 128),
                                         ((1, 8192, 4096), 16)])
def test_causes_of_large_gemms(monkeypatch, shape, bits):
    machine = BOARD.replace(memory_bits=bits)
    plan = plan_gemm(machine, shape_spec(machine, *shape, DATATYPES["int4"], 64, False))
    nodes = gemm_program(plan, REGIONS)
    found = run_cycles(machine, nodes, Memory())
    assert found == without_skipping(monkeypatch, machine, nodes, Memory())
    assert sum(found.causes.values()) == found.counters["run"]
