"""Programs: the instructions that run one planned GEMM.

Every stream of addresses only moves forward (or jumps back at known places), so each has an
address register that the program steps; loops then need no addresses of their own. Equal
consecutive steps become loops.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from hw.config import Machine
from hw.isa import (
    INSTRUCTION_BYTES,
    Instr,
    Loop,
    Node,
    ProgramError,
    Queue,
    Target,
    assemble,
    flatten,
)
from hw.plan import GemmSpec, Plan, PlanError, candidates

__all__ = ["Regions", "gemm_program", "plan_gemm", "program_bytes"]

(W_DRAM, W_SRAM, S_DRAM, S_SRAM, A_DRAM, A_SRAM, E_W, E_S, E_A, E_OUT, ST_OUT, ST_DRAM,
 E_PSUM) = range(1, 14)

LONGEST_BODY = 64  # steps in the body of a loop


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Byte addresses in memory; multiples of the beat, best of 4096."""
    weights: int
    scales: int
    acts: int
    outputs: int


def rolled(items: Sequence, emit: Callable[..., tuple[Node, ...]]) -> list[Node]:
    """``emit`` of every item; runs of equal items, or of equal sequences of items, as loops."""
    names: dict = {}
    keys = [names.setdefault(item, len(names)) for item in items]
    bodies = {key: emit(item) for item, key in names.items()}
    return _rolled(keys, bodies)


def _rolled(keys: Sequence[int], bodies: dict[int, tuple[Node, ...]]) -> list[Node]:
    nodes: list[Node] = []
    at = 0
    while at < len(keys):
        period, count = 1, 1
        for size in range(1, min(LONGEST_BODY, (len(keys) - at) // 2) + 1):
            body, repeats = keys[at:at + size], 1
            while keys[at + repeats * size:at + (repeats + 1) * size] == body:
                repeats += 1
            if repeats > 1 and repeats * size > period * count:
                period, count = size, repeats
        count = min(count, 65535)  # what a loop counts to
        body = keys[at:at + period]
        inner = tuple(_rolled(body, bodies)) if period > 1 else bodies[body[0]]
        nodes += inner if count == 1 else [Loop(count, inner)]
        at += period * count
    return nodes


def add(reg: int, value: int) -> list[Node]:
    return [Instr.make("add", reg=reg, value=value)] if value else []


@dataclass(frozen=True)
class Step:
    """One chunk of weights over one block of token tiles. ``next_*`` describe what is loaded
    ahead; ``None`` where nothing is."""
    channels: int
    k_tiles: int
    first: bool
    final: bool
    rows: tuple[int, ...]            # rows stored per token tile
    wait_a: bool
    free_a: bool
    act_back: int                    # words the activations step back after the step
    acts: tuple[tuple[int, int] | None, ...]  # per token tile: load ahead (K-tiles, step after)
    acts_behind: int                 # token tiles of the next block loaded after their exec
    next_weights: tuple[int, int, int, int, int, int] | None
    out_step: int                    # bytes the store address moves after the step


class Kernel:
    def __init__(self, plan: Plan, regions: Regions):
        self.plan, self.regions = plan, regions
        self.machine: Machine = plan.machine
        self.word_beats = self.machine.slice_bits // self.machine.memory_bits
        self.scale_beats = self.machine.scale_word_bits // self.machine.memory_bits
        self.act_beats = plan.act_word_bytes // self.machine.beat_bytes
        self.emit_step = cache(self._emit_step)

    # ---- loads --------------------------------------------------------------------------
    def load_weights(self, channels: int, k_tiles: int, groups: int, back: int, scale_back: int,
                     scale_step: int, wait: bool = True) -> list[Node]:
        """Scales, then weights of one chunk; ``back`` and ``scale_back`` rewind first."""
        beats = self.plan.weight_words(channels, k_tiles) * self.word_beats
        scale_beats = self.plan.scale_words(channels, groups) * self.scale_beats
        return [
            *add(W_DRAM, -back), *add(S_DRAM, -scale_back),
            Instr.make("load", target=Target.SCALES, dram_reg=S_DRAM, sram_reg=S_SRAM,
                       beats=scale_beats, wait=int(wait)),
            Instr.make("load", target=Target.WEIGHTS, dram_reg=W_DRAM, sram_reg=W_SRAM,
                       beats=beats, signal=1),
            *add(S_DRAM, scale_step), *add(S_SRAM, scale_beats),
            *add(W_DRAM, beats * self.machine.beat_bytes), *add(W_SRAM, beats),
        ]

    def load_acts(self, k_tiles: int, step: int) -> list[Node]:
        words = self.plan.act_words(k_tiles)
        return [
            Instr.make("load", target=Target.ACTS, dram_reg=A_DRAM, sram_reg=A_SRAM,
                       beats=words * self.act_beats, broadcast=int(self.plan.row_mode), wait=1,
                       signal=1),
            *add(A_DRAM, step), *add(A_SRAM, words * self.act_beats),
        ]

    # ---- one step -----------------------------------------------------------------------
    def exec_instr(self, step: Step, k_tiles: int, done: int, *, wait_w: bool, wait_a: bool,
                   free_w: bool, free_a: bool) -> Instr:
        """``k_tiles`` of the step's chunk after the first ``done``."""
        plan, spec = self.plan, self.plan.spec
        digits = [*spec.digits, (0, 0)]
        first, final = step.first and not done, step.final and done + k_tiles == step.k_tiles
        groups_done = done // plan.group_tiles
        return Instr.make(
            "exec", w_addr=plan.weight_words(step.channels, done), w_addr_reg=E_W,
            s_addr=plan.scale_words(step.channels, groups_done), s_addr_reg=E_S,
            a_addr=plan.act_words(done), a_addr_reg=E_A,
            psum_reg=E_PSUM, out_reg=E_OUT, tiles=k_tiles, channels=step.channels,
            planes0=digits[0][1], shift0=digits[0][0], sigma0=int(spec.sigma),
            planes1=digits[1][1], shift1=digits[1][0], offset=int(spec.offset),
            group_tiles=min(plan.group_tiles, 4095), row_mode=int(plan.row_mode),
            first=int(first), final=int(final), wait_w=int(wait_w), wait_a=int(wait_a),
            wait_out=int(final), free_w=int(free_w), free_a=int(free_a), signal_out=int(final))

    def _emit_step(self, step: Step) -> tuple[Node, ...]:
        nodes = self.load_weights(*step.next_weights) if step.next_weights else []
        count = len(step.rows)
        items = [(rows, step.acts[i], i < step.acts_behind, i == 0, i == count - 1)
                 for i, rows in enumerate(step.rows)]
        nodes += rolled(items, lambda item: tuple(self._emit_tile(step, *item)))
        if len(self.plan.chunks) > 1:
            nodes += add(E_PSUM, -count * step.channels)
        return (*nodes, *self._leave_step(step))

    def _leave_step(self, step: Step) -> list[Node]:
        """Addresses to the next step."""
        plan = self.plan
        return [*add(E_A, -step.act_back),
                *add(E_W, plan.weight_words(step.channels, step.k_tiles)),
                *add(E_S, plan.scale_words(step.channels, plan.chunk_groups(step.k_tiles))),
                *add(ST_DRAM, step.out_step)]

    def _emit_tile(self, step: Step, rows: int, ahead: tuple[int, int] | None, behind: bool,
                   is_first: bool, is_last: bool) -> list[Node]:
        plan = self.plan
        nodes = self.load_acts(*ahead) if ahead else []
        nodes.append(self.exec_instr(step, step.k_tiles, 0, wait_w=is_first, wait_a=step.wait_a,
                                     free_w=is_last, free_a=step.free_a))
        nodes += add(E_A, self.tile_words(step))
        if len(plan.chunks) > 1:
            nodes += add(E_PSUM, step.channels)
        return nodes + self._finish_tile(step, rows, behind)

    def tile_words(self, step: Step) -> int:
        """Activation buffer words from a token tile to the next."""
        return self.plan.act_words(self.plan.k_tiles if self.plan.resident else step.k_tiles)

    def _finish_tile(self, step: Step, rows: int, behind: bool) -> list[Node]:
        """Store a finished tile, and load the activations that take its place."""
        plan, machine = self.plan, self.machine
        nodes: list[Node] = []
        if step.final:
            width = step.channels * machine.cols * 4
            nodes.append(Instr.make(
                "store", dram_reg=ST_DRAM, out_reg=ST_OUT, rows=rows,
                stride=width if plan.row_mode else plan.n_padded * 4,
                beats=width // machine.beat_bytes, wait=1, signal=1))
            nodes += add(E_OUT, plan.out_words(step.channels))
            nodes += add(ST_OUT, plan.out_words(step.channels))
            nodes += add(ST_DRAM, rows * plan.n_padded * 4 if not plan.row_mode else 0)
        if behind:
            nodes += self.load_acts(plan.k_tiles,
                                    plan.act_words(plan.k_tiles) * plan.act_word_bytes)
        return nodes

    # ---- the first step -----------------------------------------------------------------
    def parts(self, tiles: int) -> tuple[int, ...]:
        """K-tiles of the parts in which the first chunk is loaded and executed. Psums and
        activations of as many token tiles as there are parts are held at a time."""
        plan = self.plan
        size = plan.chunks[0]
        unit = plan.group_tiles if size >= plan.group_tiles else size
        most = 8
        if tiles > 1:
            most = min(most, self.machine.psum_depth // plan.tiles[0],
                       self.machine.act_depth // plan.act_words(
                           plan.k_tiles if plan.resident else size))
        pieces = max(1, min(size // unit, most))
        each = -(-(size // unit) // pieces) * unit if pieces > 1 else size
        parts = [each] * (size // each)
        return (*parts[:-1], size - sum(parts[:-1]))

    def emit_opening(self, step: Step) -> list[Node]:
        """The first step, arranged as a wavefront so that execution starts with the first part of
        the weights and of the activations: when part d has come, it serves the token tiles
        already there; then token tile d comes and meets all parts so far."""
        plan, tiles = self.plan, len(step.rows)
        parts = self.parts(tiles)
        starts = [sum(parts[:d]) for d in range(len(parts) + 1)]
        tile_bytes = plan.act_words(plan.k_tiles) * plan.act_word_bytes
        channels, k_tiles, groups, scale_step = self.weight_loads()[0]
        if plan.resident:
            first_acts = (plan.k_tiles, tile_bytes)
        elif tiles == 1:
            first_acts = (k_tiles, self._stream_step(0, tile_bytes, 1, 0,
                                                     len(self.weight_loads()) == 1))
        else:
            first_acts = (k_tiles, tile_bytes)
        acts = (first_acts, *step.acts)   # of tile 0, 1, …, and of the next step

        def loads(d: int) -> list[Node]:
            move = scale_step if len(parts) == 1 else plan.scale_words(
                channels, plan.chunk_groups(parts[d])) * self.machine.scale_word_bits // 8
            group_count = groups if len(parts) == 1 else plan.chunk_groups(parts[d])
            weights = self.load_weights(channels, parts[d], group_count, 0, 0, move, wait=d == 0)
            more = acts[d] if d < tiles else None
            return (self.load_acts(*more) + weights if d == 0
                    else weights + (self.load_acts(*more) if more else []))

        jobs: list[tuple[int, int, int]] = []   # (first K-tile, K-tiles, token tile)
        ahead: dict[int, list[Node]] = {}       # loads before a job
        for d in range(len(parts)):
            if d + 1 < len(parts):
                ahead[len(jobs)] = loads(d + 1)
            elif step.next_weights:
                ahead[len(jobs)] = self.load_weights(*step.next_weights)
            jobs += [(starts[d], parts[d], tile) for tile in range(min(d, tiles))]
            if d < tiles:
                jobs.append((0, starts[d + 1], d))
        for tile in range(len(parts), tiles):
            jobs.append((0, step.k_tiles, tile))
        nodes = loads(0)
        seen: set[int] = set()
        asked = min(len(parts), tiles) - 1   # the last activations that came with a part
        words = self.tile_words(step)
        for index, (done, count, tile) in enumerate(jobs):
            nodes += ahead.get(index, [])
            ended = done + count == step.k_tiles
            if ended and asked < tile + 1 <= tiles and tile + 1 >= len(parts):
                nodes += self.load_acts(*more) if (more := acts[tile + 1]) else []
                asked = tile + 1
            opens = tile not in seen
            seen.add(tile)
            wait_w = tile == 0
            instr = self.exec_instr(
                step, count, done, wait_w=wait_w, wait_a=step.wait_a and opens,
                free_w=index == len(jobs) - 1, free_a=step.free_a and ended)
            moved = {"a_addr": instr["a_addr"] + tile * words}
            if len(parts) > 1 or len(plan.chunks) > 1:
                moved["psum"] = tile * step.channels
            nodes.append(Instr.make("exec", **{**dict(instr.values), **moved}))
            if ended:
                nodes += self._finish_tile(step, step.rows[tile], tile < step.acts_behind)
        if asked < tiles and acts[tiles]:
            nodes += self.load_acts(*acts[tiles])
        return [*nodes, *add(E_A, tiles * words), *self._leave_step(step)]

    # ---- the whole ----------------------------------------------------------------------
    def weight_loads(self) -> list[tuple[int, int, int, int, int]]:
        """Per step of a block: channels, K-tiles, groups, scale bytes to move on, is last."""
        plan, loads = self.plan, []
        for channels in plan.tiles:
            done = 0
            for k_tiles in plan.chunks:
                done += k_tiles
                groups = plan.chunk_groups(k_tiles)
                moves = groups if done % plan.group_tiles == 0 else 0
                step = plan.scale_words(channels, moves) * self.machine.scale_word_bits // 8
                loads.append((channels, k_tiles, groups, step))
        return loads

    def block_steps(self, tiles: int, is_first: bool, behind: int, is_last: bool
                    ) -> tuple[Step, ...]:
        """The steps of a block of ``tiles`` token tiles, the last of which is ragged if the whole
        ends with it; ``behind`` token tiles of the next block follow."""
        plan, machine, spec = self.plan, self.machine, self.plan.spec
        rows = [machine.rows] * tiles
        if is_last and not plan.row_mode and spec.m % machine.rows:
            rows[-1] = spec.m % machine.rows
        loads = self.weight_loads()
        tile_bytes = plan.act_words(plan.k_tiles) * plan.act_word_bytes
        steps, index, count = [], 0, len(loads)
        for channels in plan.tiles:
            done = 0
            for k_tiles in plan.chunks:
                head, end = index == 0, index == count - 1
                if end:
                    upcoming = None if is_last else (*loads[0][:3], plan.weight_bytes,
                                                     plan.scale_bytes, loads[0][3])
                else:
                    upcoming = (*loads[index + 1][:3], 0, 0, loads[index + 1][3])
                final = done + k_tiles == plan.k_tiles
                acts = self._acts_ahead(tiles, index, head and is_first, end and is_last,
                                        tile_bytes, behind, end)
                out_step = 0
                if final:
                    width = channels * plan.tile_width * 4
                    moved = 0 if plan.row_mode else sum(rows) * plan.n_padded * 4
                    out_step = width - moved
                    if end and not plan.row_mode:
                        out_step = width - plan.n_padded * 4
                act_back = 0
                if plan.resident:  # to the next chunk of the same block, or on to the next block
                    act_back = (plan.act_words(done) if end else plan.act_words(
                        done if final else -k_tiles) + plan.act_words(plan.k_tiles) * tiles)
                steps.append(Step(
                    channels=channels, k_tiles=k_tiles,
                    first=done == 0, final=final, rows=tuple(rows),
                    wait_a=head or not plan.resident, free_a=end or not plan.resident,
                    act_back=act_back,
                    acts=acts, acts_behind=behind if end and plan.resident else 0,
                    next_weights=upcoming, out_step=out_step))
                done += k_tiles
                index += 1
        return tuple(steps)

    def _acts_ahead(self, tiles: int, index: int, opening: bool, closing: bool, tile_bytes: int,
                    behind: int, end: bool) -> tuple[tuple[int, int] | None, ...]:
        """Activation loads one token tile ahead: (K-tiles, bytes from it to the load after)."""
        plan = self.plan
        if plan.resident:  # the first block's; later blocks come behind the one before
            return tuple((plan.k_tiles, tile_bytes) if opening and i < tiles - 1 else None
                         for i in range(tiles))
        chunks = len(plan.chunks)
        chunk, next_chunk = plan.chunks[index % chunks], plan.chunks[(index + 1) % chunks]
        start = sum(plan.chunks[:index % chunks])
        after = self._stream_step(start, tile_bytes, tiles, index, end)
        ahead: list[tuple[int, int] | None] = [
            (chunk, tile_bytes if i < tiles - 2 else after) for i in range(tiles - 1)]
        if closing:
            return (*ahead, None)
        later = behind if end else tiles  # token tiles of the step that follows
        follow = next_chunk if not end else plan.chunks[0]
        if later > 1:
            step = tile_bytes
        else:
            following = 0 if end else index + 1
            start = sum(plan.chunks[:following % chunks])
            step = self._stream_step(start, tile_bytes, later, following,
                                     following == chunks * len(plan.tiles) - 1)
        return (*ahead, (follow, step))

    def _stream_step(self, start: int, tile_bytes: int, tiles: int, index: int, end: bool) -> int:
        """Bytes from a step's last activation load to the next step's first."""
        plan = self.plan
        if end:
            following = tile_bytes * tiles
        else:
            following = sum(plan.chunks[:(index + 1) % len(plan.chunks)])
            following = plan.act_words(following) * plan.act_word_bytes
        here = plan.act_words(start) * plan.act_word_bytes + tile_bytes * (tiles - 1)
        return following - here

    def nodes(self) -> tuple[Node, ...]:
        plan, machine, regions = self.plan, self.machine, self.regions
        loads = self.weight_loads()
        largest = max(plan.weight_words(c, k) for c, k, *_ in loads)
        scales = max(plan.scale_words(c, g) for c, _, g, *_ in loads)
        tile = plan.act_words(plan.k_tiles if plan.resident else plan.chunk)
        words = max(map(plan.out_words, plan.tiles))
        credits = {
            Queue.W_FREE: min(machine.weight_depth // largest, machine.scale_depth // scales),
            Queue.A_FREE: machine.act_depth // tile, Queue.OUT_FREE: machine.out_depth // words}
        nodes: list[Node] = [Instr.make("credit", queue=queue, count=min(count, 200))
                             for queue, count in credits.items()]
        nodes += add(W_DRAM, regions.weights) + add(S_DRAM, regions.scales)
        nodes += add(A_DRAM, regions.acts) + add(ST_DRAM, regions.outputs)
        blocks = plan.blocks
        items = [(size, index == 0, blocks[index + 1] if index + 1 < len(blocks) else 0,
                  index == len(blocks) - 1) for index, size in enumerate(blocks)]
        first, *rest = self.block_steps(*items[0])
        nodes += self.emit_opening(first) + rolled(rest, self.emit_step)
        nodes += rolled(items[1:], lambda item: tuple(rolled(
            self.block_steps(*item), self.emit_step)))
        return (*nodes, Instr.make("halt"))


def gemm_program(plan: Plan, regions: Regions) -> tuple[Node, ...]:
    """The program of one GEMM, as a loop tree ending in ``halt``."""
    return Kernel(plan, regions).nodes()


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
