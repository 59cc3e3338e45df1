import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import (
    gemm_spec,
    pack_activations,
    pack_weights,
    unpack_outputs,
)
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.sim.verification.random_operands import has_offsets, random_matrix, supported

MACHINES = [PRESETS["tiny"], PRESETS["icebreaker"], PRESETS["ulx3s-12f"]]


TYPES = [name for name in supported(PRESETS["tiny"]) if not name.startswith("bcq")]


@st.composite
def matrices(draw, most=60):
    name = draw(st.sampled_from(TYPES))
    n, k = draw(st.integers(1, most)), draw(st.integers(1, 2 * most))
    group_size = draw(st.one_of(st.just(k), st.integers(max(1, k // 8), k)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random_matrix(PRESETS["tiny"], name, n, k, group_size, rng,
                         asymmetric=has_offsets(name) and draw(st.booleans()))


def slots(plan, packed, qm):
    """Slice words and scales as the array consumes them: for every K-tile and channel the planes
    of each digit and its scale. Reads the stream alone, in the order the engines do."""
    machine = plan.machine
    words = np.frombuffer(packed.weights, dtype=np.uint8).reshape(-1, machine.weight_word_bits // 8)
    halves = np.frombuffer(packed.scales, dtype="<u2").reshape(-1, machine.cols)
    at = scale_at = channel_at = 0
    for channels in plan.tiles:
        for tile in range(plan.k_tiles):
            group = tile // plan.group_tiles
            for sub in range(plan.subs):
                for _, planes, *_ in plan.spec.digits:
                    for channel in range(channels):
                        base = channel_at + (sub * channels + channel) * machine.cols
                        scale = scale_at + ((group * plan.subs + sub) * channels + channel) * (
                            1 + plan.spec.offset)
                        yield tile, base, words[at:at + planes], halves[scale:scale + (
                            1 + plan.spec.offset)]
                        at += planes
        scale_at += plan.scale_words(channels, plan.groups)
        channel_at += channels * plan.tile_width
    assert at == len(words) and scale_at == len(halves) and channel_at == plan.n_padded


def signs(word, tables):
    """Bits of one column's slice to ±1 per activation: relative signs undone from the root."""
    nibbles = [int(word[t // 2]) >> 4 * (t % 2) & 15 for t in range(tables)]
    sign = [nibbles[0] >> 3]
    for t in range(1, tables):
        sign.append(nibbles[t] >> 3 ^ sign[t & (t - 1)])
    return np.array([(1 if i == 3 or nibbles[t] >> i & 1 else -1) * (-1 if sign[t] else 1)
                     for t in range(tables) for i in range(4)])


@settings(max_examples=150, deadline=None)
@given(machine=st.sampled_from(MACHINES), qm=matrices(), m=st.sampled_from([1, 2, 5]))
def test_sizes_are_those_of_the_plan(machine, qm, m):
    plan = plan_gemm(machine, gemm_spec(machine, m, qm))
    packed = pack_weights(plan, qm)
    assert len(packed.weights) == plan.weight_bytes
    assert len(packed.scales) == plan.scale_bytes
    assert packed.correction.shape == (qm.n,) and packed.correction.dtype == np.int64
    acts = np.zeros((m, qm.k_logical), dtype=np.int8)
    assert len(pack_activations(plan, acts)) == plan.act_bytes
    again = pack_weights(plan, qm)
    assert (again.weights, again.scales) == (packed.weights, packed.scales)


@settings(max_examples=40, deadline=None)
@given(machine=st.sampled_from(MACHINES[:2]), qm=matrices(most=14), m=st.sampled_from([1, 3]))
def test_the_stream_gives_the_weights_back(machine, qm, m):
    """Planes of a weight, from the stream, are its value: 2w = sum of c·beta + C."""
    plan = plan_gemm(machine, gemm_spec(machine, m, qm))
    packed = pack_weights(plan, qm)
    k_tile, tables = machine.k_tile, machine.tables
    doubled = np.zeros((plan.n_padded, plan.k_tiles * k_tile), dtype=np.int64)
    seen: dict[tuple[int, int], int] = {}
    for tile, base, words, halves in slots(plan, packed, qm):
        digit = seen.setdefault((tile, base), 0)
        seen[tile, base] += 1
        shift, planes, *_ = plan.spec.digits[digit]
        for column in range(machine.cols):
            total = np.zeros(k_tile, dtype=np.int64)
            for index in range(planes):
                at = slice(column * k_tile // 8, (column + 1) * k_tile // 8)
                total = 2 * total + signs(words[index][at], tables)
            doubled[base + column, tile * k_tile:(tile + 1) * k_tile] += total << shift
            if base + column < qm.n:
                group = tile // plan.group_tiles
                half = int(halves[0][column])
                assert half & 0xFFF == qm.scale_mantissa[base + column, group]
                assert half >> 12 == qm.scale_shift[base + column, group]
                if qm.asymmetric:
                    half = int(halves[1][column])
                    assert half & 0xFFF == qm.offset_mantissa[base + column, group] & 0xFFF
                    assert half >> 12 == qm.offset_shift[base + column, group]
    assert set(seen.values()) == {len(plan.spec.digits)}
    values = qm.weights[:, :qm.k_logical]
    size = min(qm.group_size, qm.k_logical)
    for k in range(qm.k_logical):
        place = (k // size) * plan.group_tiles * k_tile + k % size
        assert (doubled[:qm.n, place] + qm.datatype.correction == 2 * values[:, k]).all()


@settings(max_examples=60, deadline=None)
@given(machine=st.sampled_from(MACHINES), qm=matrices(), m=st.sampled_from([1, 2, 5]),
       seed=st.integers(0, 1000))
def test_activations_stand_where_their_weights_are(machine, qm, m, seed):
    plan = plan_gemm(machine, gemm_spec(machine, m, qm))
    acts = np.random.default_rng(seed).integers(-128, 128, (m, qm.k_logical))
    data = np.frombuffer(pack_activations(plan, acts), dtype=np.int8)
    rows = 1 if plan.row_mode else machine.rows
    lanes = machine.builders * 4
    size = min(qm.group_size, qm.k_logical)
    total = 0
    for row in range(m):
        for k in range(qm.k_logical):
            place = (k // size) * plan.group_tiles * machine.k_tile + k % size
            tile, inside = divmod(place, machine.k_tile)
            step, lane = divmod(inside, lanes)
            word = ((row // rows) * plan.k_tiles + tile) * machine.table_steps + step
            assert data[(word * rows + row % rows) * lanes + lane] == acts[row, k]
            total += 1
    assert np.count_nonzero(data) == np.count_nonzero(acts)  # the rest is padding


def test_outputs_unpack_modulo_2_to_the_32():
    qm = QuantizedMatrix(datatype=DATATYPES["int4"], codes=np.zeros((3, 4), dtype=np.uint8),
                         group_size=4, scale_mantissa=np.ones((3, 1), dtype=np.int16),
                         scale_shift=np.zeros((3, 1), dtype=np.uint8), channel_scale=np.ones(3))
    plan = plan_gemm(PRESETS["tiny"], gemm_spec(PRESETS["tiny"], 2, qm))
    y = np.array([[-(1 << 31), (1 << 31) - 1, 0], [1, -1, 12345]])
    correction = np.array([5, -7, 1 << 40])
    stored = np.full((2, plan.n_padded), 99, dtype=np.int64)
    stored[:, :3] = y + correction
    data = (stored % (1 << 32)).astype("<u4").tobytes()
    assert (unpack_outputs(plan, data, correction) == y).all()


def matrix(name, mantissa, shift, **offset):
    return QuantizedMatrix(
        datatype=DATATYPES[name], codes=np.zeros((2, 4), dtype=np.uint8), group_size=4,
        scale_mantissa=np.full((2, 1), mantissa, dtype=np.int16), channel_scale=np.ones(2),
        scale_shift=np.full((2, 1), shift, dtype=np.uint8),
        **{key: np.full((2, 1), *value) for key, value in offset.items()})


@pytest.mark.parametrize("qm, message", [
    (matrix("int4", 2047, 7), "scale of channel 0, group 0 is 262016 · 2\\^0.*less than 131072"),
    (matrix("int8", 2047, 3), "scale of channel 0, group 0 is 16376 · 2\\^4"),
    (matrix("int4", 1, 0, offset_mantissa=(-2048, np.int16), offset_shift=(6, np.uint8)),
     "offset of channel 0, group 0 is -131072 · 2\\^1"),
])
def test_factors_beyond_the_multiplier(qm, message):
    plan = plan_gemm(PRESETS["tiny"], gemm_spec(PRESETS["tiny"], 2, qm))
    with pytest.raises(PlanError, match=message):
        pack_weights(plan, qm)


def test_activations_of_another_shape():
    plan = plan_gemm(PRESETS["tiny"], gemm_spec(PRESETS["tiny"], 2, matrix("int4", 1, 0)))
    with pytest.raises(ValueError, match=r"\(2, 4\), not \(2, 5\)"):
        pack_activations(plan, np.zeros((2, 5), dtype=np.int8))


@pytest.mark.parametrize("preset", ["tiny", "ulx3s-12f"])
@pytest.mark.parametrize("name", ["int4", "int8", "bitmod4", "bcq2", "ternary"])
@pytest.mark.parametrize("m", [1, 9])
def test_runs_of_tiles_give_the_same_bytes(monkeypatch, preset, name, m):
    machine = PRESETS[preset]
    if name not in supported(machine):
        pytest.skip(f"{preset} does not run {name}")
    rng = np.random.default_rng(5)
    qm = random_matrix(machine, name, 531, 70, 32, rng, asymmetric=name == "int4")
    plan = plan_gemm(machine, gemm_spec(machine, m, qm))
    whole = pack_weights(plan, qm)
    monkeypatch.setattr("bitwright.hw.packing.weight_image.PART", 1)
    assert len(plan.tiles) > 1
    parts = pack_weights(plan, qm)
    assert (parts.weights, parts.scales) == (whole.weights, whole.scales)
    assert (parts.correction == whole.correction).all()
