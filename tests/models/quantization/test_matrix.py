import numpy as np
import pytest

from bitwright.models.datatypes.catalog import datatype
from bitwright.models.quantization.quantized_matrix import QuantizedMatrix


def fields(**change):
    """Three channels of four int4 weights in groups of two."""
    good = dict(
        datatype=datatype("int4"), group_size=2,
        codes=np.array([[0, 1, 7, 8], [15, 2, 3, 9], [4, 5, 6, 7]], dtype=np.uint8),
        scale_mantissa=np.array([[1, 2], [3, 2047], [0, 5]], dtype=np.int16),
        scale_shift=np.array([[0, 1], [2, 15], [3, 4]], dtype=np.uint8),
        offset_mantissa=np.array([[0, -2048], [2047, 1], [-1, 7]], dtype=np.int16),
        offset_shift=np.array([[15, 0], [1, 2], [3, 15]], dtype=np.uint8),
        channel_scale=np.array([1.0, 0.5, 3.0]))
    return {**good, **change}


def test_properties():
    qm = QuantizedMatrix(**fields())
    assert (qm.n, qm.k, qm.k_logical, qm.groups, qm.asymmetric) == (3, 4, 4, 2, True)
    assert qm.weights.tolist() == [[0, 1, 7, -8], [-1, 2, 3, -7], [4, 5, 6, 7]]
    assert qm.scale.tolist() == [[1, 4], [12, 2047 << 15], [0, 80]]
    assert qm.offset.tolist() == [[0, -2048], [4094, 4], [-8, 7 << 15]]
    assert qm.weights.dtype == qm.scale.dtype == qm.offset.dtype == np.int64


def test_dequantize_follows_the_definition():
    qm = QuantizedMatrix(**fields())
    real = qm.dequantize()
    assert real.dtype == np.float64 and real.shape == (3, 4)
    for n in range(3):
        for k in range(4):
            scale = int(qm.scale_mantissa[n, k // 2]) * 2 ** int(qm.scale_shift[n, k // 2])
            offset = int(qm.offset_mantissa[n, k // 2]) * 2 ** int(qm.offset_shift[n, k // 2])
            value = datatype("int4").values[qm.codes[n, k]]
            assert real[n, k] == qm.channel_scale[n] * (scale * value + offset)


def test_without_offsets():
    qm = QuantizedMatrix(**fields(offset_mantissa=None, offset_shift=None))
    assert not qm.asymmetric
    assert not qm.offset.any() and qm.offset.shape == (3, 2)


def test_padding_is_not_dequantized():
    qm = QuantizedMatrix(**fields(k_logical=3))
    assert qm.dequantize().shape == (3, 3)
    assert not qm.effective[:, 3].any() and qm.effective.shape == (3, 4)


def test_sqnr():
    qm = QuantizedMatrix(**fields())
    exact = qm.dequantize()
    assert qm.sqnr_db(exact) == float("inf")
    noise = np.zeros_like(exact)
    noise[0, 0] = np.sqrt(np.square(exact).sum()) / 100
    assert qm.sqnr_db(exact + noise) == pytest.approx(40, abs=0.01)
    assert qm.sqnr_db(np.zeros_like(exact)) == float("-inf")
    with pytest.raises(ValueError, match=r"original must be \(3, 4\), not \(3, 3\)"):
        qm.sqnr_db(exact[:, :3])


def mixture_fields(**change):
    select = np.array([[0, 1], [2, 3], [3, 0]], dtype=np.uint8)
    codes = np.array([[0, 1, 8, 8], [8, 2, 8, 9], [8, 5, 6, 8]], dtype=np.uint8)
    return fields(**{**dict(datatype=datatype("bitmod4"), select=select, codes=codes), **change})


def plane_fields(**change):
    shift = np.array([[[0, 1], [1, 0]], [[15, 0], [2, 2]], [[3, 4], [0, 0]]], dtype=np.uint8)
    codes = np.array([[0, 1, 2, 3], [1, 2, 3, 0], [3, 2, 1, 0]], dtype=np.uint8)
    return fields(**{**dict(datatype=datatype("bcq2"), plane_shift=shift, codes=codes,
                            scale_shift=np.array([[0, 1], [0, 13], [11, 15]], dtype=np.uint8)),
                     **change})


def test_mixture_weights():
    qm = QuantizedMatrix(**mixture_fields())
    assert qm.weights.tolist() == [[0, 1, 10, 10], [-16, 2, 16, -1], [16, 6, 8, -10]]


def test_plane_weights():
    qm = QuantizedMatrix(**plane_fields())
    assert qm.weights.tolist() == [[-3, -1, -1, 3], [2**15 - 1, 1 - 2**15, 8, -8], [24, 8, 0, -2]]


def test_columns():
    """Feature 1 stands in two columns, feature 2 in none, column 2 is padding."""
    qm = QuantizedMatrix(**fields(columns=np.array([1, 0, -1, 1]), k_logical=3))
    plain = QuantizedMatrix(**fields())
    assert (qm.k, qm.k_logical, qm.features.tolist()) == (4, 3, [1, 0, -1, 1])
    effective = plain.effective.copy()
    effective[:, 2] = 0
    assert np.array_equal(qm.effective, effective)
    by_feature = np.stack([effective[:, 1], effective[:, 0] + effective[:, 3], np.zeros(3)], axis=1)
    assert np.array_equal(qm.dequantize(), qm.channel_scale[:, None] * by_feature)
    assert qm.sqnr_db(qm.dequantize()) == float("inf")
    a = np.array([[5, 6, 7], [1, 2, 3]], dtype=np.int8)
    assert qm.gather(a).tolist() == [[6, 5, 0, 6], [2, 1, 0, 2]] and qm.gather(a).dtype == np.int8
    with pytest.raises(ValueError, match=r"activations must be \[M, 3\], not \(2, 4\)"):
        qm.gather(np.zeros((2, 4)))


def test_columns_by_default():
    qm = QuantizedMatrix(**fields(k_logical=3))
    assert qm.columns is None and qm.features.tolist() == [0, 1, 2, -1]
    assert qm.gather(np.array([[5, 6, 7]])).tolist() == [[5, 6, 7, 0]]
    free = QuantizedMatrix(**fields(columns=np.array([2, 7, -1, 0])))
    assert free.k_logical == 8 and free.dequantize().shape == (3, 8)


@pytest.mark.parametrize("make, change, error, message", [
    (mixture_fields, dict(select=None), ValueError, "select must be given for mixture bitmod4"),
    (mixture_fields, dict(select=np.zeros((3, 2), np.int64)), TypeError, "array of uint8"),
    (mixture_fields, dict(select=np.zeros((3, 4), np.uint8)), ValueError,
     r"select must be \(3, 2\), not \(3, 4\)"),
    (mixture_fields, dict(select=np.full((3, 2), 4, np.uint8)), ValueError,
     r"select at \[0, 0\] must be 0...3, not 4"),
    (mixture_fields, dict(codes=np.full((3, 4), 16, np.uint8)), ValueError, "not 16"),
    (mixture_fields, dict(plane_shift=np.zeros((3, 2, 6), np.uint8)), ValueError,
     "plane_shift must be None for bitmod4"),
    (fields, dict(select=np.zeros((3, 2), np.uint8)), ValueError,
     "select must be None for int4, which is no mixture"),
    (fields, dict(plane_shift=np.zeros((3, 2, 4), np.uint8)), ValueError,
     "plane_shift must be None for int4"),
    (plane_fields, dict(plane_shift=None), ValueError, "plane_shift must be given for bcq2"),
    (plane_fields, dict(plane_shift=np.zeros((3, 2, 3), np.uint8)), ValueError,
     r"plane_shift must be \(3, 2, 2\), not \(3, 2, 3\)"),
    (plane_fields, dict(plane_shift=np.zeros((3, 2, 2), np.int16)), TypeError, "array of uint8"),
    (plane_fields, dict(plane_shift=np.full((3, 2, 2), 16, np.uint8)), ValueError,
     r"plane_shift at \[0, 0, 0\] must be 0...15, not 16"),
    (plane_fields, dict(scale_shift=np.array([[0, 0], [0, 14], [0, 0]], np.uint8)), ValueError,
     r"scale_shift \+ plane_shift at \[1, 1, 0\] must be at most 15, not 16"),
    (fields, dict(columns=np.arange(4, dtype=np.int32)), TypeError, "columns .* of int64"),
    (fields, dict(columns=[0, 1, 2, 3]), TypeError, "columns must be an array of int64, not list"),
    (fields, dict(columns=np.arange(3)), ValueError, r"columns must be \(4,\), not \(3,\)"),
    (fields, dict(columns=np.arange(4), k_logical=3), ValueError,
     r"columns at \[3\] must be -1...2, not 3"),
    (fields, dict(columns=np.array([0, -2, 1, 1])), ValueError, r"columns at \[1\] .* not -2"),
    (fields, dict(columns=np.full(4, -1)), ValueError, "k_logical must be positive, not 0"),
])
def test_checks_its_forms(make, change, error, message):
    QuantizedMatrix(**make())
    with pytest.raises(error, match=message):
        QuantizedMatrix(**make(**change))


def put(name, at, value):
    array = fields()[name].copy()
    array[at] = value
    return {name: array}


@pytest.mark.parametrize("change, error, message", [
    (put("codes", (1, 2), 16), ValueError, r"int4 at \[1, 2\] .* not 16"),
    (put("scale_mantissa", (0, 1), -1), ValueError,
     r"scale_mantissa at \[0, 1\] must be 0...2047, not -1"),
    (put("scale_mantissa", (2, 0), 2048), ValueError, "must be 0...2047, not 2048"),
    (put("scale_shift", (2, 0), 16), ValueError, "scale_shift .* must be 0...15, not 16"),
    (put("offset_mantissa", (2, 0), -2049), ValueError, "must be -2048...2047, not -2049"),
    (put("offset_mantissa", (2, 0), 2048), ValueError, "must be -2048...2047, not 2048"),
    (put("offset_shift", (2, 0), 16), ValueError, "offset_shift .* must be 0...15, not 16"),
    (put("channel_scale", 1, 0.0), ValueError, r"at \[1\] must be positive and finite, not 0.0"),
    (put("channel_scale", 1, np.nan), ValueError, "must be positive and finite, not nan"),
    (put("channel_scale", 1, np.inf), ValueError, "must be positive and finite, not inf"),
    (dict(group_size=3), ValueError, "group_size must divide K = 4, not 3"),
    (dict(group_size=0), ValueError, "group_size must divide K = 4, not 0"),
    (dict(k_logical=2), ValueError, "k_logical must be 3...4, .* not 2"),
    (dict(k_logical=5), ValueError, "k_logical must be 3...4, .* not 5"),
    (dict(k_logical=0), ValueError, "not 0"),
    (dict(offset_shift=None), ValueError, "both given or both None"),
    (dict(codes=np.zeros((3, 4), int)), TypeError, "codes must be an array of uint8, not int64"),
    (dict(codes=[[0]]), TypeError, "codes must be an array of uint8, not list"),
    (dict(codes=np.zeros(4, np.uint8)), ValueError, r"must be \[N, K\], both positive"),
    (dict(codes=np.zeros((0, 4), np.uint8)), ValueError, r"must be \[N, K\], both positive"),
    (dict(scale_mantissa=np.ones((3, 2))), TypeError, "must be an array of int16, not float64"),
    (dict(scale_shift=[1]), TypeError, "must be an array of uint8, not list"),
    (dict(scale_mantissa=np.ones((3, 4), np.int16)), ValueError,
     r"scale_mantissa must be \(3, 2\), not \(3, 4\)"),
    (dict(channel_scale=np.ones(3, np.float32)), TypeError, "must be float64, not float32"),
    (dict(channel_scale=np.ones(2)), ValueError, r"channel_scale must be \(3,\), not \(2,\)"),
])
def test_checks_itself(change, error, message):
    QuantizedMatrix(**fields())
    with pytest.raises(error, match=message):
        QuantizedMatrix(**fields(**change))


def test_unused_code_is_refused():
    with pytest.raises(ValueError, match="code of ternary"):
        QuantizedMatrix(**fields(datatype=datatype("ternary"), **put("codes", (0, 0), 2)))
