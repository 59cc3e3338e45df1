"""Whatever is in a file of any kind that is read: a result, or one clear line."""

import json
import math
import os
import shutil
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.compiler.file_formats.safetensors import DTYPE_BITS, SafetensorsFile
from bitwright.compiler.file_formats.sharded_safetensors import INDEX, ShardedFile
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.program import Options
from bitwright.compiler.layouts.native_matrix import LayoutError, hold
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.datatypes.custom import load_datatype
from bitwright.models.file_formats.gguf import GgufFile
from bitwright.models.file_formats.mapped_file import CheckpointError
from bitwright.models.inference.gguf_llama import GgufError, GgufModel
from bitwright.models.quantization.groups import ScaleUnderflow
from tests.compiler.layouts import test_blocks
from tests.compiler.layouts.damage import (
    CLEAN,
    NO_JSON,
    ODD,
    Text,
    attempt,
    damaged_bytes,
    damaged_json,
    encode_json,
    fuzz,
)
from tests.compiler.layouts.test_compressed import config as compressed
from tests.compiler.mapping.test_map_gguf import GGUF as LAYERS
from tests.compiler.mapping.test_map_gguf import write_llama_gguf
from tests.compiler.mapping.test_map_native import KINDS, write_llama
from tests.compiler.tiny import BERT, LLAMA, bert_tensors, llama_tensors, write_checkpoint
from tests.models.inference.tiny_llama import tensors, write_gguf

EXAMPLES = int(os.environ.get("BITWRIGHT_FUZZ", "20"))  # of each test and kind of file
GGUF = ["Q4_0", "Q4_1", "Q8_0", "MXFP4", "F16"]
READING = (CheckpointError, LayoutError, ScaleUnderflow)
PLAIN = {"bert": (BERT, bert_tensors), "llama": (LLAMA, llama_tensors)}


def folder_of(kind, tmp_path):
    if kind in PLAIN:
        config, tensors = PLAIN[kind]
        return write_checkpoint(tmp_path / "in", tensors(), config).parent
    return write_llama(tmp_path / "in", kind)[0]


def read_all(path):
    """Every layer of the checkpoint, in the machine's form where it is not in floats."""
    with open_checkpoint(path) as checkpoint:
        for linear in checkpoint.linears:
            checkpoint.bias(linear)
            native = checkpoint.native(linear)
            if native is None:
                assert checkpoint.weight(linear).shape == (linear.n, linear.k)
            else:
                assert native.dequantize().shape == (linear.n, linear.k)
                hold(native, underflow="flush")


def map_all(path, out):
    map_checkpoint(path, out, PRESETS["tiny"],
                   Options(tokens=1, weights="auto", flush_small_scales=True))
    shutil.rmtree(out)


def replaced(path, strategy, action, examples=EXAMPLES, clean=READING):
    """``action`` with the file ``path`` as the strategy makes it; it is whole again after."""
    whole = path.read_bytes()
    attempt(action, len(whole), PlanError)  # a type of whole files that no machine runs yet

    @fuzz(examples)
    @given(strategy)
    def test(data):
        path.write_bytes(data)
        attempt(action, len(data), clean)
    try:
        test()
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("kind", [*PLAIN, *KINDS])
def test_config(tmp_path, kind):
    folder = folder_of(kind, tmp_path)
    path = folder / "config.json"
    keys = ["quantization_config", "architectures", "model_type", "head_dim", "attention_bias"]
    replaced(path, damaged_json(json.loads(path.read_text()), keys), lambda: read_all(folder))
    replaced(path, damaged_bytes(path.read_bytes()), lambda: read_all(folder), EXAMPLES // 4)


def header_of(raw):
    length = struct.unpack_from("<Q", raw)[0]
    return json.loads(raw[8:8 + length]), raw[8 + length:]


@pytest.mark.parametrize("kind", [*PLAIN, *KINDS])
def test_safetensors(tmp_path, kind):
    folder = folder_of(kind, tmp_path)
    path = folder / "model.safetensors"
    header, data = header_of(path.read_bytes())

    def whole(text):
        return struct.pack("<Q", len(text)) + text + data
    replaced(path, damaged_json(header, ["__metadata__", "model.norm.weight"]).map(whole),
             lambda: read_all(folder))
    replaced(path, damaged_bytes(path.read_bytes()), lambda: map_all(folder, tmp_path / "out"),
             EXAMPLES // 2, CLEAN)


JSON = st.recursive(st.sampled_from(ODD), lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
        ["dtype", "shape", "data_offsets", "a", "__metadata__", ""]), inner, max_size=4)),
    max_leaves=12)


@st.composite
def safetensors(draw):
    """A file of some small tensors of any types, with its header damaged; data and header length
    may be off too."""
    header, size = {}, 0
    for name in draw(st.lists(st.sampled_from("abcd"), max_size=3, unique=True)):
        dtype = draw(st.sampled_from(sorted(DTYPE_BITS)))
        shape = draw(st.lists(st.sampled_from([1, 2, 3, 8, 0]), max_size=3))
        length = math.prod(shape) * DTYPE_BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [size, size + length]}
        size += length
    text = draw(damaged_json(header) if header else JSON.map(encode_json).map(
        lambda text: text.encode("utf-8", "surrogatepass")))
    size += draw(st.sampled_from([0, 0, 0, 0, 1, -1, 8]))
    length = len(text) + draw(st.sampled_from([0, 0, 0, 0, 0, 1, -1, 1 << 40]))
    return struct.pack("<Q", max(length, 0)) + text + bytes(max(size, 0))


def test_any_safetensors(tmp_path):
    path = tmp_path / "x.safetensors"

    def action():
        with SafetensorsFile(path) as file:
            bits = sum(math.prod(file.shape(name)) * DTYPE_BITS[file.dtype(name)]
                       for name in file.names)
            length = struct.unpack("<Q", path.read_bytes()[:8])[0]
            assert bits == 8 * (path.stat().st_size - 8 - length)
            for name in file.names:
                for read in (file.raw, file.read):
                    try:
                        found = read(name)
                    except CheckpointError as error:
                        assert "is not read" in str(error)
                    else:
                        assert found.shape == file.shape(name)

    @fuzz(20 * EXAMPLES)
    @given(safetensors())
    def test(raw):
        path.write_bytes(raw)
        attempt(action, len(raw), CheckpointError)
    test()


@pytest.mark.parametrize("at", range(len(NO_JSON)))
@pytest.mark.parametrize("form", ["@", '{"weight_map": @}', '[{"a": @}]'])
def test_no_json(tmp_path, at, form):
    text = form.replace("@", NO_JSON[at]).encode()
    path, index = tmp_path / "model.safetensors", tmp_path / INDEX
    for written, raw in ((tmp_path / "config.json", text), (index, text),
                         (path, struct.pack("<Q", len(text)) + text),
                         (tmp_path / "manifest.json", text)):
        written.write_bytes(raw)
    for action in (lambda: read_all(path), lambda: SafetensorsFile(path),
                   lambda: ShardedFile(index), lambda: open_image(tmp_path)):
        with pytest.raises((CheckpointError, ImageError)) as caught:
            action()
        assert str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_index(tmp_path):
    folder = folder_of("awq", tmp_path)
    shard = folder / "a.safetensors"
    header, _ = header_of((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors").rename(shard)
    shutil.copy(shard, folder / "b.safetensors")
    path = folder / INDEX
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(header, shard.name)}
    path.write_text(json.dumps(index))
    replaced(path, damaged_json(index), lambda: read_all(folder))
    replaced(path, damaged_bytes(path.read_bytes()), lambda: read_all(folder))
    replaced(shard, damaged_bytes(shard.read_bytes()), lambda: read_all(folder))


def test_gguf(tmp_path):
    path = write_llama_gguf(tmp_path / "m.gguf", GGUF)
    raw = path.read_bytes()
    replaced(path, damaged_bytes(raw), lambda: map_all(path, tmp_path / "out"), 2 * EXAMPLES,
             CLEAN)
    header = raw.index(b"output.weight") + 60
    replaced(path, damaged_bytes(raw[:header]).map(lambda head: head + raw[header:]),
             lambda: read_all(path), 5 * EXAMPLES)


VALUES = {"general.architecture", "llama.embedding_length", "llama.block_count",
          "llama.feed_forward_length", "llama.attention.head_count", "llama.context_length",
          "llama.attention.head_count_kv", "llama.attention.layer_norm_rms_epsilon",
          "llama.attention.key_length", "general.alignment"}
SCALAR = st.one_of(*(st.tuples(st.just(kind), st.sampled_from(values)).map(
    lambda pair: struct.pack("<I" + "BbHhIif?__Qqd"[pair[0]], pair[0], pair[1]))
    for kind, values in {0: (0, 1, 255), 1: (-1, 8), 4: (0, 1, 7, 64, 1 << 31), 5: (-1, 4, 32),
                         6: (0.0, 1e-5, float("nan"), float("inf")), 7: (0, 1),
                         10: (0, 32, 1 << 63), 11: (-1, 2), 12: (float("nan"), 1e-5)}.items()),
    st.sampled_from(["llama", "gpt2", "", "a\nb", "x" * 3000]).map(
        lambda value: struct.pack("<IQ", 8, len(value)) + value.encode()),
    st.sampled_from([(4, 0), (4, 3), (8, 1 << 60), (9, 2), (4, 1 << 62), (99, 1), (8, 0)]).map(
        lambda pair: struct.pack("<IIQ", 9, *pair)), st.just(struct.pack("<I", 77)))


TENSOR = st.tuples(st.sampled_from([*GGUF, "F32", "Q4_K", "Q5_K", "TQ2_0", 5, 99]),
                   st.lists(st.sampled_from([0, 1, 11, 32, 64, 256, 1 << 31, 1 << 62]), max_size=5),
                   st.sampled_from([0, 1, 18, 340, 2000]).map(bytes))


def test_gguf_header(tmp_path):
    path = tmp_path / "m.gguf"
    names = [f"{name}.weight" for name in (*LAYERS, "token_embd", "other")]

    @fuzz(8 * EXAMPLES)
    @given(st.dictionaries(st.sampled_from(sorted(VALUES)), SCALAR, max_size=2),
           st.dictionaries(st.sampled_from(names), TENSOR, max_size=2))
    def test(metadata, tensors):
        write_llama_gguf(path, GGUF, metadata=metadata, **tensors)
        size = path.stat().st_size
        attempt(lambda: read_all(path), size, READING)
        attempt(lambda: read_tensors(path), size, CheckpointError)
    test()


def read_tensors(path):
    with GgufFile(path) as file:
        for name in file.names:
            blocks = file.raw(name)
            assert blocks.size <= path.stat().st_size


def test_gguf_by_the_library(tmp_path):
    """The reader that perplexity and text generation use."""
    path = write_gguf(tmp_path / "m.gguf", tensors())
    raw = path.read_bytes()
    end = raw.index(b"ffn_down")

    def action():
        model = GgufModel(path)
        model.config()
        model.tokenizer().encode("abc ab12")
        for name in model:
            assert model[name].dtype == np.float32

    def test(strategy):
        path.unlink()
        path.write_bytes(raw)
        attempt(action, len(raw), ())

        @fuzz(3 * EXAMPLES)
        @given(strategy)
        def run(data):
            path.unlink()  # the library maps the file that was there
            path.write_bytes(data)
            attempt(action, len(data), GgufError)
        run()
    test(damaged_bytes(raw[:end]).map(lambda head: head + raw[end:]))
    test(damaged_bytes(raw))


def test_image(mapped, tmp_path):
    folder = shutil.copytree(mapped, tmp_path / "copy")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())

    def action():
        image = open_image(folder)
        for op in image.layers.values():
            image.code(op)
    replaced(path, damaged_json(manifest), action, 3 * EXAMPLES, ImageError)
    replaced(path, damaged_bytes(path.read_bytes()), action, EXAMPLES, ImageError)
    for name in ("program.bin", "weights.bin"):
        replaced(folder / name, damaged_bytes((folder / name).read_bytes()), action, EXAMPLES // 4,
                 ImageError)


LINES = st.one_of(
    st.tuples(st.sampled_from(["name", "values", "bits", "a.b", '"x"', "", "é"]),
              st.one_of(st.sampled_from([
                  '"mine"', '"a b"', '""', '"int4"', '"a\\nb"', "[1, 2]", "[0, 1, -1]", "[]", "3",
                  "[nan]", "[inf, 1]", "[1e308, 1e-308]", "[5e-324, 1]", "[0.1, 3]", "[true]",
                  "[1979-05-27]", "['x']", "[[1]]", "[1, 1.0]", "{a = 1}", "-1", "4", "1e999",
                  "[" * 5000, "[" + "1" * 5000 + "]", "[" + "1" * 400 + "]", "'''a", "0x10",
                  "[" + "1, " * 5000 + "2]", '"' + "x" * 5000 + '"', "[-0.0, 0]", "[127, 254.0]"]),
                  st.lists(st.one_of(st.integers(-130, 130), st.floats()), max_size=17).map(
                      lambda numbers: f"[{', '.join(map(str, numbers))}]"))).map(" = ".join),
    st.sampled_from(["[x]", "[[x]]", "# é", "\0", "\r", "a" * 4000, "x = [" + "{a=" * 3000]))


def test_toml(tmp_path):
    path = tmp_path / "mine.toml"

    def action():
        load_datatype(str(path))

    @fuzz(6 * EXAMPLES)
    @given(st.lists(LINES, max_size=4), st.booleans())
    def test(lines, plain):
        raw = "\n".join(['name = "mine"'] * plain + lines).encode("utf-8", "surrogatepass")
        path.write_bytes(raw)
        attempt(action, len(raw), ValueError)
    test()
    path.write_text('name = "mine"\nvalues = [-2, -0.5, 0, 0.5, 1]\nbits = 3\n')
    replaced_text = path.read_bytes()

    @fuzz(2 * EXAMPLES)
    @given(damaged_bytes(replaced_text))
    def bytes_(data):
        path.write_bytes(data)
        attempt(action, len(data), ValueError)
    bytes_()


METHODS = {
    "gptq": KINDS["gptq"][1], "awq": KINDS["awq"][1], "bitnet": KINDS["bitnet"][1],
    "bitsandbytes": test_blocks.BNB, "fp8": test_blocks.FP8, "mxfp4": {"quant_method": "mxfp4"},
    **{name: compressed(name, num_bits=bits, type=kind) for name, bits, kind in (
        ("pack-quantized", 4, "int"), ("int-quantized", 8, "int"), ("float-quantized", 8, "float"),
        ("nvfp4-pack-quantized", 4, "float"), ("mxfp4-pack-quantized", 4, "float"))}}


@pytest.mark.parametrize("method", METHODS)
def test_settings(tmp_path, method):
    """With layers of the same layout, or of another."""
    settings = METHODS[method]
    folder = folder_of(next((kind for kind in KINDS if method in kind), "gptq"), tmp_path)
    path = folder / "config.json"
    plain = encode_json(json.loads(path.read_text()) | {"quantization_config": Text("@")})
    before, after = plain.encode().split(b"@")
    keys = [*settings, "bits", "group_size", "modules_to_not_convert", "dynamic", "quant_method",
            "sparsity_config", "load_in_8bit", "use_rms_norm"]

    @fuzz(3 * EXAMPLES)
    @given(damaged_json(settings, keys))
    def test(data):
        path.write_bytes(before + data + after)
        attempt(lambda: read_all(folder), len(data), READING)
    test()


def test_attempt_tells_bad_readers():
    def raises(error):
        raise error
    with pytest.raises(KeyError):
        attempt(lambda: raises(KeyError("x")), 10)
    with pytest.raises(AssertionError):
        attempt(lambda: raises(ValueError("a\nb")), 10, ValueError)
    with pytest.raises(AssertionError):
        attempt(lambda: bytes(10_000_000), 10)
    assert encode_json({"a": [Text("NaN"), "x"]}) == '{"a": [NaN, "x"]}'
