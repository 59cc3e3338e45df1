"""Methods, versions and types that are not read: the line names them, and what is read."""

import struct

import pytest

from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.compiler.file_formats.safetensors import SafetensorsFile
from bitwright.compiler.layouts import LAYOUTS, layout_of, layouts_table
from bitwright.compiler.layouts.compressed_tensors import FORMATS
from bitwright.compiler.layouts.gguf_blocks import GGUF_TYPES, read_gguf
from bitwright.models.file_formats.gguf import GgufFile
from bitwright.models.file_formats.mapped_file import CheckpointError
from tests.compiler.layouts import test_awq, test_bitnet, test_blocks, test_gptq
from tests.compiler.layouts.build import write_safetensors
from tests.compiler.layouts.test_compressed import config, packed
from tests.compiler.layouts.test_gguf import WHOLE, gguf_bytes, text
from tests.compiler.mapping.test_map_gguf import write_llama_gguf

# Methods of other tools, by the names that they write.
METHODS = ["aqlm", "auto-round", "eetq", "fbgemm_fp8", "higgs", "hqq", "marlin", "modelopt",
           "quanto", "quark", "spqr", "torchao", "vptq", None, 4, [], "GPTQ", ""]


def refusal(found):
    with pytest.raises(CheckpointError) as caught:
        layout_of(found)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 400
    return message


@pytest.mark.parametrize("method", METHODS)
def test_methods(method):
    message = refusal({"quantization_config": {"quant_method": method}})
    assert f"quant_method {method!r} is not read" in message
    assert all(name in message for name in LAYOUTS)


@pytest.mark.parametrize("settings, key, value, read", [
    (test_gptq.CONFIG, "bits", 6, ["2", "3", "4", "8"]),
    (test_gptq.CONFIG, "checkpoint_format", "marlin", ["gptq", "gptq_v2"]),
    (test_gptq.CONFIG, "format", "bitblas", ["gptq", "gptq_v2"]),
    (test_gptq.CONFIG, "pack_dtype", "int8", ["int32"]),
    (test_gptq.CONFIG, "group_size", 0, ["-1", "1...1048576"]),
    (test_awq.CONFIG, "version", "marlin", ["gemm"]),
    (test_awq.CONFIG, "bits", 8, ["4"]),
    (test_awq.CONFIG, "zero_point", False, ["True"]),
    (test_awq.CONFIG, "group_size", "128", ["-1", "1...1048576"]),
    (test_bitnet.CONFIG, "linear_class", "bitblas", ["bitlinear", "autobitlinear"]),
    (test_bitnet.CONFIG, "quantization_mode", "both", ["offline", "online"]),
    (test_bitnet.CONFIG, "use_rms_norm", True, ["False"]),
    (test_blocks.BNB, "bnb_4bit_quant_type", "fp4", ["nf4"]),
    (test_blocks.FP8, "fmt", "e5m2", ["e4m3"]),
    (test_blocks.FP8, "weight_block_size", [128], ["two sizes"]),
    (packed(4), "format", "naive-quantized", FORMATS),
])
def test_settings(settings, key, value, read):
    """``settings`` are read with another value of ``key``."""
    plain = {name: each for name, each in settings.items() if name != "checkpoint_format"}
    settings = plain if key == "format" and "bits" in plain else settings
    assert layout_of({"quantization_config": settings}) is not None
    message = refusal({"quantization_config": settings | {key: value}})
    assert message.endswith(f"{key} of {settings['quant_method']} must be {' or '.join(read)}, "
                            f"which are read, not {value!r}")


@pytest.mark.parametrize("kind, weights, key, read", [
    ("pack-quantized", {"num_bits": 16, "type": "int"}, "num_bits", "2 or 3 or 4 or 5 or 6 or 7"),
    ("pack-quantized", {"num_bits": 4, "type": "float"}, "type", "int"),
    ("int-quantized", {"num_bits": 8, "type": "float"}, "type", "int"),
    ("float-quantized", {"num_bits": 4, "type": "float"}, "num_bits", "8"),
    ("nvfp4-pack-quantized", {"num_bits": 8, "type": "float"}, "num_bits", "4"),
    ("mxfp4-pack-quantized", {"num_bits": 4, "type": "int"}, "type", "float"),
])
def test_settings_of_compressed_tensors(kind, weights, key, read):
    message = refusal({"quantization_config": config(kind, **weights)})
    assert f"{key} of {kind} must be {read}" in message
    assert message.endswith(f"which are read, not {weights[key]!r}")


@pytest.mark.parametrize("found, words", [
    ({"quantization_config": test_gptq.CONFIG | {"dynamic": {"x": {"bits": 8}}}},
     ["dynamic of gptq", "is not read", "one for all"]),
    ({"quantization_config": packed(4) | {"sparsity_config": {"format": "sparse-bitmask"}}},
     ["sparsity_config of compressed-tensors is not read; dense weights are"]),
    ({"quantization_config": packed(4) | {"transform_config": {"config_groups": {"u": {}}}}},
     ["transform_config of compressed-tensors", "is not read; plain weights are"]),
    ({"compression_config": packed(4)},
     ["compression_config", "is not read; quantization_config is"]),
    ({"quantization_config": test_blocks.BNB | {"load_in_8bit": True}},
     ["load_in_8bit of bitsandbytes is not read; bnb_4bit_quant_type nf4 is"]),
    ({"quantization_config": "gptq"}, ["quantization_config must be an object, not 'gptq'"]),
])
def test_what_else_is_refused(found, words):
    message = refusal(found)
    assert all(word in message for word in words), message


def test_settings_that_say_nothing_more():
    for more in ({"transform_config": {}}, {"sparsity_config": {}}, {"sparsity_config": None}):
        assert layout_of({"quantization_config": packed(4) | more}) is not None
    assert layout_of({}) is None and layout_of({"compression_config": None}) is None


def test_the_table_has_a_row_for_every_layout_and_block_type():
    rows = layouts_table().splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| `{name}`" for name in (*LAYOUTS, "gguf")]
    assert all(kind in rows[-1] for kind in GGUF_TYPES)


@pytest.mark.parametrize("version", [0, 1, 4, 3 << 24, (1 << 32) - 1])
def test_gguf_versions(tmp_path, version):
    path = tmp_path / "m.gguf"
    path.write_bytes(WHOLE[:4] + struct.pack("<I", version) + WHOLE[8:])
    with pytest.raises(CheckpointError, match=f"is of GGUF version {version}; 2 and 3, little-end"):
        GgufFile(path)


def test_gguf_types(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes({"t": (31, (1, 32), bytes(18))}))
    with pytest.raises(CheckpointError, match="'t' has the unknown type 31; known are F32, "):
        GgufFile(path)
    path.write_bytes(gguf_bytes({}, [("a", struct.pack("<I", 13))]))
    with pytest.raises(CheckpointError, match="metadata 'a' has the unknown type 13; 0 to 12 are"):
        GgufFile(path)
    path.write_bytes(gguf_bytes({"t": ("IQ4_NL", (1, 32), bytes(18))}))
    with GgufFile(path) as file, pytest.raises(CheckpointError) as caught:
        read_gguf(file, "t")
    assert f"is of type IQ4_NL, which is not read; {', '.join(GGUF_TYPES)} are" in str(caught.value)


def test_gguf_architectures(tmp_path):
    path = write_llama_gguf(tmp_path / "m.gguf", ["Q4_0"], metadata={
        "general.architecture": struct.pack("<I", 8) + text("rwkv7")})
    with pytest.raises(CheckpointError, match="general.architecture 'rwkv7' is not read; llama"):
        open_checkpoint(path)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "U8", "I32"])
def test_safetensors_types(tmp_path, dtype):
    path = write_safetensors(tmp_path / "x.safetensors", {"t": (dtype, [1])})
    with SafetensorsFile(path) as file, pytest.raises(
            CheckpointError, match=f"dtype {dtype} of tensor 't' is not read; F32, F16 and BF16"):
        file.read("t")
