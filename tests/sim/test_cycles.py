"""The cycle model by itself: known timing, repetition, programs that never end, its own cost."""

import random
import tracemalloc

import numpy as np
import pytest

from hw.config import PRESETS, Machine
from hw.isa import INSTRUCTION_BYTES, Instr, Loop, Queue, Target, assemble, flatten
from hw.kernel import Regions, gemm_program, plan_gemm
from hw.pack import shape_spec
from hw.plan import PlanError
from models.formats import DATATYPES
from sim.cycles import CycleModel, CycleModelError, run_cycles
from sim.estimate import estimate_gemm
from sim.exec_cycles import Executor
from sim.memory import Memory
from sim.verilated import run

TINY = PRESETS["tiny"]
BOARD = PRESETS["ulx3s-85f"]
HALT = Instr("halt")
NEAR = Memory(latency=8)
REGIONS = Regions(weights=1 << 20, scales=2 << 20, acts=3 << 20, outputs=4 << 20)


# ---- timing worked out by hand ------------------------------------------------------------
# The start pulse is cycle 0. An instruction put into a queue in cycle t is taken in t + 1 at the
# earliest; a burst's address is out two cycles after that, or after the address before; its first
# beat comes `latency` cycles later, or when the bus is free. What came is readable 2 cycles later.
#
# Fetch of 2 instructions (16 beats): queued in 1, taken in 2, address in 4, beats 12…27, readable
# in 29, which is the first cycle of `run`. An instruction is issued in its third cycle: 31.
#
# load: taken in 32, address in 34, beats from 42.
#   16 beats: 42…57, in the buffer in 59. The machine is busy up to that cycle: total 59.
#   across 4096: two bursts, one of a beat in 42, and the next, whose address is out in 36, from 44.
# exec (tiny: 16 cycles to fill the tables of a K-tile): taken in 32, filled in 34…49, the
#   sequencer takes it in 33 and looks for tables in 34…50, of which it waits 16 cycles. 4 channels
#   of 4 planes are 16 slots, 51…66. Another K-tile is filled in 50…65, its slots are 67…82.
FIRST = 29
BY_HAND = [
    ("nothing", [], 26 - 8, {"total": 4 + 8 + 7 + 2 + 3 - 3 + 3, "run": 4}),
]


def counters(program, memory=NEAR, machine=TINY):
    return run_cycles(machine, (*program, HALT), memory).counters


def load(**values):
    return Instr.make("load", **{"beats": 16, "dram": 1024, **values})


def exec_of(**values):
    return Instr.make("exec", **{"tiles": 1, "channels": 4, "planes0": 4, "group_tiles": 1,
                                 "first": 1, **values})


HAND = {
    "one load": ([load()], {"total": 59, "run": 31, "load_busy": 32}),
    "one beat": ([load(beats=1)], {"total": 44, "run": 16, "load_busy": 17}),
    "within a page": ([load(beats=4, dram=4080)], {"total": 47, "run": 19, "load_busy": 20}),
    "across a page": ([load(beats=4, dram=4092)], {"total": 48, "run": 20, "load_busy": 20}),
}
