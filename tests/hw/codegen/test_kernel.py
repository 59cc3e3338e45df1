"""Programs of GEMMs small enough to write out, and what holds for every program."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.hw.codegen.gemm_program import Regions, gemm_program, plan_gemm, program_bytes
from bitwright.hw.codegen.wavefront import opening_parts
from bitwright.hw.isa.instruction_table import INSTRUCTION_BYTES, LOOP_DEPTH, ProgramError
from bitwright.hw.isa.loop_rerolling import LONGEST_BODY, MOST_REPEATS, rolled
from bitwright.hw.isa.program_tree import Instr, Loop, disassemble, nesting, parse
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import shape_spec
from bitwright.hw.tiling.gemm_spec import GemmSpec, PlanError
from bitwright.hw.tiling.plan_search import candidates
from bitwright.hw.tiling.tile_plan import Plan
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.datatypes.datatype import Datatype

TINY = PRESETS["tiny"]
# Buffers that hold two chunks of one K-tile, 8 K-tiles of activations, 8 psums and 8 outputs.
SMALL = TINY.replace(name="small", weight_depth=32, act_depth=16, scale_depth=16, psum_depth=8,
                     out_depth=8)
MACHINES = [*PRESETS.values(), SMALL,
            Machine(name="wide", rows=4, cols=4, k_tile=32, builders=2, memory_bits=64,
                    weight_depth=512, act_depth=256, scale_depth=256, psum_depth=32, out_depth=32)]
REGIONS = Regions(weights=4096, scales=8192, acts=12288, outputs=16384)


def program_of(machine, **shape):
    plan = plan_gemm(machine, GemmSpec(**{"digits": ((0, 4),), "sigma": True, **shape}))
    return plan, disassemble(program_bytes(gemm_program(plan, REGIONS), machine))


def unindexed(text):
    """A disassembly without its indices."""
    return "".join(f"{line[7:]}\n" for line in text.splitlines())


# ---- written out ----------------------------------------------------------------------------
# Registers: 1, 2 weights in memory and buffer; 3, 4 scales; 5, 6 activations; of exec 7 weights,
# 8 scales, 9 activations, 10 outputs, 13 psums; of store 11 outputs, 12 memory.
#
# 3 tokens, 32 features in 2 groups, 8 channels: 2 token tiles (the other of one row), 2 K-tiles,
# one output tile of 4 channels a column. In beats of 4 bytes: 2 rows of 32 activations are 16; of
# one K-tile, scales are 8 half-words = 4 and weights 8 · 16 half-bytes = 16; a row of outputs is 8.
# A wavefront: with the first half of the weights and the first token tile the first exec starts;
# with the other half the first token tile ends; the second then meets both halves at once. It uses
# psums of its own (4), and activations behind the first tile's (2 words a K-tile).
WAVEFRONT = """\
credit queue=w_free count=32
credit queue=a_free count=200
credit queue=out_free count=16
add reg=1 value=4096
add reg=3 value=8192
add reg=5 value=12288
add reg=12 value=16384
load dram=0+r5 sram=0+r6 beats=16 target=acts wait=1 signal=1
add reg=5 value=64
add reg=6 value=16
load dram=0+r3 sram=0+r4 beats=4 target=scales wait=1
load dram=0+r1 sram=0+r2 beats=16 target=weights signal=1
add reg=3 value=16
add reg=4 value=4
add reg=1 value=64
add reg=2 value=16
load dram=0+r3 sram=0+r4 beats=4 target=scales
load dram=0+r1 sram=0+r2 beats=16 target=weights signal=1
add reg=3 value=16
add reg=4 value=4
add reg=1 value=64
add reg=2 value=16
load dram=0+r5 sram=0+r6 beats=16 target=acts wait=1 signal=1
add reg=5 value=64
add reg=6 value=16
exec w_addr=0+r7 a_addr=0+r9 s_addr=0+r8 psum=0+r13 out=0+r10 tiles=1 channels=4 \
slots0=4 sigma0=1 group_tiles=1 first=1 wait_w=1 wait_a=1
exec w_addr=16+r7 a_addr=2+r9 s_addr=4+r8 psum=0+r13 out=0+r10 tiles=1 channels=4 \
slots0=4 sigma0=1 group_tiles=1 final=1 wait_w=1 wait_out=1 free_a=1 signal_out=1
store dram=0+r12 out=0+r11 stride=32 rows=2 beats=8 wait=1 signal=1
add reg=10 value=4
add reg=11 value=4
add reg=12 value=64
exec w_addr=0+r7 a_addr=4+r9 s_addr=0+r8 psum=4+r13 out=0+r10 tiles=2 channels=4 \
slots0=4 sigma0=1 group_tiles=1 first=1 final=1 wait_a=1 wait_out=1 free_w=1 free_a=1 signal_out=1
store dram=0+r12 out=0+r11 stride=32 rows=1 beats=8 wait=1 signal=1
add reg=10 value=4
add reg=11 value=4
add reg=12 value=32
add reg=9 value=8
add reg=7 value=32
add reg=8 value=8
halt
"""


def test_a_wavefront_written_out():
    plan, text = program_of(TINY, m=3, k=32, n=8, group_size=16)
    assert (plan.chunks, plan.tiles, plan.blocks) == ((2,), (4,), (2,))
    assert unindexed(text) == WAVEFRONT


# 8 tokens, 16 features, 16 channels: 4 token tiles, a K-tile, two output tiles of 8 channels. The
# second step: weights are there, activations stay, so that tokens come in a loop but for the first,
# which takes the weights, and the last, which frees them. A row of 16 outputs is 64 bytes, two rows
# 128; the second output tile starts 32 bytes into the first row, 480 before the end of the tokens.
SECOND_STEP = """\
add reg=9 value=8
add reg=9 value=-8
add reg=7 value=16
add reg=8 value=4
add reg=12 value=-480
exec w_addr=0+r7 a_addr=0+r9 s_addr=0+r8 psum=0+r13 out=0+r10 tiles=1 channels=4 \
slots0=4 sigma0=1 group_tiles=1 first=1 final=1 wait_w=1 wait_out=1 free_a=1 signal_out=1
add reg=9 value=2
store dram=0+r12 out=0+r11 stride=64 rows=2 beats=8 wait=1 signal=1
add reg=10 value=4
add reg=11 value=4
add reg=12 value=128
loop count=2
  exec w_addr=0+r7 a_addr=0+r9 s_addr=0+r8 psum=0+r13 out=0+r10 tiles=1 channels=4 \
slots0=4 sigma0=1 group_tiles=1 first=1 final=1 wait_out=1 free_a=1 signal_out=1
  add reg=9 value=2
  store dram=0+r12 out=0+r11 stride=64 rows=2 beats=8 wait=1 signal=1
  add reg=10 value=4
  add reg=11 value=4
  add reg=12 value=128
end
exec w_addr=0+r7 a_addr=0+r9 s_addr=0+r8 psum=0+r13 out=0+r10 tiles=1 channels=4 \
slots0=4 sigma0=1 group_tiles=1 first=1 final=1 wait_out=1 free_w=1 free_a=1 signal_out=1
add reg=9 value=2
store dram=0+r12 out=0+r11 stride=64 rows=2 beats=8 wait=1 signal=1
add reg=10 value=4
add reg=11 value=4
add reg=12 value=128
add reg=7 value=16
add reg=8 value=4
add reg=12 value=-32
halt
"""


def test_a_second_step_written_out():
    plan, text = program_of(SMALL, m=8, k=16, n=16, group_size=16)
    assert (plan.chunks, plan.tiles, plan.blocks) == ((1,), (4, 4), (4,))
    head, found, _ = unindexed(text).partition(SECOND_STEP)
    assert found
    # The first step: all four token tiles are loaded, used, and stored one by one; none is freed,
    # because the second step needs them again. Both weights are loaded ahead.
    lines = [line for line in head.splitlines() if not line.startswith("add")]
    steps = [line.split(" ")[0] + (" " + line.split("target=")[1].split(" ")[0]
                                   if line.startswith("load") else "") for line in lines]
    assert steps == ["credit", "credit", "credit", "load acts", "load scales", "load weights",
                     "load scales", "load weights", "load acts", "exec", "store", "load acts",
                     "exec", "store", "load acts", "exec", "store", "exec", "store"]
    assert "free_a" not in head and head.count("free_w=1") == 1
    assert [line.split(" ")[2] for line in lines if line.startswith("exec")] == [
        "a_addr=0+r9", "a_addr=2+r9", "a_addr=4+r9", "a_addr=6+r9"]


# One token, 16 features, 32 channels: both rows serve it, 16 channels to an output tile, so that
# activations go to every row, and a store writes two rows of 8 channels, 32 bytes apart.
ROW_MODE = """\
load dram=0+r5 sram=0+r6 beats=4 target=acts broadcast=1 wait=1 signal=1
load dram=0+r3 sram=0+r4 beats=8 target=scales wait=1
load dram=0+r1 sram=0+r2 beats=32 target=weights signal=1
load dram=0+r3 sram=0+r4 beats=8 target=scales wait=1
load dram=0+r1 sram=0+r2 beats=32 target=weights signal=1
exec w_addr=0+r7 a_addr=0+r9 s_addr=0+r8 psum=0+r13 out=0+r10 tiles=1 channels=4 slots0=4 \
sigma0=1 group_tiles=1 row_mode=1 first=1 final=1 wait_w=1 wait_a=1 wait_out=1 free_w=1 signal_out=1
store dram=0+r12 out=0+r11 stride=32 rows=2 beats=8 wait=1 signal=1
exec w_addr=0+r7 a_addr=0+r9 s_addr=0+r8 psum=0+r13 out=0+r10 tiles=1 channels=4 slots0=4 \
sigma0=1 group_tiles=1 row_mode=1 first=1 final=1 wait_w=1 wait_out=1 free_w=1 free_a=1 signal_out=1
store dram=0+r12 out=0+r11 stride=32 rows=2 beats=8 wait=1 signal=1
halt
"""


def test_one_token_written_out():
    plan, text = program_of(TINY, m=1, k=16, n=32, group_size=16)
    assert plan.row_mode and (plan.chunks, plan.tiles, plan.blocks) == ((1,), (4, 4), (1,))
    lines = [line for line in unindexed(text).splitlines()
             if not line.startswith(("credit", "add"))]
    assert "\n".join(lines) + "\n" == ROW_MODE


# ---- the opening ----------------------------------------------------------------------------
def part_plan(machine, k, group_size, chunk, **changes):
    spec = GemmSpec(m=64, k=k, n=8, digits=((0, 4),), sigma=True, group_size=group_size)
    return Plan(**{"machine": machine, "spec": spec, "row_mode": False, "channels": 4,
                   "chunk": chunk, "block": 4, "resident": True, **changes})


@pytest.mark.parametrize("k, group_size, chunk, tiles, expected", [
    (16, 16, 1, 4, (1,)),                          # nothing to cut
    (128, 16, 8, 4, (1, 1, 1, 1, 1, 1, 1, 1)),     # as many as there may be
    (144, 16, 9, 4, (2, 2, 2, 3)),                 # the last takes what is left
    (128, 32, 8, 4, (2, 2, 2, 2)),                 # whole groups
    (128, 128, 8, 4, (8,)),
    (128, 128, 4, 4, (4,)),                        # part of a group
    (1024, 16, 64, 1, (8,) * 8),
])
def test_parts_of_the_opening(k, group_size, chunk, tiles, expected):
    assert opening_parts(part_plan(TINY, k, group_size, chunk), tiles) == expected


def test_parts_of_the_opening_hold_psums_and_activations():
    few_psums = TINY.replace(psum_depth=8)
    assert opening_parts(part_plan(few_psums, 128, 16, 8), 4) == (4, 4)
    assert len(opening_parts(part_plan(few_psums, 128, 16, 8), 1)) == 8
    few_acts = TINY.replace(act_depth=64)   # 4 token tiles of 16 words
    assert opening_parts(part_plan(few_acts, 128, 16, 8), 4) == (2, 2, 2, 2)


# ---- loops ----------------------------------------------------------------------------------
def letter(item):
    return (Instr.make("add", reg=1, value=item),)


def unrolled(nodes):
    for node in nodes:
        if isinstance(node, Loop):
            for _ in range(node.count):
                yield from unrolled(node.body)
        else:
            yield node["value"]


def written(nodes):
    return sum(written(node.body) if isinstance(node, Loop) else 1 for node in nodes)


SEQUENCES = st.one_of(
    st.lists(st.integers(0, 2), max_size=60),
    st.recursive(st.lists(st.integers(0, 3), min_size=1, max_size=3), lambda inner: st.builds(
        lambda parts, times: [x for part in parts for x in part] * times,
        st.lists(inner, min_size=1, max_size=3), st.integers(1, 5)), max_leaves=6))


@settings(max_examples=300, deadline=None)
@given(SEQUENCES)
def test_unrolled_is_what_went_in(items):
    nodes = rolled(items, letter)
    assert list(unrolled(nodes)) == items
    assert written(nodes) <= len(items)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=LONGEST_BODY, unique=True),
       st.integers(2, 9))
def test_a_repeated_sequence_becomes_one_loop(items, times):
    assert rolled(items * times, letter) == [
        Loop(times, tuple(node for item in items for node in letter(item)))]


def test_the_shortest_body_of_the_longest_run():
    assert rolled([1, 1, 1, 1], letter) == [Loop(4, letter(1))]
    assert rolled([1, 2, 1, 2, 2], letter) == [Loop(2, letter(1) + letter(2)), *letter(2)]
    assert rolled([1, 1, 2] * 3, letter) == [Loop(3, (Loop(2, letter(1)), *letter(2)))]
    assert rolled([], letter) == []


def test_loops_nest_no_deeper_than_the_machine_has_room_for():
    deep = letter(1)
    for _ in range(LOOP_DEPTH):
        deep = (Loop(2, deep),)
    assert rolled([1, 1, 2], lambda item: deep) == [*deep, *deep, *deep]
    assert rolled([1, 1], lambda item: deep[0].body) == [Loop(2, deep[0].body)]
    plan = Plan(machine=PRESETS["icebreaker"], row_mode=False, channels=6, chunk=8, block=9,
                resident=False, spec=GemmSpec(m=27, k=2028, n=735, digits=((0, 1),), sigma=False,
                                              group_size=500))
    assert nesting(gemm_program(plan, REGIONS)) == LOOP_DEPTH


def test_more_repetition_than_a_loop_counts():
    nodes = rolled([1] * (MOST_REPEATS + 3), letter)
    assert nodes == [Loop(MOST_REPEATS, letter(1)), Loop(3, letter(1))]


def test_each_item_is_emitted_once():
    seen = []
    rolled([3, 1, 3, 3, 1], lambda item: seen.append(item) or letter(item))
    assert seen == [3, 1]


# ---- every program --------------------------------------------------------------------------
@st.composite
def specs(draw):
    k = draw(st.one_of(st.integers(1, 300), st.sampled_from([512, 768, 1024, 4096])))
    return GemmSpec(
        m=draw(st.one_of(st.just(1), st.integers(1, 70), st.just(999))), k=k,
        n=draw(st.one_of(st.integers(1, 300), st.just(1024))),
        digits=draw(st.sampled_from([((0, 1),), ((0, 4),), ((0, 4), (4, 4))])), sigma=True,
        offset=draw(st.booleans()), group_size=min(k, draw(st.sampled_from([16, 40, 64, 4096]))))


@settings(max_examples=150, deadline=None)
@given(machine=st.sampled_from(MACHINES), spec=specs())
def test_every_program(machine, spec):
    try:
        plans = candidates(machine, spec)
    except PlanError:
        return
    for plan in plans[:4]:
        nodes = gemm_program(plan, REGIONS)
        assert nesting(nodes) <= LOOP_DEPTH
        data = b"".join(map(Instr.encode, linear(nodes)))
        parsed = parse(data)
        assert b"".join(map(Instr.encode, linear(parsed))) == data
        assert [loop.count for loop in loops(parsed)] == [loop.count for loop in loops(nodes)]


def linear(nodes):
    for node in nodes:
        if isinstance(node, Loop):
            yield Instr.make("loop", count=node.count)
            yield from linear(node.body)
            yield Instr.make("end")
        else:
            yield node


def loops(nodes):
    for node in nodes:
        if isinstance(node, Loop):
            yield node
            yield from loops(node.body)


def test_regions_change_only_their_addresses():
    plan = plan_gemm(SMALL, GemmSpec(m=9, k=48, n=24, digits=((0, 4),), sigma=True,
                                     group_size=48))
    moved = Regions(weights=1 << 20, scales=2 << 20, acts=3 << 20, outputs=4 << 20)
    first, second = (list(linear(gemm_program(plan, regions))) for regions in (REGIONS, moved))
    assert [(one["value"], two["value"]) for one, two in zip(first, second, strict=True)
            if one != two] == [(4096, 1 << 20), (8192, 2 << 20), (12288, 3 << 20),
                               (16384, 4 << 20)]
    again = gemm_program(plan, REGIONS)
    assert list(linear(again)) == first


def test_a_program_longer_than_its_buffer():
    plan = plan_gemm(SMALL, GemmSpec(m=9, k=48, n=24, digits=((0, 4),), sigma=True,
                                     group_size=48))
    nodes = gemm_program(plan, REGIONS)
    length = len(list(linear(nodes)))
    assert len(program_bytes(nodes, SMALL)) == length * INSTRUCTION_BYTES
    with pytest.raises(ProgramError, match=f"program of {length} .* program_depth=64"):
        program_bytes(nodes, SMALL.replace(program_depth=64))
    with pytest.raises(PlanError, match="machine small holds 32"):
        plan_gemm(SMALL.replace(program_depth=32), plan.spec)


# ---- the GEMM of a weight type --------------------------------------------------------------
def test_spec_of_a_shape():
    assert shape_spec(TINY, 2, 100, 3, DATATYPES["int8"], 64, True) == GemmSpec(
        m=2, k=100, n=3, digits=((0, 4), (4, 4)), sigma=True, offset=True, group_size=64)
    assert shape_spec(TINY, 2, 100, 3, DATATYPES["int1"], 0, False) == GemmSpec(
        m=2, k=100, n=3, digits=((1, 1),), sigma=False, offset=False, group_size=100)
    assert shape_spec(TINY, 2, 10, 3, DATATYPES["int4"], 64, False).group_size == 10


def test_a_type_that_does_not_run():
    other = Datatype(name="uint2", bits=2, values=(0, 1, 2, 3), coefs=(1, 2))
    with pytest.raises(PlanError, match="uint2 does not run on lut elements.* correction of 3"):
        shape_spec(TINY, 1, 1, 1, other, 0, False)
