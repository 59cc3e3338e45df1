"""Emits the instructions of a program's steps.

Every stream of addresses only moves forward (or jumps back at known places), so each has an
address register that the program steps; loops then need no addresses of their own.
"""

from dataclasses import dataclass

from bitwright.hw.codegen.schedule import ActLoad, Schedule, Step, WeightLoad
from bitwright.hw.isa.instruction_table import Target
from bitwright.hw.isa.loop_rerolling import rolled
from bitwright.hw.isa.program_tree import Instr, Loop, Node
from bitwright.hw.tiling.tile_plan import Plan

__all__ = ["A_DRAM", "A_SRAM", "E_A", "K_DRAM", "S_DRAM", "ST_DRAM", "W_DRAM", "Emitter", "Tokens",
           "add"]

# Address registers: of loads, of exec, of stores, of loads of activations to be kept.
(W_DRAM, W_SRAM, S_DRAM, S_SRAM, A_DRAM, A_SRAM, E_W, E_S, E_A, E_OUT, ST_OUT, ST_DRAM,
 E_PSUM, K_DRAM, K_SRAM) = range(1, 16)


def add(reg: int, value: int) -> list[Node]:
    return [Instr.make("add", reg=reg, value=value)] if value else []


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Tokens of an exec: it waits for weights (``w``) and activations (``a``) that a load has
    brought, and frees them for the next load."""
    wait_w: bool
    wait_a: bool
    free_w: bool
    free_a: bool


class Emitter:
    """Turns steps into instructions."""

    def __init__(self, plan: Plan, schedule: Schedule):
        self.plan, self.machine, self.schedule = plan, plan.machine, schedule
        self.word_beats = self.machine.weight_word_beats
        self.scale_beats = self.machine.scale_word_bits // self.machine.memory_bits
        self.act_beats = plan.act_word_bytes // self.machine.beat_bytes

    # ---- loads --------------------------------------------------------------------------
    def load_weights(self, load: WeightLoad, wait: bool = True) -> list[Node]:
        """Scales, then weights; the token that both wait for, and give, is one."""
        words = self.plan.weight_words(load.channels, load.k_tiles)
        beats = words * self.word_beats
        scale_beats = self.plan.scale_words(load.channels, load.groups) * self.scale_beats
        return [
            *add(W_DRAM, -load.back), *add(S_DRAM, -load.scale_back),
            Instr.make("load", target=Target.SCALES, dram_reg=S_DRAM, sram_reg=S_SRAM,
                       beats=scale_beats, wait=int(wait)),
            Instr.make("load", target=Target.WEIGHTS, dram_reg=W_DRAM, sram_reg=W_SRAM,
                       beats=beats, signal=1),
            *add(S_DRAM, load.scale_step), *add(S_SRAM, scale_beats),
            *add(W_DRAM, beats * self.machine.beat_bytes),
            *add(W_SRAM, beats + words * self.machine.weight_word_gap),
        ]

    def load_acts(self, load: ActLoad | None) -> list[Node]:
        if load is None:
            return []
        beats = self.plan.act_words(load.k_tiles) * self.act_beats
        return [
            Instr.make("load", target=Target.ACTS, dram_reg=A_DRAM, sram_reg=A_SRAM, beats=beats,
                       broadcast=int(self.plan.row_mode), wait=1, signal=1),
            *add(A_DRAM, load.step), *add(A_SRAM, beats - load.back * self.act_beats),
        ]

    def load_kept(self, tiles: int) -> list[Node]:
        """The activations to be kept of a block's ``tiles``; see :class:`Schedule`."""
        if not tiles:
            return []
        beats = self.plan.act_words(self.plan.kept_tiles) * self.act_beats
        body = (Instr.make("load", target=Target.ACTS, dram_reg=K_DRAM, sram_reg=K_SRAM,
                           beats=beats),
                *add(K_DRAM, self.schedule.tile_bytes), *add(K_SRAM, beats))
        return [Loop(tiles, body), *add(K_SRAM, -tiles * beats)]

    # ---- one token tile -----------------------------------------------------------------
    def exec_instr(self, step: Step, done: int, k_tiles: int, tokens: Tokens, *, tile: int = 0,
                   psum: int = 0) -> Instr:
        """The exec of ``k_tiles`` of the step's chunk after the first ``done``, for the token tile
        ``tile`` places after the one that the registers point at."""
        plan, spec = self.plan, self.plan.spec
        digits = spec.digits
        fields = {f"slots{index}": digit.slots for index, digit in enumerate(digits)}
        fields |= {f"shift{index}": digit.shift for index, digit in enumerate(digits)}
        fields |= {f"packing{index}": digit.packing for index, digit in enumerate(digits[:2])}
        fields |= {"again": int(not digits[-1].stored), "select": int(spec.select),
                   "plane_scales": int(spec.plane_scales)}
        first, final = step.first and not done, step.final and done + k_tiles == step.k_tiles
        return Instr.make(
            "exec", w_addr=plan.weight_words(step.channels, done), w_addr_reg=E_W,
            s_addr=plan.scale_words(step.channels, done // plan.group_tiles), s_addr_reg=E_S,
            a_addr=plan.act_words(done) + tile * step.act_step, a_addr_reg=E_A,
            psum=psum, psum_reg=E_PSUM, out_reg=E_OUT, tiles=k_tiles, channels=step.channels,
            sigma0=int(spec.sigma), offset=int(spec.offset), **fields,
            group_tiles=min(plan.group_tiles, 4095), row_mode=int(plan.row_mode),
            first=int(first), final=int(final), wait_w=int(tokens.wait_w),
            wait_a=int(tokens.wait_a), wait_out=int(final), free_w=int(tokens.free_w),
            free_a=int(tokens.free_a), signal_out=int(final))

    def finish_tile(self, step: Step, rows: int, behind: ActLoad | None) -> list[Node]:
        """Store a finished tile, and load the activations that take its place."""
        plan = self.plan
        if not step.final:
            return self.load_acts(behind)
        words = plan.out_words(step.channels)
        width = step.channels * self.machine.cols * 4
        return [
            Instr.make("store", dram_reg=ST_DRAM, out_reg=ST_OUT, rows=rows,
                       stride=width if plan.row_mode else plan.n_padded * 4,
                       beats=width // self.machine.beat_bytes, wait=1, signal=1),
            *add(E_OUT, words), *add(ST_OUT, words),
            *add(ST_DRAM, 0 if plan.row_mode else rows * plan.n_padded * 4),
            *self.load_acts(behind),
        ]

    # ---- one step -----------------------------------------------------------------------
    def step(self, step: Step) -> tuple[Node, ...]:
        """A step that is not the first."""
        last = len(step.rows) - 1
        psums = step.channels if len(self.plan.chunks) > 1 else 0

        def emit(item: tuple[int, ActLoad | None, ActLoad | None, bool, bool]) -> list[Node]:
            rows, ahead, behind, is_first, is_last = item
            return [
                *self.load_acts(ahead),
                self.exec_instr(step, 0, step.k_tiles, Tokens(
                    wait_w=is_first and step.wait_w, wait_a=step.wait_a,
                    free_w=is_last and step.free_w, free_a=step.free_a)),
                *add(E_A, step.act_step), *add(E_PSUM, psums),
                *self.finish_tile(step, rows, behind),
            ]

        items = [(*parts, index == 0, index == last) for index, parts in enumerate(
            zip(step.rows, step.ahead, step.behind, strict=True))]
        if not step.next_weights:
            return (*rolled(items, emit), *add(E_PSUM, -len(items) * psums), *self.leave(step))
        return (*rolled(items[:step.lead], emit), *self.load_kept(step.next_kept),
                *self.load_weights(step.next_weights),
                *rolled(items[step.lead:], emit), *add(E_PSUM, -len(items) * psums),
                *self.leave(step))

    def leave(self, step: Step) -> list[Node]:
        """Addresses to the next step."""
        plan = self.plan
        return [*add(E_A, -step.act_back),
                *add(E_W, plan.weight_words(step.channels, step.k_tiles) - step.weight_back),
                *add(E_S, plan.scale_words(step.channels, plan.chunk_groups(step.k_tiles))
                     - step.scale_back),
                *add(ST_DRAM, step.out_step)]
