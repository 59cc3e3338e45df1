"""Whatever is in a file: a matrix, or one clear line. Never another error, never much memory."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitwright.compiler.file_formats.safetensors import SafetensorsFile
from bitwright.compiler.file_formats.sharded_safetensors import INDEX, ShardedFile
from bitwright.compiler.layouts import layout_of
from bitwright.compiler.layouts.gguf_blocks import read_gguf
from bitwright.compiler.layouts.native_matrix import LayoutError, hold
from bitwright.models.file_formats.gguf import GgufFile
from bitwright.models.file_formats.mapped_file import CheckpointError
from bitwright.models.quantization.groups import ScaleUnderflow
from tests.compiler.layouts import test_awq, test_bitnet, test_blocks, test_compressed, test_gptq
from tests.compiler.layouts.build import write_safetensors
from tests.compiler.layouts.test_gguf import gguf_bytes, random_blocks

ROOM = 4_000_000  # bytes, for files of a few thousand
FUZZ = settings(max_examples=60, deadline=2000, derandomize=True,
                suppress_health_check=list(HealthCheck))


def cases():
    """Settings, tensors, shape and module of one layer per layout."""
    w = np.random.default_rng(0).integers(-1, 2, (8, 16))
    g_idx = np.random.default_rng(0).permutation([i // 32 for i in range(64)]).tolist()
    gptq = test_gptq.CONFIG
    packed = {"m.weight_packed": ("I32", [[0x12345678, 0x7FFFFFFF]] * 8),
              "m.weight_scale": ("F16", np.full((8, 2), 0.5)),
              "m.weight_zero_point": ("I32", [[1, 2]])}
    nv = {"m.weight_packed": ("U8", [list(range(16))] * 4),
          "m.weight_scale": ("F8_E4M3", [[8, 9]] * 4), "m.weight_global_scale": ("F32", [3.0])}
    return {
        "gptq": (gptq, test_gptq.made(4, 8, 64, 32, 0, g_idx=g_idx)[0], 8, 64, "m"),
        "gptq3": (gptq | {"bits": 3}, test_gptq.made(3, 32, 32, 32, 0)[0], 32, 32, "m"),
        "awq": (test_awq.CONFIG, test_awq.made(8, 64, 32, 0)[0], 8, 64, "m"),
        "packed": (test_compressed.packed(4, group_size=8), packed, 8, 16, "m"),
        "nvfp4": (test_compressed.config("nvfp4-pack-quantized", num_bits=4, type="float"),
                  nv, 4, 32, "m"),
        "bitnet": (test_bitnet.CONFIG, {"m.weight": test_bitnet.packed(w),
                                        "m.weight_scale": ("F32", [0.5])}, 8, 16, "m"),
        "mxfp4": ({"quant_method": "mxfp4"}, test_blocks.oss()[0], 3, 64, "x.up.1"),
        "nf4": (test_blocks.BNB, test_blocks.nf4(3, 96, nested=True)[0], 3, 96, "m"),
        "fp8": (test_blocks.FP8, test_blocks.fp8(8, 32)[0], 8, 32, "m"),
    }


CASES = cases()


@st.composite
def damage(draw, raw):
    """``raw`` cut, with some bytes changed, or with a piece moved."""
    data = bytearray(raw)
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        at = draw(st.integers(0, max(len(data) - 8, 0)))
        data[at:at + 8] = struct.pack("<Q", draw(st.sampled_from(
            [0, 1, 255, 1 << 31, 1 << 32, 1 << 60, (1 << 64) - 1])))
    cut = draw(st.integers(0, len(data))) if draw(st.integers(0, 3)) == 0 else len(data)
    return bytes(data[:cut])


def attempt(action):
    """Run; anything but the two outcomes allowed fails."""
    tracemalloc.start()
    try:
        found = action()
        values = found.dequantize()
        assert values.shape == (len(found.codes), found.k_logical) and np.isfinite(values).all()
        hold(found, underflow="flush")
    except (CheckpointError, LayoutError, ScaleUnderflow) as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < ROOM, peak


@pytest.mark.parametrize("name", CASES)
def test_damaged_files(tmp_path, name):
    settings_, tensors, n, k, module = CASES[name]
    path = write_safetensors(tmp_path / "model.safetensors", tensors)
    raw = path.read_bytes()
    layout = layout_of({"quantization_config": settings_})

    def action():
        with SafetensorsFile(path) as file:
            return layout.read(file, module, n, k)

    attempt(action)

    @FUZZ
    @given(damage(raw))
    def test(data):
        path.write_bytes(data)
        attempt(action)
    test()


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 1 << 40), st.floats(), st.text(max_size=8),
    st.sampled_from([[], {}, "gptq", "gemm", 3, 4, 8, 128, [128, 128], [1 << 90, 1],
                     {"weights": {}}, "bitlinear", "online"]))


@pytest.mark.parametrize("name", CASES)
def test_damaged_settings(tmp_path, name):
    settings_, tensors, n, k, module = CASES[name]
    path = write_safetensors(tmp_path / "model.safetensors", tensors)
    keys = st.sampled_from([*settings_, "group_size", "bits", "version", "dynamic", "format",
                            "config_groups", "weight_block_size", "sparsity_config"])
    inner = ["num_bits", "type", "group_size", "strategy", "block_structure"]

    @FUZZ
    @given(st.dictionaries(keys, VALUES, max_size=2),
           st.dictionaries(st.sampled_from(inner), VALUES, max_size=2))
    def test(change, weights):
        config = json.loads(json.dumps(settings_)) | change
        if weights and isinstance(config.get("config_groups"), dict):
            config["config_groups"] = {"g": {"weights": {"num_bits": 4, "type": "int", **weights}}}

        def action():
            layout = layout_of({"quantization_config": config})
            with SafetensorsFile(path) as file:
                return layout.read(file, module, n, k)
        attempt(action)
    test()


def test_damaged_index(tmp_path):
    settings_, tensors, n, k, module = CASES["awq"]
    write_safetensors(tmp_path / "a.safetensors", tensors)
    path = tmp_path / INDEX
    raw = json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, "a.safetensors")})

    @FUZZ
    @given(damage(raw.encode()))
    def test(data):
        path.write_bytes(data)

        def action():
            with ShardedFile(path) as file:
                return layout_of({"quantization_config": settings_}).read(file, module, n, k)
        attempt(action)
    test()


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_K", "TQ1_0", "TQ2_0", "MXFP4"])
def test_damaged_gguf(tmp_path, kind):
    text = struct.pack("<IIQQ1sQ1s", 9, 8, 2, 1, b"a", 1, b"b")
    block = 32 if kind in ("Q4_0", "MXFP4") else 256
    raw = gguf_bytes({"t": (kind, (2, block), random_blocks(kind, 2, 0).tobytes())},
                     [("words", text), ("n", struct.pack("<If", 6, 1.0))])
    path = tmp_path / "m.gguf"

    @FUZZ
    @given(damage(raw))
    def test(data):
        path.write_bytes(data)

        def action():
            with GgufFile(path) as file:
                return read_gguf(file, "t")
        attempt(action)
    test()
