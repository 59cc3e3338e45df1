"""From scales as stored to the machine's: exact where there is room, and never far off."""

from dataclasses import replace

import numpy as np
import pytest

from bitwright.compiler.layouts.native_matrix import LayoutError, NativeMatrix, hold
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.inference.golden import ACCUMULATOR_MAX, accumulator_bound
from bitwright.models.quantization.groups import ScaleUnderflow


def native(scale, datatype="int4", size=8, seed=0, **more):
    scale = np.array(scale, dtype=np.float64)
    rng = np.random.default_rng(seed)
    dt = DATATYPES[datatype]
    codes = rng.choice(np.array(dt.codes, dtype=np.uint8), (len(scale), scale.shape[1] * size))
    return NativeMatrix(layout="test", datatype=dt, codes=codes, group_size=size, scale=scale,
                        k_logical=codes.shape[1], **more)


def test_halves_are_exact_down_to_the_lowest_bit():
    scale = np.float16([[0.1, 0.07, 0.051], [3.0, 0.0, 1.5]])
    held = hold(native(scale))
    assert held.scale_error == 0 and held.note == ""
    assert (held.matrix.channel_scale[:, None] * held.matrix.scale == scale).all()
    assert held.matrix.scale[1].tolist() == [6, 0, 3] and held.matrix.channel_scale[1] == 0.5


def test_one_scale_of_any_precision_is_exact():
    """A scale that all groups share goes into the channel's float, with 53 bits."""
    third = float(np.float32(1 / 3))
    one = native([[third, third, 0.0]], factor=np.array([0.7]))
    held = hold(one)
    assert held.scale_error == 0 and held.matrix.scale.tolist() == [[1, 1, 0]]
    assert held.matrix.channel_scale[0] == third * 0.7
    moved = hold(replace(one, scale=np.array([[third] * 3]), offset=np.array([[third * -5] * 3])))
    assert moved.matrix.offset.tolist() == [[-5] * 3] and moved.offset_error == 0


def test_singles_round_once_to_eleven_bits():
    scale = np.random.default_rng(1).uniform(0.5, 1, (4, 3)).astype(np.float32)
    held = hold(native(scale))
    found = held.matrix.scale * held.matrix.channel_scale[:, None]
    wanted = np.abs(found / scale - 1).max()
    assert held.scale_error == pytest.approx(wanted) and 0 < wanted <= 2.0**-11
    assert "scales off by" in held.note
    assert (held.matrix.scale_mantissa <= 2047).all()


@pytest.mark.parametrize("shift, top", [(0, 1 << 17), (4, 1 << 13)])
def test_the_multiplier_sets_the_unit(shift, top):
    scale = np.random.default_rng(2).uniform(0.001, 1, (16, 5))
    offset = np.random.default_rng(3).uniform(-4, 4, (16, 5))
    held = hold(native(scale, size=2), digit_shift=shift)
    assert top / 4 < held.matrix.scale.max() < top
    moved = hold(native(scale, size=2, offset=offset), digit_shift=shift)
    assert moved.matrix.scale.max() < top and np.abs(moved.matrix.offset).max() < 1 << 16
    assert moved.offset_error > 0 and "offsets off by" in moved.note


@pytest.mark.parametrize("act_bits", [4, 8, 16])
def test_accumulators_set_the_unit(act_bits):
    scale = np.random.default_rng(4).uniform(0.5, 1, (8, 64))
    matrix = hold(native(scale, size=64), act_bits=act_bits).matrix
    bound = accumulator_bound(matrix, act_bits)
    assert bound.max() <= ACCUMULATOR_MAX
    if act_bits > 4:
        assert bound.min() > ACCUMULATOR_MAX / 4  # no more than needed is given up


def test_a_zero_point_stays_one():
    """Where the scale rounds, the offset is the same multiple of what it rounds to."""
    scale = np.random.default_rng(5).uniform(0.5, 1, (2, 40)).astype(np.float32).astype(float)
    zero = np.random.default_rng(6).integers(-4, 4, (2, 40))
    matrix = hold(native(scale, size=512, offset=scale * zero)).matrix
    small = matrix.scale < 512  # the product fits 12 bits
    assert small.any() and (matrix.offset == matrix.scale * zero)[small].all()


def test_a_scale_too_small_is_told():
    scale = [[1.0, 2.0**-30, 1.0 + 2.0**-10]]
    with pytest.raises(ScaleUnderflow, match="channel 0, group 1") as caught:
        hold(native(scale))
    assert "\n" not in str(caught.value)
    assert hold(native(scale), underflow="flush").matrix.scale[0, 1] == 1


def test_powers_of_two_far_apart_are_exact():
    scale = np.ldexp(1.0, [[0, -16, -3]])
    held = hold(native(scale, "fp4"))
    assert held.scale_error == 0 and held.matrix.scale.tolist() == [[1 << 16, 1, 1 << 13]]
    assert held.matrix.channel_scale[0] == 2.0**-17  # fp4 counts in halves


@pytest.mark.parametrize("datatype", ["int2", "int4", "int8", "ternary", "fp4", "fp8_e4m3"])
def test_negative_scales(datatype):
    found = native([[0.5, -0.25], [-1.0, -0.125]], datatype, seed=7)
    matrix = hold(found).matrix
    assert (matrix.dequantize() == found.dequantize()).all()
    assert matrix.asymmetric == datatype.startswith("int")


def test_negative_scales_of_lopsided_codebooks_are_refused():
    with pytest.raises(LayoutError, match=r"channel 0, group 1 is -1.0; beside nf4"):
        hold(native([[1.0, -1.0]], "nf4"))


def test_all_zero_channels():
    held = hold(native([[0.0, 0.0], [1.0, 2.0]]))
    assert held.matrix.channel_scale.tolist() == [1.0, 1.0]
    assert (held.matrix.dequantize()[0] == 0).all()


def test_columns_say_which_feature():
    columns = np.array([2, 0, -1, 1, 3, -1])
    found = native([[1.0, 3.0]], size=3, columns=columns)
    found = replace(found, k_logical=4)
    real = found.datatype.decode(found.codes)[0]
    assert found.dequantize()[0].tolist() == [real[1], 3 * real[3], real[0], 3 * real[4]]
    assert (hold(found).matrix.dequantize() == found.dequantize()).all()
