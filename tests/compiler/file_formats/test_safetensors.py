import json
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from bitwright.compiler.file_formats.safetensors import MAX_HEADER, SafetensorsFile
from bitwright.models.file_formats.mapped_file import CheckpointError


def encode(header, data=b""):
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def entry(dtype="F32", shape=(1,), data_offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(data_offsets)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def refuses(path):
    """The file is refused with a one-line message that names it and holds all of `words`."""
    def check(raw, *words, read=None):
        path.write_bytes(raw)
        with pytest.raises(CheckpointError) as caught:
            with SafetensorsFile(path) as file:
                file.read(read)
        message = str(caught.value)
        assert "\n" not in message and len(message) < 700 and message.isprintable()
        for word in (str(path), *words):
            assert word in message
    return check


def test_reads_what_the_library_writes(path):
    rng = np.random.default_rng(seed=1)
    arrays = {
        "matrix": rng.standard_normal((3, 5)).astype(np.float32),
        "half": rng.standard_normal((2, 3, 4)).astype(np.float16),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 7), np.float32),
        "integers": np.arange(6, dtype=np.int64),
    }
    save_file(arrays, path, metadata={"format": "np"})
    with SafetensorsFile(path) as file:
        assert set(file.names) == set(arrays)
        assert file.metadata == {"format": "np"}
        read = {name: file.read(name) for name in arrays if name != "integers"}
        assert file.dtype("integers") == "I64"
        assert file.shape("half") == (2, 3, 4)
    for name, array in read.items():
        assert array.dtype == np.float32
        assert array.shape == arrays[name].shape
        np.testing.assert_array_equal(array, arrays[name].astype(np.float32))
    read["matrix"][0, 0] = 1  # its own memory, alive after the file is closed


@pytest.mark.parametrize("dtype, stored", [("F16", np.float16), ("BF16", ml_dtypes.bfloat16)])
def test_every_16_bit_code(path, dtype, stored):
    codes = np.arange(1 << 16, dtype=np.uint16)
    path.write_bytes(encode({"t": entry(dtype, [256, 256], [0, 1 << 17])}, codes.tobytes()))
    with SafetensorsFile(path) as file:
        read = file.read("t")
    np.testing.assert_array_equal(read.ravel(), codes.view(stored).astype(np.float32))
    if dtype == "BF16":  # the upper half of a float32, so the codes themselves must come back
        finite = np.isfinite(read.ravel())
        np.testing.assert_array_equal(read.ravel().view(np.uint32)[finite] >> 16, codes[finite])


@pytest.mark.parametrize("pad", range(4))
def test_unaligned_data_and_padded_header(path, pad):
    header = json.dumps({"t": entry(shape=[2], data_offsets=[0, 8])}).encode() + b" " * pad
    path.write_bytes(encode(header, struct.pack("<2f", 1.5, -3)))
    with SafetensorsFile(path) as file:
        assert file.read("t").tolist() == [1.5, -3]


def test_header_alone(path):
    path.write_bytes(encode({}))
    with SafetensorsFile(path) as file:
        assert file.names == ()


def test_order_in_the_header_is_free(path):
    path.write_bytes(encode({"b": entry(data_offsets=[4, 8]), "z": entry(shape=[0],
                             data_offsets=[4, 4]), "a": entry()}, struct.pack("<2f", 1, 2)))
    with SafetensorsFile(path) as file:
        assert file.names == ("a", "z", "b")
        assert file.read("b").tolist() == [2]


@pytest.mark.parametrize("raw", [b"", b"\x01", bytes(7)])
def test_shorter_than_a_length(refuses, raw):
    refuses(raw, f"{len(raw)} bytes", "cut short")


def test_header_length(refuses):
    refuses(struct.pack("<Q", 1000) + b"{}", "1000", "2 follow")
    refuses(struct.pack("<Q", MAX_HEADER + 1) + b"{}", str(MAX_HEADER), str(MAX_HEADER + 1))
    refuses(b"\xff" * 16, str(2**64 - 1))


@pytest.mark.parametrize("header, word", [
    (b"", "not JSON"), (b"{", "not JSON"), (b"\xff\xfe{}", "not JSON"), (b"{}x", "not JSON"),
    (b"[]", "JSON object"), (b"null", "JSON object"), (b'{"a": NaN}', "NaN"),
    (b'{"a": -Infinity}', "-Infinity"), (b'{"a": 1, "a": 2}', "'a' twice"),
    (b'{"a": {"dtype": "F32", "dtype": "F16"}}', "'dtype' twice"),
    (b"[" * 100_000, "nested"), (b'{"a":' * 100_000, "nested"),
    (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
])
def test_header_is_strict_json(refuses, header, word):
    refuses(encode(header), "header", word)


@pytest.mark.parametrize("metadata", [1, [], {"a": 1}, {"a": None}])
def test_metadata(refuses, metadata):
    refuses(encode({"__metadata__": metadata}), "__metadata__")


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "x" * 1025, "\ud800", "\x1b[31m"])
def test_names(refuses, name):
    refuses(encode({name: entry()}, bytes(4)), "tensor name", f"({len(name)})")


@pytest.mark.parametrize("info", [None, 1, "F32", [], {}, {"dtype": "F32"},
                                  {"dtype": "F32", "shape": [1]}])
def test_entry_is_whole(refuses, info):
    refuses(encode({"t": info}, bytes(4)), "tensor 't'")


@pytest.mark.parametrize("dtype", ["f32", "F128", "", None, 1, ["F32"]])
def test_unknown_dtype(refuses, dtype):
    refuses(encode({"t": entry(dtype)}, bytes(4)), "tensor 't'", "unknown dtype", "BF16")


@pytest.mark.parametrize("dtype", ["I8", "U8", "I32", "F8_E4M3", "F8_E5M2", "I64", "BOOL"])
def test_known_dtype_that_is_not_read(refuses, dtype):
    refuses(encode({"t": entry(dtype, [8], [0, 8 * {"I32": 4, "I64": 8}.get(dtype, 1)])},
                   bytes(8 * {"I32": 4, "I64": 8}.get(dtype, 1))),
            f"dtype {dtype} of tensor 't' is not read; F32, F16 and BF16 are", read="t")


@pytest.mark.parametrize("shape", [[-1], [True], [1.0], ["1"], [None], [[1]], 1, None, "1",
                                   [1] * 17, [2**70], [10**4000], [2**32, 2**32], [2], [],
                                   [0, 2**61], [0]])
def test_bad_shape(refuses, shape):
    offsets = [0, 0] if shape == [0, 2**61] else [0, 8]
    refuses(encode({"t": {"dtype": "F64" if shape == [2] else "F32", "shape": shape,
                          "data_offsets": offsets}}, bytes(offsets[1])), "tensor 't'")


@pytest.mark.parametrize("shape", [[True], [1.0], [-1, -1], ["1"], None, True])
def test_shape_of_the_right_size_but_the_wrong_kind(refuses, shape):
    refuses(encode({"t": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}, bytes(4)),
            "tensor 't'", "shape must be a list of integers")


@pytest.mark.parametrize("offsets", [[False, 4], [-4, 0], [0], [0, 4, 8], [0.0, 4.0], [True, 5],
                                     ["0", "4"], None, 4, {}, [4, 0], [4, 8], [0, 2**64],
                                     [0, 10**4000], [2**64, 2**64 + 4]])
def test_bad_offsets(refuses, offsets):
    refuses(encode({"t": {"dtype": "F32", "shape": [1], "data_offsets": offsets}}, bytes(4)),
            "tensor 't'", "data_offsets")


@pytest.mark.parametrize("second, size, word", [
    ([2, 6], 6, "overlaps"), ([0, 4], 4, "overlaps"), ([8, 12], 12, "gap"),
])
def test_tensors_lie_side_by_side(refuses, second, size, word):
    refuses(encode({"a": entry(), "b": entry(data_offsets=second)}, bytes(size)), "'b'", word)


def test_bytes_before_and_after(refuses):
    refuses(encode({"t": entry(data_offsets=[4, 8])}, bytes(8)), "'t'", "gap")
    refuses(encode({"t": entry()}, bytes(5)), "appended", "5 are there")
    refuses(encode({"t": entry()}, bytes(3)), "cut short")


def test_what_is_no_file(tmp_path, refuses):
    for path in (tmp_path, tmp_path / "absent", "/dev/null", "a\0b"):
        with pytest.raises(CheckpointError):
            SafetensorsFile(path)


def test_unknown_name(path):
    path.write_bytes(encode({}))
    with SafetensorsFile(path) as file, pytest.raises(KeyError):
        file.read("t")


VALID = encode({"__metadata__": {"format": "pt"}, "ab": entry("BF16", [2, 2], [0, 8]),
                "c": entry("F16", [3], [8, 14]), "d": entry("F32", [], [14, 18])}, bytes(18))
MUTATION = st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 3),
                     st.one_of(st.binary(min_size=1, max_size=3),
                               st.sampled_from([b"-1", b"9" * 30, b"[", b"}", b'"', b"\0", b"1e3",
                                                b"true", b'"c"', b"I64", b"\xff" * 8])))


@settings(max_examples=600, deadline=None)
@given(mutations=st.lists(MUTATION, min_size=1, max_size=3), keep=st.integers(0, len(VALID) + 8),
       truncate=st.booleans(), relength=st.booleans())
def test_any_damage_is_refused_or_read(tmp_path_factory, mutations, keep, truncate, relength):
    raw, body = VALID, len(VALID) - 18
    for at, cut, insert in mutations:
        raw = raw[:at] + insert + raw[at + cut:]
    if relength:  # the damage goes past the length field, so that it reaches the header's checks
        raw = struct.pack("<Q", max(0, body - 8 + len(raw) - len(VALID))) + raw[8:]
    if truncate:
        raw = raw[:keep]
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(raw)
    try:
        with SafetensorsFile(path) as file:
            for name in file.names:
                array = file.read(name)
                assert array.dtype == np.float32 and array.shape == file.shape(name)
    except CheckpointError as error:
        assert "\n" not in str(error)


@settings(max_examples=300, deadline=None)
@given(header=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from(["F32", "F16", "dtype"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["dtype", "shape", "data_offsets", "t", "__metadata__"]), inner)))
def test_any_json_is_refused_or_read(tmp_path_factory, header):
    path = tmp_path_factory.getbasetemp() / "json.safetensors"
    path.write_bytes(encode({"t": header}, bytes(4)))
    try:
        SafetensorsFile(path).close()
    except CheckpointError as error:
        assert "\n" not in str(error)
