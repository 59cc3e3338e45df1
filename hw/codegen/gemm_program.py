"""Generates the program of one planned GEMM."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from weakref import WeakKeyDictionary

from bitwright.hw.codegen.emitter import (
    A_DRAM,
    A_SRAM,
    K_DRAM,
    S_DRAM,
    ST_DRAM,
    W_DRAM,
    Emitter,
    add,
)
from bitwright.hw.codegen.schedule import Schedule, Step
from bitwright.hw.codegen.wavefront import emit_opening
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES, ProgramError, Queue, Target
from bitwright.hw.isa.loop_rerolling import rolled
from bitwright.hw.isa.program_tree import Instr, Node, assemble, flatten
from bitwright.hw.machine.description import Machine
from bitwright.hw.tiling.gemm_spec import GemmSpec, PlanError
from bitwright.hw.tiling.plan_search import candidates
from bitwright.hw.tiling.tile_plan import Plan

__all__ = ["ANYWHERE", "MOST_CREDITS", "Regions", "gemm_program", "length_of", "load_table",
           "plan_gemm", "plan_steps", "program_bytes", "program_length", "relaunch_program"]

MOST_CREDITS = 200  # of the 255 tokens a queue counts

# What tells blocks apart: the last step of the one before, whether it is the first, and its rows.
Group = tuple[tuple[Step, ...], bool, tuple[int, ...]]

# Instructions of the plans in use: planning emits them once to know their number.
_emitted: WeakKeyDictionary[Plan, tuple[list[Node], list[Node]]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Byte addresses in memory; multiples of the beat, best of 4096."""
    weights: int
    scales: int
    acts: int
    outputs: int


# No address but 0 changes a program's length.
ANYWHERE = Regions(weights=4096, scales=4096, acts=4096, outputs=4096)


def _credits(plan: Plan, schedule: Schedule) -> list[Node]:
    """Return the instructions that raise the queues of free places, by what the buffers hold."""
    outs = max(map(plan.out_words, plan.tiles))
    places = {Queue.W_FREE: schedule.weight_places(), Queue.A_FREE: schedule.act_places(),
              Queue.OUT_FREE: plan.machine.out_depth // outs}
    return [Instr.make("credit", queue=queue, count=min(count, MOST_CREDITS))
            for queue, count in places.items()]


def plan_steps(plan: Plan, act_places: int | None = None) -> list[Node]:
    """All steps of a plan, from registers that address its regions, and credits, on; ``act_places``
    are the tokens for activations, where those are fewer than the plan's own."""
    schedule = Schedule(plan)
    emitter = Emitter(plan, schedule)
    tiles, behind = (*plan.blocks, 0)[:2]
    first = schedule.block(tiles, behind, True)[0]
    start = [*add(A_DRAM, schedule.act_starts[plan.kept] * plan.act_word_bytes),
             *add(A_SRAM, schedule.act_place(plan.kept, tiles) * emitter.act_beats)
             ] if plan.kept else []
    return [*start, *emit_opening(emitter, first, act_places), *_rolled_blocks(emitter, False)]


def _rolled_blocks(emitter: Emitter, loaded: bool) -> list[Node]:
    """The steps of all blocks, but for the very first step unless all is ``loaded``. The last step
    of a block counts with the block after: the last of all is the only one that loads nothing for
    a next, and so is left over alone."""
    blocks = emitter.plan.blocks
    block, emit = cache(emitter.schedule.block), cache(emitter.step)
    groups: list[Group] = []
    steps: dict[Group, list[Step]] = {}
    last: tuple[Step, ...] = ()
    for index, sizes in enumerate(zip(blocks, (*blocks[1:], 0), strict=True)):
        opens = not loaded and not index
        found = block(*sizes, opens)[1 if opens else 0:]
        # All steps but the last are the same for blocks of the same rows.
        group = last, opens, found[0].rows if found else ()
        groups.append(group)
        steps.setdefault(group, [*last, *found[:-1]])
        last = tuple(found[-1:])
    return [*rolled(groups, lambda group: rolled(steps[group], emit)), *rolled(last, emit)]


def relaunch_program(plan: Plan, regions: Regions) -> tuple[Node, ...]:
    """The program of one more launch of a plan whose weights ``stay``, when the machine ran the
    plan's own program, or this one, last: it loads activations alone."""
    if not plan.stay:
        raise ValueError("the weights of this plan do not stay in their buffer")
    schedule = Schedule(plan)
    emitter = Emitter(plan, schedule)
    tiles = plan.blocks[0]
    loads = [schedule.act_load(0, tile, tiles) for tile in range(tiles if plan.resident else 1)]
    return (*_credits(plan, schedule)[1:],  # none for weights
            *add(A_DRAM, regions.acts), *add(ST_DRAM, regions.outputs),
            *rolled(loads, emitter.load_acts),
            *_rolled_blocks(emitter, True),
            Instr.make("halt"))


def load_table(plan: Plan) -> list[Node]:
    """The decode table lies in front of the weights."""
    if not plan.table_bytes:
        return []
    return [Instr.make("load", target=Target.TABLE, dram_reg=W_DRAM,
                       beats=plan.table_bytes // plan.machine.beat_bytes),
            *add(W_DRAM, plan.table_bytes)]


def gemm_program(plan: Plan, regions: Regions) -> tuple[Node, ...]:
    """The program of one GEMM, as a loop tree ending in ``halt``."""
    found = _emitted.get(plan)
    if found is None:
        found = _emitted[plan] = _credits(plan, Schedule(plan)), [*plan_steps(plan),
                                                                  Instr.make("halt")]
    before, after = found
    return (*before, *add(W_DRAM, regions.weights), *load_table(plan),
            *add(S_DRAM, regions.scales), *add(A_DRAM, regions.acts),
            *(add(K_DRAM, regions.acts) if plan.kept else ()),
            *add(ST_DRAM, regions.outputs), *after)


def program_bytes(nodes: Sequence[Node], machine: Machine) -> bytes:
    """Assembled program. Raises :class:`ProgramError` if it exceeds the program buffer."""
    data = assemble(nodes)
    count = len(data) // INSTRUCTION_BYTES
    if count > machine.program_depth:
        raise ProgramError(f"program of {count} instructions exceeds program_depth="
                           f"{machine.program_depth}; raise it with --set program_depth=…")
    return data


def length_of(nodes: Sequence[Node]) -> int:
    """Instructions as stored."""
    return sum(1 for _ in flatten(nodes))


def program_length(plan: Plan) -> int:
    """Instructions of the plan's program, wherever its regions are."""
    return length_of(gemm_program(plan, ANYWHERE))


def plan_gemm(machine: Machine, spec: GemmSpec) -> Plan:
    """The best plan whose program fits the program buffer. Deterministic.

    Raises :class:`PlanError` if none does."""
    shortest = 0
    for plan in candidates(machine, spec):
        length = program_length(plan)
        if length <= machine.program_depth:
            return plan
        shortest = min(shortest, length) or length
    raise PlanError(f"programs for {spec.m}x{spec.k}x{spec.n} take at least {shortest} "
                    f"instructions; machine {machine.name} holds {machine.program_depth}; raise "
                    "it with --set program_depth=… or map fewer tokens")
