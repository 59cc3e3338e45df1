"""Datatypes from files."""

import numpy as np
import pytest

from bitwright.models.datatypes.catalog import datatype
from bitwright.models.quantization.schemes import quantize


def write(tmp_path, text, name="mine.toml"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("values, bits, integers, exponent, planes", [
    ([0, 1, -1], 2, [0, 1, -1], 0, 2),
    ([-1.5, -0.5, 0.5, 1.5], 2, [-3, -1, 1, 3], -1, 2),
    ([0, 12, 20], 2, [0, 3, 5], 2, 4),
    ([127, -127, 0], 2, [127, -127, 0], 0, 8),
    ([0.0078125], 1, [1], -7, 1),
    ([1e300, -1e300], 1, [1, -1], None, 1),
    (list(range(-8, 8)), 4, list(range(-8, 8)), 0, 4),
    ([127 * 2.0**-1074, 0], 1, [127, 0], -1074, 8),
])
def test_values_become_integers(tmp_path, values, bits, integers, exponent, planes):
    if exponent is None:
        values, exponent = [2.0**900, -2.0**900], 900
    dt = datatype(write(tmp_path, f'name = "mine"\nvalues = {values}\n'))
    assert (dt.name, dt.bits, dt.exponent, dt.planes) == ("mine", bits, exponent, planes)
    assert [dt.values[c] for c in dt.codes] == integers
    assert dt.codes == tuple(range(len(values)))
    assert dt.unused == tuple(range(len(values), 1 << bits))
    assert [v * 2.0 ** dt.exponent for v in dt.decode(dt.codes).tolist()] == values


def test_more_bits_than_needed(tmp_path):
    dt = datatype(write(tmp_path, 'name = "a"\nvalues = [1, -1, 0]\nbits = 4\n'))
    assert (dt.bits, dt.codes, len(dt.unused)) == (4, (0, 1, 2), 13)
    with pytest.raises(ValueError, match=r"a at \[0\] .* not 3"):
        dt.decode([3])


def test_it_quantizes(tmp_path):
    path = write(tmp_path, 'name = "a"\nvalues = [-2, -0.5, 0, 0.5, 1]\n')
    w = np.array([[-2, -0.5, 0, 1, 0.5, -2]]) * 3
    qm = quantize(w, path, 3)
    np.testing.assert_allclose(qm.dequantize(), w, rtol=1e-12)
    assert qm.datatype.name == "a" and qm.codes.tolist() == [[0, 1, 2, 4, 3, 0]]


@pytest.mark.parametrize("text, message", [
    ("values = [1]", "name in .* must be letters, digits and underscores, not None"),
    ('name = 3\nvalues = [1]', "name in .* not 3"),
    ('name = "a b"\nvalues = [1]', "name in .* not 'a b'"),
    ('name = "int4"\nvalues = [1]', "name in .* must be a new one, not 'int4'"),
    ('name = "bitmod4"\nvalues = [1]', "must be a new one, not 'bitmod4'"),
    ('name = "a"', "values in .* list of 1 to 16 numbers, not None"),
    ('name = "a"\nvalues = []', r"list of 1 to 16 numbers, not \[\]"),
    ('name = "a"\nvalues = 3', "list of 1 to 16 numbers, not 3"),
    (f'name = "a"\nvalues = {list(range(17))}', "at most 16 numbers, not 17"),
    ('name = "a"\nvalues = [1, 2, 1.0]', "must differ, and 1.0 is there twice"),
    ('name = "a"\nvalues = [0, -0.0]', "must differ, and -0.0 is there twice"),
    ('name = "a"\nvalues = [1, nan]', "must be finite, not nan"),
    ('name = "a"\nvalues = [-inf]', "must be finite, not -inf"),
    ('name = "a"\nvalues = [true]', "must be a number, not True"),
    ('name = "a"\nvalues = ["1"]', "must be a number, not '1'"),
    ('name = "a"\nvalues = [0]', "a value other than 0"),
    ('name = "a"\nvalues = [0.1, 1]', "value 0.1 in .* an integer up to 127 times a power of two "),
    ('name = "a"\nvalues = [1, 128, 3]', "value 128.0 in .* is 1.0"),
    ('name = "a"\nvalues = [0.25, -32]', "value -32.0 in .* is 0.25"),
    ('name = "a"\nvalues = [1, 2, 3]\nbits = 1', "bits in .* 2 to 4 for 3 values, not 1"),
    ('name = "a"\nvalues = [1, 2]\nbits = 5', "bits in .* 1 to 4 for 2 values, not 5"),
    ('name = "a"\nvalues = [1, 2]\nbits = true', "bits in .* not True"),
    ('name = "a"\nvalues = [1, 2]\nbits = 2.0', "bits in .* not 2.0"),
    ('name = "a"\nvalue = [1, 2]', "must hold name, values and bits, not 'value'"),
    ('name = ', "is not TOML"),
    ('name = "a"\nvalues = [1' + "0" * 400 + ', 2]', "value in .* must be within"),
])
def test_refused_files(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as error:
        datatype(path)
    assert path in str(error.value) and "\n" not in str(error.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(ValueError, match="none.toml cannot be read: No such file"):
        datatype(str(tmp_path / "none.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ValueError, match="folder.toml cannot be read: Is a directory"):
        datatype(str(tmp_path / "folder.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="bytes.toml is not TOML"):
        datatype(str(tmp_path / "bytes.toml"))
