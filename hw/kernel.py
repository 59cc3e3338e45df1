"""Programs: the instructions that run one planned GEMM."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from weakref import WeakKeyDictionary

from hw.config import Machine
from hw.emit import A_DRAM, S_DRAM, ST_DRAM, W_DRAM, Emitter, add
from hw.isa import INSTRUCTION_BYTES, Instr, Node, ProgramError, Queue, Target, assemble, flatten
from hw.opening import emit_opening
from hw.plan import GemmSpec, Plan, PlanError, candidates
from hw.roll import rolled
from hw.steps import Schedule

__all__ = ["Regions", "gemm_program", "plan_gemm", "program_bytes"]

MOST_CREDITS = 200  # of the 255 tokens a queue counts

# Instructions of the plans in use: planning emits them once to know their number.
_emitted: WeakKeyDictionary[Plan, tuple[list[Node], list[Node]]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Byte addresses in memory; multiples of the beat, best of 4096."""
    weights: int
    scales: int
    acts: int
    outputs: int


def _credits(plan: Plan, schedule: Schedule) -> list[Node]:
    """What the buffers hold, as free places."""
    machine, loads = plan.machine, schedule.weights
    words = max(plan.weight_words(load.channels, load.k_tiles) for load in loads)
    scales = max(plan.scale_words(load.channels, load.groups) for load in loads)
    acts = plan.act_words(plan.k_tiles if plan.resident else plan.chunk)
    outs = max(map(plan.out_words, plan.tiles))
    places = {
        Queue.W_FREE: min(machine.weight_depth // words, machine.scale_depth // scales),
        Queue.A_FREE: machine.act_depth // acts, Queue.OUT_FREE: machine.out_depth // outs}
    return [Instr.make("credit", queue=queue, count=min(count, MOST_CREDITS))
            for queue, count in places.items()]


def _emit(plan: Plan) -> tuple[list[Node], list[Node]]:
    """What comes before the addresses of the regions, and after them."""
    schedule = Schedule(plan)
    emitter = Emitter(plan, schedule)
    emit_step = cache(emitter.step)
    behind = (*plan.blocks[1:], 0)
    first, *rest = schedule.block(plan.blocks[0], behind[0], True)
    blocks = rolled([*zip(plan.blocks, behind, strict=True)][1:], lambda block: rolled(
        schedule.block(*block, False), emit_step))
    return _credits(plan, schedule), [*emit_opening(emitter, first), *rolled(rest, emit_step),
                                      *blocks, Instr.make("halt")]


def _load_table(plan: Plan) -> list[Node]:
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
        found = _emitted[plan] = _emit(plan)
    before, after = found
    return (*before, *add(W_DRAM, regions.weights), *_load_table(plan),
            *add(S_DRAM, regions.scales), *add(A_DRAM, regions.acts),
            *add(ST_DRAM, regions.outputs), *after)


def program_bytes(nodes: Sequence[Node], machine: Machine) -> bytes:
    """Assembled program. Raises :class:`ProgramError` if it exceeds the program buffer."""
    data = assemble(nodes)
    count = len(data) // INSTRUCTION_BYTES
    if count > machine.program_depth:
        raise ProgramError(f"program of {count} instructions exceeds program_depth="
                           f"{machine.program_depth}; raise it with --set program_depth=…")
    return data


def plan_gemm(machine: Machine, spec: GemmSpec) -> Plan:
    """The best plan whose program fits the program buffer. Deterministic.

    Raises :class:`PlanError` if none does."""
    shortest = 0
    for plan in candidates(machine, spec):
        nowhere = Regions(weights=0, scales=0, acts=0, outputs=0)
        length = sum(1 for _ in flatten(gemm_program(plan, nowhere))) + 4  # addresses of regions
        if length <= machine.program_depth:
            return plan
        shortest = min(shortest, length) or length
    raise PlanError(f"programs for {spec.m}x{spec.k}x{spec.n} take at least {shortest} "
                    f"instructions; machine {machine.name} holds {machine.program_depth}; raise "
                    "it with --set program_depth=… or map fewer tokens")
