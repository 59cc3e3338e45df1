"""The image's layout, read back bit by bit, for every datatype and way to cut a matrix."""

import numpy as np
import pytest

from compiler.unpack import unpack_weights
from hw.config import PRESETS, Machine
from hw.kernel import plan_gemm
from hw.pack import gemm_spec, pack_weights
from models.formats import DATATYPES
from models.matrix import QuantizedMatrix

MACHINES = {
    "tiny": PRESETS["tiny"],
    "icebreaker": PRESETS["icebreaker"],
    "k64": Machine(rows=4, cols=4, k_tile=64, builders=4, memory_bits=64),
}


def random_matrix(rng, kind, n, k, group_size, asymmetric):
    """Codes, mantissas and shifts over their whole ranges, as far as the multiplier takes them."""
    groups = -(-k // group_size)
    dt = DATATYPES[kind]
    codes = rng.choice(np.array(dt.codes), (n, groups * group_size))
    codes = dt.encode(dt.decode(codes))  # one code per value: the layout has no minus zero
    codes[:, k:] = dt.encode(0) if dt.has_zero else 0

    def draw(low, high, dtype):
        return rng.integers(low, high, (n, groups), dtype=dtype)

    return QuantizedMatrix(
        datatype=dt, codes=codes, group_size=group_size, k_logical=k,
        scale_mantissa=draw(0, 2048, np.int16), scale_shift=draw(0, 2, np.uint8),
        channel_scale=rng.uniform(0.5, 2, n),
        offset_mantissa=draw(-2048, 2048, np.int16) if asymmetric else None,
        offset_shift=draw(0, 5, np.uint8) if asymmetric else None)


def read_back(machine, qm, m):
    plan = plan_gemm(machine, gemm_spec(machine, m, qm))
    packed = pack_weights(plan, qm)
    return plan, unpack_weights(plan, qm.datatype, packed.weights, packed.scales,
                                qm.channel_scale)


def assert_same(qm, found):
    assert found.datatype is qm.datatype
    assert (found.group_size, found.k_logical) == (qm.group_size, qm.k_logical)
    for name in ("codes", "scale_mantissa", "scale_shift", "channel_scale", "offset_mantissa",
                 "offset_shift"):
        expected, got = getattr(qm, name), getattr(found, name)
        assert (expected is None and got is None) or np.array_equal(expected, got), name


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", DATATYPES)
@pytest.mark.parametrize("asymmetric", [False, True], ids=["symmetric", "asymmetric"])
def test_round_trip(machine, kind, asymmetric):
    rng = np.random.default_rng(3)
    for m, n, k, group_size in ((3, 13, 70, 32), (3, 1, 1, 1), (2, 70, 64, 64), (5, 9, 40, 24),
                                (1, 37, 70, 32), (1, 3, 130, 65)):
        qm = random_matrix(rng, kind, n, k, group_size, asymmetric)
        plan, found = read_back(MACHINES[machine], qm, m)
        assert plan.row_mode == (m == 1 and MACHINES[machine].rows > 1)
        assert_same(qm, found)


def test_several_tiles_and_chunks():
    rng = np.random.default_rng(4)
    qm = random_matrix(rng, "int6", 150, 500, 100, True)
    machine = Machine(weight_depth=256, scale_depth=256, psum_depth=32, out_depth=32)
    plan, found = read_back(machine, qm, 3)
    assert len(plan.tiles) > 2 and len(plan.chunks) > 2 and plan.tiles[-1] != plan.tiles[0]
    assert_same(qm, found)


def test_refuses_bytes_of_another_length():
    qm = random_matrix(np.random.default_rng(5), "int4", 4, 16, 16, False)
    plan = plan_gemm(PRESETS["tiny"], gemm_spec(PRESETS["tiny"], 2, qm))
    packed = pack_weights(plan, qm)
    with pytest.raises(ValueError, match="bytes"):
        unpack_weights(plan, qm.datatype, packed.weights[:-1], packed.scales, qm.channel_scale)


def test_refuses_a_code_that_stands_for_nothing():
    qm = random_matrix(np.random.default_rng(6), "int2", 4, 16, 16, False)
    codes = qm.codes.copy()
    codes[2, 5] = 2
    qm = QuantizedMatrix(
        datatype=qm.datatype, codes=codes, group_size=16, scale_mantissa=qm.scale_mantissa,
        scale_shift=qm.scale_shift, channel_scale=qm.channel_scale)
    plan = plan_gemm(PRESETS["tiny"], gemm_spec(PRESETS["tiny"], 2, qm))
    packed = pack_weights(plan, qm)
    assert_same(qm, unpack_weights(plan, qm.datatype, packed.weights, packed.scales,
                                   qm.channel_scale))
    with pytest.raises(ValueError, match="of ternary"):
        unpack_weights(plan, DATATYPES["ternary"], packed.weights, packed.scales,
                       qm.channel_scale)
