from bisect import bisect_right
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.hw.codegen.gemm_program import Regions, gemm_program, plan_gemm, program_bytes
from bitwright.hw.isa.instruction_table import OPS
from bitwright.hw.isa.program_tree import Loop, flatten, parse
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.tiling.gemm_spec import GemmSpec, PlanError
from bitwright.hw.tiling.plan_search import all_plans, check_plan
from bitwright.hw.tiling.tile_plan import Plan

SCARCE = Machine(name="scarce", rows=2, cols=4, k_tile=32, builders=2, memory_bits=64,
                 weight_depth=256, act_depth=16, scale_depth=64, psum_depth=16, out_depth=32,
                 program_depth=2048, outstanding=2)
MACHINES = [*(preset.replace(program_depth=1024) for preset in PRESETS.values()), SCARCE]
DIGITS = [((0, 1),), ((0, 2),), ((0, 4),), ((0, 4), (4, 1)), ((0, 4), (4, 4))]
NOWHERE = Regions(weights=1 << 20, scales=2 << 20, acts=3 << 20, outputs=4 << 20)


@st.composite
def specs(draw, most=200):
    k = draw(st.integers(1, most))
    return GemmSpec(m=draw(st.one_of(st.just(1), st.integers(1, 40))), k=k,
                    n=draw(st.integers(1, most)), digits=draw(st.sampled_from(DIGITS)),
                    sigma=draw(st.booleans()), offset=draw(st.booleans()),
                    group_size=draw(st.one_of(st.just(k), st.integers(1, k))))


class Occupancy:
    """What the buffers hold as a program runs: engines in order, each as far as tokens let it.

    The token protocol alone decides: whichever engine can go on does, loads first, so that a
    buffer is as full as it can ever be. Raises if a buffer overflows or nothing can go on."""

    def __init__(self, machine, nodes):
        self.machine = machine
        self.queues = dict.fromkeys(("w_ready", "a_ready", "w_free", "a_free", "out_ready",
                                     "out_free"), 0)
        self.streams = {"load": [], "exec": [], "store": []}
        for instr in execute(nodes):
            if instr.op == "credit":
                self.queues[list(self.queues)[instr["queue"]]] += instr["count"]
            elif instr.op in self.streams:
                self.streams[instr.op].append(instr)
        self.at = dict.fromkeys(self.streams, 0)

    def tokens(self, instr):
        """Queues an instruction takes from, and gives to."""
        if instr.op == "load":
            side = "a" if instr["target"] == 1 else "w"
            return [f"{side}_free"] * instr["wait"], [f"{side}_ready"] * instr["signal"]
        if instr.op == "exec":
            return ([f"{s}_ready" for s in "wa" if instr[f"wait_{s}"]]
                    + ["out_free"] * instr["wait_out"],
                    [f"{s}_free" for s in "wa" if instr[f"free_{s}"]]
                    + ["out_ready"] * instr["signal_out"])
        return ["out_ready"] * instr["wait"], ["out_free"] * instr["signal"]

    def run(self, order):
        """Run to the end, trying engines in ``order``; returns instructions in the order run."""
        done = []
        while any(self.at[name] < len(stream) for name, stream in self.streams.items()):
            for name in order:
                stream = self.streams[name]
                if self.at[name] == len(stream):
                    continue
                takes, gives = self.tokens(stream[self.at[name]])
                if all(self.queues[queue] >= takes.count(queue) for queue in takes):
                    for queue in takes:
                        self.queues[queue] -= 1
                    for queue in gives:
                        self.queues[queue] += 1
                    done.append(stream[self.at[name]])
                    self.at[name] += 1
                    break
            else:
                raise AssertionError(f"deadlock at {self.at}, tokens {self.queues}")
        return done


def execute(nodes):
    """Instructions as dispatched: loops unrolled, addresses resolved."""
    registers = [0] * 16

    def walk(nodes):
        for node in nodes:
            if isinstance(node, Loop):
                for _ in range(node.count):
                    yield from walk(node.body)
            elif node.op == "add":
                registers[node["reg"]] = (registers[node["reg"]] + node["value"]) % (1 << 32)
            else:
                values = {f.name: (node[f.name] + (registers[node[f.name + "_reg"]]
                                                   if f.base else 0)) % (1 << f.bits)
                          for f in OPS[node.op].fields}
                yield replace(node, values=tuple(sorted(values.items())))
    return walk(nodes)


class Sums:
    """Which products are in the partial sums, told by where in memory the operands come from."""

    def __init__(self, plan):
        self.plan, self.psums, self.outputs = plan, {}, {}
        self.starts = [0]   # weight words before each output tile
        for channels in plan.tiles:
            self.starts.append(self.starts[-1] + plan.weight_words(channels, plan.k_tiles))

    def operands(self, weight_word, act_word):
        """Token tile, output tile, and first K-tile, of which both must be."""
        plan = self.plan
        tile = bisect_right(self.starts, weight_word) - 1
        of_weights, rest = divmod(weight_word - self.starts[tile],
                                  plan.weight_words(plan.tiles[tile], 1))
        tokens, word = divmod(act_word, plan.act_words(plan.k_tiles))
        assert rest == 0 and word == plan.act_words(of_weights)
        return tokens, tile, of_weights

    def add(self, instr, weight_word, act_word):
        tokens, tile, start = self.operands(weight_word, act_word)
        assert instr["channels"] == self.plan.tiles[tile]
        psum = instr["psum"] % self.plan.machine.psum_depth
        if instr["first"]:
            self.psums[psum] = (tokens, tile, [])
        assert self.psums[psum][:2] == (tokens, tile)
        self.psums[psum][2].extend(range(start, start + instr["tiles"]))
        if instr["final"]:
            assert sorted(self.psums[psum][2]) == list(range(self.plan.k_tiles))
            self.outputs[instr["out"] % self.plan.machine.out_depth] = self.psums.pop(psum)[:2]

    def store(self, instr):
        plan = self.plan
        tokens, tile = self.outputs.pop(instr["out"] % plan.machine.out_depth)
        row = tokens * (1 if plan.row_mode else plan.machine.rows)
        column = sum(plan.tiles[:tile]) * plan.tile_width
        assert instr["dram"] == NOWHERE.outputs + 4 * (row * plan.n_padded + column)


def check_buffers(plan, order):
    """Every word an engine reads was written for it, and nothing in use is overwritten."""
    machine, sums = plan.machine, Sums(plan)
    per_word = {0: machine.weight_word_bits // machine.memory_bits,
                1: plan.act_word_bytes // machine.beat_bytes,
                2: machine.scale_word_bits // machine.memory_bits}
    depth = {0: machine.weight_depth, 1: machine.act_depth, 2: machine.scale_depth}
    source = [{}, {}, {}]   # per buffer: word -> memory address it came from
    expected = {0: NOWHERE.weights, 1: NOWHERE.acts, 2: NOWHERE.scales}
    top = {0: plan.weight_bytes, 1: plan.act_bytes, 2: plan.scale_bytes}
    read = [set(), set(), set()]
    held, stored, opened = set(), set(), set()   # output words, bytes in memory, psums
    for instr in Occupancy(machine, gemm_program(plan, NOWHERE)).run(order):
        if instr.op == "load":
            target = instr["target"]
            first = instr["dram"] - expected[target]
            assert 0 <= first and first + instr["beats"] * machine.beat_bytes <= top[target]
            assert instr["sram"] % per_word[target] == 0 and instr["beats"] % per_word[target] == 0
            for i in range(instr["beats"] // per_word[target]):
                word = (instr["sram"] // per_word[target] + i) % depth[target]
                source[target][word] = first + i * per_word[target] * machine.beat_bytes
        elif instr.op == "exec":
            words = plan.weight_words(instr["channels"], instr["tiles"])
            sums.add(instr, *(source[target][instr[name] % depth[target]] // (
                per_word[target] * machine.beat_bytes) for target, name in (
                    (0, "w_addr"), (1, "a_addr"))))
            for target, address, count in ((0, instr["w_addr"], words),
                                           (1, instr["a_addr"], plan.act_words(instr["tiles"]))):
                places = [source[target][(address + i) % depth[target]] for i in range(count)]
                step = per_word[target] * machine.beat_bytes
                assert places == list(range(places[0], places[0] + count * step, step))
                read[target].update(places)
            assert instr["channels"] >= machine.min_channels
            psums = {(instr["psum"] + i) % machine.psum_depth for i in range(instr["channels"])}
            if instr["first"]:
                assert not psums & opened, "psums in use are started anew"
                opened |= psums
            assert psums <= opened
            if instr["final"]:
                opened -= psums
                for i in range(plan.out_words(instr["channels"])):
                    word = (instr["out"] + i) % machine.out_depth
                    assert word not in held, "an output is overwritten before it is stored"
                    held.add(word)
        else:
            sums.store(instr)
            words = -(-instr["beats"] * machine.memory_bits // machine.out_word_bits)
            for i in range(words):
                held.remove((instr["out"] + i) % machine.out_depth)
            for row in range(instr["rows"]):
                start = instr["dram"] + row * instr["stride"] - NOWHERE.outputs
                span = range(start, start + instr["beats"] * machine.beat_bytes, 4)
                assert not stored & set(span)
                stored |= set(span)
    assert not held and stored == set(range(0, plan.out_bytes, 4))
    assert sorted(read[0]) == list(range(0, plan.weight_bytes, machine.weight_word_bits // 8))
    assert sorted(read[1]) == list(range(0, plan.act_bytes, plan.act_word_bytes))
    assert not opened


@settings(max_examples=150, deadline=None)
@given(machine=st.sampled_from(MACHINES), spec=specs())
def test_programs_stay_within_their_buffers(machine, spec):
    try:
        plan = plan_gemm(machine, spec)
    except PlanError:
        return
    for order in (("load", "exec", "store"), ("store", "exec", "load")):
        check_buffers(plan, order)


@pytest.mark.parametrize("m", [22, 24])
@pytest.mark.parametrize("chunk, kept, k_tiles", [
    (1, 1, 3), (1, 1, 6), (1, 2, 4), (1, 3, 5), (1, 3, 7), (2, 1, 5), (2, 1, 7)])
def test_kept_activations_are_not_overwritten_by_the_next_block(m, chunk, kept, k_tiles):
    """Weight buffers hold more chunks than there are steps, so that loads may run far ahead."""
    machine = SCARCE.replace(act_depth=64, weight_depth=1024, scale_depth=1024)
    spec = GemmSpec(m=m, k=32 * k_tiles, n=40, digits=((0, 4),), sigma=True, group_size=32)
    plan = Plan(machine=machine, spec=spec, row_mode=False, channels=4, chunk=chunk,
                block=4, resident=False, kept=kept)
    check_plan(plan)
    assert len(plan.tiles) == len(plan.blocks) == 3 and len(plan.chunks) - kept >= 2
    for order in permutations(("load", "exec", "store")):
        check_buffers(plan, order)


def test_blocks_of_one_token_tile():
    spec = GemmSpec(m=3, k=129, n=125, digits=((0, 1),), sigma=False, group_size=129)
    plan = Plan(machine=SCARCE, spec=spec, row_mode=False, channels=16, chunk=1, block=1,
                resident=False)
    assert len(plan.tiles) == len(plan.blocks) == 2 and len(plan.chunks) == 5
    check_buffers(plan, ("load", "exec", "store"))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), m=st.integers(9, 60), k=st.integers(200, 500), n=st.integers(40, 120),
       depth=st.sampled_from([16, 32, 64]), weights=st.sampled_from([128, 512, 1024]))
def test_activations_that_stay_are_there_in_time(data, m, k, n, depth, weights):
    machine = SCARCE.replace(act_depth=depth, weight_depth=weights, scale_depth=1024)
    spec = GemmSpec(m=m, k=k, n=n, digits=((0, 4),), sigma=True,
                    group_size=data.draw(st.sampled_from([32, 64, 96])))
    plans = [plan for plan in all_plans(machine, spec, True) if plan.kept or plan.stay]
    if not plans:
        return
    plan = data.draw(st.sampled_from(plans))
    if plan.kept:
        plan = replace(plan, kept=data.draw(st.integers(1, plan.kept)))
    check_plan(plan)
    for order in permutations(("load", "exec", "store")):
        check_buffers(plan, order)
    bare = replace(plan, kept=0, stay=False)
    assert plan.compulsory_bytes <= plan.dram_bytes < bare.dram_bytes


@settings(max_examples=50, deadline=None)
@given(machine=st.sampled_from(MACHINES), spec=specs(most=3000))
def test_sizes_of_a_plan(machine, spec):
    try:
        plan = plan_gemm(machine, spec)
    except PlanError:
        return
    assert sum(plan.chunks) == plan.k_tiles and sum(plan.blocks) == plan.m_tiles
    assert plan.n_padded >= spec.n and plan.m_tiles * (1 if plan.row_mode else machine.rows) >= (
        spec.m)
    assert plan.k_tiles * machine.k_tile >= spec.k
    assert all(size % plan.group_tiles == 0 for size in plan.chunks) or all(
        plan.group_tiles % size == 0 for size in plan.chunks[:1])
    channels, chunk = max(plan.tiles), max(plan.chunks)
    assert 2 * plan.weight_words(channels, chunk) <= machine.weight_depth
    assert 2 * plan.scale_words(channels, plan.chunk_groups(chunk)) <= machine.scale_depth
    assert plan.out_words(channels) <= machine.out_depth
    assert channels <= min(255, machine.psum_depth)
    check_plan(plan)
    held = plan.block * plan.act_words(plan.k_tiles) if plan.resident else 2 * plan.act_words(chunk)
    if plan.kept:
        held = plan.block * plan.act_words((plan.kept + 1) * plan.chunk)
    assert held <= machine.act_depth
    if len(plan.chunks) > 1:
        assert plan.block * channels <= machine.psum_depth
    assert plan.dram_bytes >= plan.compulsory_bytes


@settings(max_examples=60, deadline=None)
@given(machine=st.sampled_from(MACHINES), spec=specs())
def test_programs_assemble_and_parse_back(machine, spec):
    try:
        plan = plan_gemm(machine, spec)
    except PlanError:
        return
    nodes = gemm_program(plan, NOWHERE)
    assert len(list(flatten(nodes))) <= machine.program_depth
    data = program_bytes(nodes, machine)
    assert list(flatten(parse(data))) == [type(i).decode(i.encode()) for i in flatten(nodes)]


@pytest.mark.parametrize("machine", MACHINES, ids=[machine.name for machine in MACHINES])
@pytest.mark.parametrize("planes", [1, 4, 8])
@pytest.mark.parametrize("group_size", [1, 7, 32, 160])
def test_small_shapes_always_fit(machine, planes, group_size):
    digits = ((0, min(planes, 4)),) + (((4, planes - 4),) if planes > 4 else ())
    for m in (1, 2, 9):
        plan = plan_gemm(machine, GemmSpec(m=m, k=160, n=40, digits=digits, sigma=True,
                                           offset=False, group_size=group_size))
        assert plan.spec.slots == planes


@pytest.mark.parametrize("changes, message", [
    ({"m": 0}, "m must be positive, not 0"), ({"k": -1}, "k must be positive, not -1"),
    ({"n": 0}, "n must be positive"), ({"group_size": 0}, "group_size must be positive"),
    ({"digits": ()}, "weights of 0 digits"), ({"digits": ((0, 4),) * 5}, "weights of 5 digits"),
])
def test_specs_that_do_not_run(changes, message):
    good = {"m": 1, "k": 1, "n": 1, "digits": ((0, 4),), "sigma": True, "group_size": 1}
    with pytest.raises(PlanError, match=message):
        GemmSpec(**{**good, **changes})


def test_a_shape_that_fits_no_buffer_names_the_sizes():
    small = PRESETS["tiny"].replace(weight_depth=8, name="small")
    with pytest.raises(PlanError, match="2x4x4 with 4 slices.*machine small.*weight_depth=8"):
        plan_gemm(small, GemmSpec(m=2, k=4, n=4, digits=((0, 4),), sigma=True, group_size=4))


def test_outputs_beyond_the_address_range():
    with pytest.raises(PlanError, match="2 GiB"):
        plan_gemm(PRESETS["ulx3s-85f"], GemmSpec(m=40_000, k=64, n=40_000, digits=((0, 4),),
                                                 sigma=True, group_size=64))


def test_a_slower_memory_does_not_slow_the_peak():
    spec = GemmSpec(m=64, k=256, n=64, digits=((0, 4),), sigma=True, group_size=64)
    plan = plan_gemm(PRESETS["tiny"], spec)
    assert plan.roofline() == plan.roofline(2) == (64 * 256 * 64 / 16, "compute")
    assert plan.roofline(40) == (plan.compulsory_bytes / 4 * 40, "memory")
