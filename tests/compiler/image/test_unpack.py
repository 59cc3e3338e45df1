"""The image's layout, read back bit by bit, for every datatype and way to cut a matrix."""

import numpy as np
import pytest

from bitwright.compiler.image.unpacking import unpack_weights
from bitwright.hw.codegen.gemm_program import plan_gemm
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.packing.weight_image import gemm_spec, pack_weights
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix
from bitwright.sim.verification.random_operands import has_offsets, random_matrix, supported

MACHINES = {
    "tiny": PRESETS["tiny"],
    "icebreaker": PRESETS["icebreaker"],
    "k64": Machine(rows=4, cols=4, k_tile=64, builders=4, memory_bits=64),
    "tl2": Machine(rows=2, cols=4, k_tile=24, builders=4, table="tl2"),
    "serial": Machine(pe="serial", k_tile=8, builders=2),
    "mac": Machine(rows=4, cols=4, pe="mac", k_tile=16, builders=4),
}
PAIRS = [(machine, kind) for machine, config in MACHINES.items() for kind in supported(config)]


def read_back(machine, qm, m):
    plan = plan_gemm(machine, gemm_spec(machine, m, qm))
    packed = pack_weights(plan, qm)
    return plan, unpack_weights(plan, qm.datatype, packed.weights, packed.scales,
                                qm.channel_scale)


def assert_same(qm, found):
    """Weights and factors; the layout of planes has no codes, so equal values may differ there."""
    assert found.datatype is qm.datatype
    assert (found.group_size, found.k_logical) == (qm.group_size, qm.k_logical)
    for name in ("effective", "channel_scale", "offset_mantissa", "offset_shift"):
        expected, got = getattr(qm, name), getattr(found, name)
        assert (expected is None and got is None) or np.array_equal(expected, got), name
    assert np.array_equal(found.scale_mantissa, qm.scale_mantissa)
    if qm.plane_shift is None:
        assert np.array_equal(found.scale_shift, qm.scale_shift)
        inside = slice(0, qm.k_logical)
        assert np.array_equal(found.weights[:, inside], qm.weights[:, inside])


@pytest.mark.parametrize("machine, kind", PAIRS)
def test_round_trip(machine, kind):
    rng, config = np.random.default_rng(3), MACHINES[machine]
    for m, n, k, group_size in ((3, 13, 70, 32), (3, 1, 1, 1), (2, 70, 64, 64), (5, 9, 40, 24),
                                (1, 37, 70, 32), (1, 3, 130, 65)):
        for asymmetric in (False, True)[:1 + has_offsets(kind)]:
            qm = random_matrix(config, kind, n, k, group_size, rng, asymmetric=asymmetric)
            plan, found = read_back(config, qm, m)
            assert plan.row_mode == (m == 1 and config.rows > 1)
            assert_same(qm, found)


@pytest.mark.parametrize("machine", ["serial", "mac"])
def test_codes_come_back_where_codes_are_stored(machine):
    config, rng = MACHINES[machine], np.random.default_rng(7)
    for kind in ("fp4_er_neg", "bitmod4", "nf4", "int3"):
        qm = random_matrix(config, kind, 9, 50, 16, rng)
        _, found = read_back(config, qm, 3)
        assert np.array_equal(found.codes[:, :50], qm.codes[:, :50])
        assert (found.select is None and qm.select is None) or np.array_equal(found.select,
                                                                              qm.select)


def test_several_tiles_and_chunks():
    rng = np.random.default_rng(4)
    machine = Machine(weight_depth=256, scale_depth=256, psum_depth=32, out_depth=32)
    qm = random_matrix(machine, "int6", 150, 500, 100, rng, asymmetric=True)
    plan, found = read_back(machine, qm, 3)
    assert len(plan.tiles) > 2 and len(plan.chunks) > 2 and plan.tiles[-1] != plan.tiles[0]
    assert_same(qm, found)


def test_refuses_bytes_of_another_length():
    qm = random_matrix(PRESETS["tiny"], "int4", 4, 16, 16, np.random.default_rng(5))
    plan = plan_gemm(PRESETS["tiny"], gemm_spec(PRESETS["tiny"], 2, qm))
    packed = pack_weights(plan, qm)
    with pytest.raises(ValueError, match="bytes"):
        unpack_weights(plan, qm.datatype, packed.weights[:-1], packed.scales, qm.channel_scale)


def test_refuses_a_code_that_stands_for_nothing():
    qm = random_matrix(PRESETS["tiny"], "int2", 4, 16, 16, np.random.default_rng(6))
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
