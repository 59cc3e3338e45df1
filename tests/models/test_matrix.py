import numpy as np
import pytest

from models.formats import datatype
from models.matrix import QuantizedMatrix


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
