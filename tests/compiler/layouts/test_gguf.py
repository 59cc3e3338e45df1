"""GGUF blocks, against their definitions and against the ``gguf`` library."""

import struct

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from bitwright.compiler.layouts.gguf_blocks import GGUF_TYPES, read_gguf
from bitwright.compiler.layouts.native_matrix import hold
from bitwright.models.file_formats.gguf import TYPES, GgufFile
from bitwright.models.file_formats.mapped_file import CheckpointError
from tests.compiler.layouts.build import check_held
from tests.compiler.layouts.test_compressed import FP4

NUMBERS = {name: (number, block, size) for number, (name, block, size) in TYPES.items()}


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_bytes(tensors, metadata=(), alignment=32):
    """``tensors`` maps a name to type, shape (rows first) and bytes; ``metadata`` is pairs of a
    key and the value's bytes with its type before."""
    head, data = b"", b""
    for name, (kind, shape, raw) in tensors.items():
        data += bytes(-len(data) % alignment)
        head += text(name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *shape[::-1])
        head += struct.pack("<IQ", NUMBERS[kind][0] if kind in NUMBERS else kind, len(data))
        data += raw
    keys = b"".join(text(key) + value for key, value in metadata)
    found = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + keys + head
    return found + bytes(-len(found) % alignment) + data


def write_gguf(path, *arguments, **more):
    path.write_bytes(gguf_bytes(*arguments, **more))
    return path


def half(value):
    return struct.pack("<e", value)


def random_blocks(kind, count, seed):
    """Blocks of any bytes whose scales are sane, and which have no digit or exponent that stands
    for nothing."""
    rng = np.random.default_rng(seed)
    print("seed", seed)
    _, _, size = NUMBERS[kind]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    scales = {"Q4_0": (0,), "Q4_1": (0, 2), "Q8_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,),
              "TQ1_0": (52,), "TQ2_0": (64,), "MXFP4": ()}[kind]
    for at in scales:
        values = rng.uniform(0.01, 0.09, (count, 1)) * rng.choice([-1, 1], (count, 1))
        blocks[:, at:at + 2] = values.astype("<f2").view(np.uint8)
    if kind == "MXFP4":
        blocks[:, 0] = rng.integers(115, 125, count)
    if kind == "TQ2_0":
        digits = rng.integers(0, 3, (count, 64, 4), dtype=np.uint8)
        blocks[:, :64] = (digits << np.arange(0, 8, 2, dtype=np.uint8)).sum(axis=2)
    return blocks


@pytest.mark.parametrize("kind", GGUF_TYPES)
def test_against_the_library(tmp_path, kind):
    _, block, size = NUMBERS[kind]
    n, k = 3, 2 * block
    blocks = random_blocks(kind, n * 2, seed=len(kind))
    path = write_gguf(tmp_path / "m.gguf", {"t": (kind, (n, k), blocks.tobytes())})
    with GgufFile(path) as file:
        found = read_gguf(file, "t")
    oracle = dequantize(blocks.reshape(n, 2 * size), GGMLQuantizationType[kind])
    assert oracle.shape == (n, k)
    # The library multiplies in float32; where one product rounds, it is off by that much.
    assert found.dequantize() == pytest.approx(oracle.astype(float), rel=3e-7, abs=1e-6)
    if kind not in ("Q4_1", "Q4_K", "Q6_K"):
        assert (found.dequantize() == oracle).all()
    check_held(found, exact=kind not in ("Q4_1", "Q4_K", "Q6_K"), error=0.05)


def test_q4_0_by_definition(tmp_path):
    """Byte j: element j low, element j + 16 high; w = d·(q - 8). A negative d is common there."""
    q = np.random.default_rng(1).integers(0, 16, 32)
    raw = half(-0.5) + bytes(int(q[j] | q[j + 16] << 4) for j in range(16))
    with GgufFile(write_gguf(tmp_path / "m", {"t": ("Q4_0", (1, 32), raw)})) as file:
        found = read_gguf(file, "t")
    assert found.dequantize()[0].tolist() == [-0.5 * (int(v) - 8) for v in q]
    assert found.codes[0].tolist() == [int(v) ^ 8 for v in q] and found.offset is None
    matrix = hold(found).matrix
    assert (matrix.dequantize() == found.dequantize()).all()
    assert matrix.offset.tolist() == [[1]] and matrix.scale.tolist() == [[1]]


def test_q4_1_and_q8_0_by_definition(tmp_path):
    q = np.random.default_rng(2).integers(0, 16, 32)
    raw = half(0.25) + half(-1.5) + bytes(int(q[j] | q[j + 16] << 4) for j in range(16))
    eight = np.random.default_rng(3).integers(-128, 128, 32)
    tensors = {"a": ("Q4_1", (1, 32), raw),
               "b": ("Q8_0", (1, 32), half(0.125) + struct.pack("<32b", *eight.tolist()))}
    with GgufFile(write_gguf(tmp_path / "m", tensors)) as file:
        a, b = read_gguf(file, "a"), read_gguf(file, "b")
    assert a.dequantize()[0].tolist() == [0.25 * int(v) - 1.5 for v in q]
    assert b.dequantize()[0].tolist() == [0.125 * int(v) for v in eight]
    check_held(a)
    check_held(b)


def test_q4_k_scales_by_definition(tmp_path):
    """Six-bit scale j: low bits of byte j, or for j over 3 a nibble of byte j + 4 and the top two
    bits of byte j - 4. Minimums: bytes 4 on, and the high nibbles."""
    scale, least = [1, 20, 33, 63, 17, 48, 5, 62], [60, 3, 18, 40, 9, 50, 31, 16]
    packed = [0] * 12
    for j in range(8):
        if j < 4:
            packed[j] |= scale[j]
            packed[j + 4] |= least[j]
        else:
            packed[j + 4] |= scale[j] & 15 | (least[j] & 15) << 4
            packed[j - 4] |= scale[j] >> 4 << 6
            packed[j] |= least[j] >> 4 << 6
    q = np.random.default_rng(4).integers(0, 16, 256)
    qs = [int(q[64 * c + j] | q[64 * c + 32 + j] << 4) for c in range(4) for j in range(32)]
    raw = half(0.5) + half(0.25) + bytes(packed) + bytes(qs)
    with GgufFile(write_gguf(tmp_path / "m", {"t": ("Q4_K", (1, 256), raw)})) as file:
        found = read_gguf(file, "t")
    want = [0.5 * scale[i // 32] * int(q[i]) - 0.25 * least[i // 32] for i in range(256)]
    assert found.dequantize()[0].tolist() == want and found.group_size == 32
    check_held(found)


def test_tq1_0_by_definition(tmp_path):
    """Digit i of byte j: weight 32·i + j of the first 160, 16·i + j of the next 80, and 4·i + j of
    the last 16."""
    w = np.random.default_rng(5).integers(-1, 2, 256)

    def byte(digits):
        value = sum(int(d + 1) * 3**(4 - i) for i, d in enumerate(digits))
        return (value * 256 + 242) // 243
    raw = bytes([*(byte([w[32 * i + j] for i in range(5)]) for j in range(32)),
                 *(byte([w[160 + 16 * i + j] for i in range(5)]) for j in range(16)),
                 *(byte([w[240 + 4 * i + j] for i in range(4)]) for j in range(4))]) + half(2.0)
    with GgufFile(write_gguf(tmp_path / "m", {"t": ("TQ1_0", (1, 256), raw)})) as file:
        found = read_gguf(file, "t")
    assert (found.dequantize()[0] == 2 * w).all() and set(found.codes[0].tolist()) == {0, 1, 3}


def test_mxfp4_by_definition(tmp_path):
    """Nibbles by halves, not by pairs."""
    q = np.random.default_rng(6).integers(0, 16, 32)
    raw = bytes([125]) + bytes(int(q[j] | q[j + 16] << 4) for j in range(16))
    with GgufFile(write_gguf(tmp_path / "m", {"t": ("MXFP4", (1, 32), raw)})) as file:
        found = read_gguf(file, "t")
    assert found.dequantize()[0].tolist() == [FP4[v] / 4 for v in q]


@pytest.mark.parametrize("kind, shape, raw, text_", [
    ("F32", (1, 1), bytes(4), "is of type F32, which is not read; Q4_0, Q4_1, Q8_0, Q4_K"),
    ("Q5_K", (1, 256), bytes(176), "is of type Q5_K, which is not read"),
    ("Q4_0", (32,), bytes(18), r"must be a matrix, not of shape \[32\]"),
    ("Q4_0", (1, 32), half(float("nan")) + bytes(16), "has a scale that is not finite"),
    ("TQ2_0", (1, 256), b"\3" * 64 + half(1), "holds the digit 3"),
    ("MXFP4", (1, 32), b"\xff" + bytes(16), "holds the scale 255"),
])
def test_what_is_not_read_is_named(tmp_path, kind, shape, raw, text_):
    with GgufFile(write_gguf(tmp_path / "m", {"t": (kind, shape, raw)})) as file:
        with pytest.raises(CheckpointError, match=f"tensor 't' {text_}"):
            read_gguf(file, "t")
        with pytest.raises(CheckpointError, match="tensor 'u' is missing"):
            read_gguf(file, "u")


def test_metadata(tmp_path):
    numbers = struct.pack("<IIQ3i", 9, 5, 3, 1, 2, 3)
    words = struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc")
    path = write_gguf(tmp_path / "m", {"t": ("F16", (1, 1), half(1))}, [
        ("name", struct.pack("<I", 8) + text("é")), ("list", numbers), ("words", words),
        ("general.alignment", struct.pack("<II", 4, 64)), ("yes", struct.pack("<I?", 7, True)),
        ("eps", struct.pack("<If", 6, 0.5))], alignment=64)
    with GgufFile(path) as file:
        assert file.metadata == {"name": "é", "list": None, "words": None,
                                 "general.alignment": 64, "yes": True, "eps": 0.5}
        assert file.raw("t").tobytes() == half(1) and file.dtype("t") == "F16"


TENSOR = {"t": ("Q4_0", (1, 32), bytes(18))}
WHOLE = gguf_bytes(TENSOR)


@pytest.mark.parametrize("raw, text_", [
    (b"GGUF", "fewer than the 24"), (b"GGML" + WHOLE[4:], "does not begin with GGUF"),
    (WHOLE[:4] + struct.pack("<I", 1) + WHOLE[8:], "GGUF version 1; 2 and 3"),
    (WHOLE[:8] + struct.pack("<Q", 1 << 60) + WHOLE[16:], "few for the 1152921504606846976 ten"),
    (WHOLE[:16] + struct.pack("<Q", 1 << 60) + WHOLE[24:], "few for the 1152921504606846976 met"),
    (WHOLE[:24] + struct.pack("<Q", 1 << 62) + WHOLE[32:], "name must have at most 1024 bytes"),
    (WHOLE[:-1], "of 18 bytes at 0 must lie at a multiple of 32 within the 17 bytes"),
    (gguf_bytes({"t": (5, (1, 32), b"")}), "'t' has the unknown type 5"),
    (gguf_bytes({"t": ("Q4_0", (1, 31), b"")}), "rows of Q4_0 must be multiples of 32, not 31"),
    (gguf_bytes({"t": ("Q4_0", (1 << 60, 32), b"")}), "must lie at a multiple of 32 within"),
    (gguf_bytes({"t": ("Q4_0", (1, 1, 1, 1, 32), b"")}), "must have 1 to 4 dimensions, not 5"),
    (gguf_bytes({"\n": ("Q4_0", (1, 32), bytes(18))}), "must have a name of printable"),
    (gguf_bytes(TENSOR, [("a", struct.pack("<I", 99))]), "metadata 'a' has the unknown type 99"),
    (gguf_bytes(TENSOR, [("a", struct.pack("<IIQ", 9, 0, 1 << 63))]), "runs past the end"),
    (gguf_bytes(TENSOR, [("a", struct.pack("<IIQ", 9, 8, 1 << 63))]), "runs past the end"),
    (gguf_bytes(TENSOR, [("a", struct.pack("<IIQ", 9, 9, 1))]), "an array of arrays"),
    (gguf_bytes(TENSOR, [("a", struct.pack("<IB", 0, 0))] * 2), "has the metadata 'a' twice"),
    (gguf_bytes(TENSOR, [("general.alignment", struct.pack("<II", 4, 12))]), "multiple of 8"),
])
def test_damaged_headers_are_named(tmp_path, raw, text_):
    path = tmp_path / "m.gguf"
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=text_) as caught:
        GgufFile(path)
    assert "\n" not in str(caught.value)
