"""gpt-oss mxfp4, bitsandbytes nf4 and block fp8."""

import json

import ml_dtypes
import numpy as np
import pytest

from bitwright.compiler.file_formats.safetensors import SafetensorsFile
from bitwright.compiler.layouts import layout_of
from bitwright.models.file_formats.mapped_file import CheckpointError
from tests.compiler.layouts.build import check_held, read, write_safetensors
from tests.compiler.layouts.test_compressed import FP4

NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
       -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
       0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
       0.7229568362236023, 1.0]
STATE = "m.weight.quant_state.bitsandbytes__nf4"
BNB = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [4, 16]}


def oss(seed=0):
    rng = np.random.default_rng(seed)
    codes, scale = rng.integers(0, 16, (2, 3, 2, 32)), rng.integers(110, 125, (2, 3, 2))
    return {"x.up_blocks": ("U8", codes[..., 0::2] | codes[..., 1::2] << 4),
            "x.up_scales": ("U8", scale)}, codes, scale


@pytest.mark.parametrize("expert", [0, 1])
def test_experts(tmp_path, expert):
    tensors, codes, scale = oss()
    found = read(tmp_path, {"quant_method": "mxfp4"}, tensors, 3, 64, f"x.up.{expert}")
    want = [[FP4[codes[expert, o, b, i]] * 2.0**(int(scale[expert, o, b]) - 127)
             for b in range(2) for i in range(32)] for o in range(3)]
    assert (found.dequantize() == want).all()
    assert (found.codes == codes[expert].reshape(3, 64)).all()
    check_held(found)


@pytest.mark.parametrize("module, k, change, text", [
    ("x.up.2", 64, {}, "has experts 0...1, not '2'"),
    ("x.up.-1", 64, {}, "has experts 0...1, not '-1'"),
    ("x.up.0", 33, {}, "33 input features are no multiple of 32"),
    ("x.up.0", 32, {}, r"must have shape \[any, 3, 1, 16\], not \[2, 3, 2, 16\]"),
    ("x.up.1", 64, {"x.up_scales": ("U8", np.full((2, 3, 2), 255))}, r"at \[1, 0, 0\] is 255"),
    ("x.up.1", 64, {"x.up_scales": None}, "'x.up_scales' is missing; layers of layout mxfp4 have"),
])
def test_damaged_experts_are_named(tmp_path, module, k, change, text):
    tensors = {name: found for name, found in (oss()[0] | change).items() if found}
    with pytest.raises(CheckpointError, match=text):
        read(tmp_path, {"quant_method": "mxfp4"}, tensors, 3, k, module)


def nf4(n, k, block=64, nested=False, seed=0):
    """Tensors, codes and the absmax of every weight."""
    rng = np.random.default_rng(seed)
    count = -(-n * k // block)
    codes = rng.integers(0, 16, n * k)
    even = np.pad(codes, (0, n * k % 2))
    state = {"quant_type": "nf4", "blocksize": block, "dtype": "float16", "shape": [n, k]}
    tensors = {"m.weight": ("U8", (even[0::2] << 4 | even[1::2]).reshape(-1, 1)),
               "m.weight.quant_map": ("F32", NF4)}
    if nested:
        stored, table = rng.integers(0, 256, count), rng.uniform(0, 1, 256).astype(np.float32)
        outer = rng.uniform(0.1, 1, -(-count // 4)).astype(np.float32)
        state |= {"nested_blocksize": 4, "nested_dtype": "float32", "nested_offset": 1.25}
        absmax = [float(np.float32(np.float32(table[u] * outer[i // 4]) + np.float32(1.25)))
                  for i, u in enumerate(stored)]
        tensors |= {"m.weight.absmax": ("U8", stored), "m.weight.nested_absmax": ("F32", outer),
                    "m.weight.nested_quant_map": ("F32", table)}
    else:
        absmax = rng.uniform(0.1, 1, count).astype(np.float32).astype(float).tolist()
        tensors |= {"m.weight.absmax": ("F32", absmax)}
    tensors[STATE] = ("U8", list(json.dumps(state).encode()))
    return tensors, codes.reshape(n, k), np.array([absmax[i // block] for i in range(n * k)])


@pytest.mark.parametrize("n, k, piece", [(3, 128, 64), (3, 96, 32), (5, 9, 1), (4, 32, 32)])
@pytest.mark.parametrize("nested", [False, True])
def test_nf4(tmp_path, n, k, piece, nested):
    """Also where blocks run on from row to row. Values are those of 1/127 nearest to nf4's."""
    tensors, codes, absmax = nf4(n, k, nested=nested)
    found = read(tmp_path, BNB, tensors, n, k)
    assert (found.codes == codes).all() and found.group_size == piece
    want = np.array(NF4)[codes] * absmax.reshape(n, k)
    assert np.abs(found.dequantize() - want).max() <= absmax.max() * 0.5 / 127
    whole = np.rint(np.array(NF4) * 127)[codes] / 127 * absmax.reshape(n, k)
    assert found.dequantize() == pytest.approx(whole, rel=1e-14, abs=1e-14)
    worst = max(abs(round(127 * value) / 127 - value) for value in NF4)
    assert f"in steps of 1/127, off by {worst:.1e} of absmax" in found.note
    check_held(found, exact=False)


@pytest.mark.parametrize("state, text", [
    (b"{", "is not JSON"), (b"[]", "must be a JSON object"), (b'{"a": NaN}', "holds NaN"),
    (b'{"quant_type": "fp4"}', "must hold quant_type nf4, not 'fp4'"),
    (b'{"quant_type": "nf4", "shape": [2, 3]}', r"must hold shape \[3, 64\], not \[2, 3\]"),
    (b'{"quant_type": "nf4", "shape": [3, 64], "blocksize": 0}', "must hold an integer blocksize"),
])
def test_damaged_state_is_named(tmp_path, state, text):
    tensors = nf4(3, 64)[0] | {STATE: ("U8", list(state))}
    with pytest.raises(CheckpointError, match=text):
        read(tmp_path, BNB, tensors, 3, 64)


@pytest.mark.parametrize("change, text", [
    ({"m.weight.quant_map": ("F32", sorted(np.linspace(-1, 1, 16)))}, "must hold the 16 values of"),
    ({"m.weight.absmax": ("F32", [1.0])}, r"must have shape \[3\], not \[1\]"),
    ({"m.weight.absmax": None}, "'m.weight.absmax' is missing"),
    ({"m.weight": ("U8", [[0]])}, r"must have shape \[96, 1\], not \[1, 1\]"),
])
def test_damaged_nf4_is_named(tmp_path, change, text):
    tensors = {name: found for name, found in (nf4(3, 64)[0] | change).items() if found}
    with pytest.raises(CheckpointError, match=text):
        read(tmp_path, BNB, tensors, 3, 64)


@pytest.mark.parametrize("change, text", [
    ({"bnb_4bit_quant_type": "fp4"}, "must be nf4, which are read, not 'fp4'"),
    ({"load_in_8bit": True}, "load_in_8bit of bitsandbytes is not read"),
])
def test_other_bitsandbytes_are_refused(change, text):
    with pytest.raises(CheckpointError, match=text):
        layout_of({"quantization_config": BNB | change})


def fp8(n, k, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.choice([c for c in range(256) if c & 127 != 127], (n, k))
    scale = rng.uniform(0.1, 1, (-(-n // 4), -(-k // 16))).astype(np.float32).astype(float)
    return {"m.weight": ("F8_E4M3", codes), "m.weight_scale_inv": ("F32", scale)}, codes, scale


@pytest.mark.parametrize("n, k", [(8, 32), (5, 40), (3, 7)])
def test_fp8_blocks(tmp_path, n, k):
    tensors, codes, scale = fp8(n, k)
    found = read(tmp_path, FP8, tensors, n, k)
    real = codes.astype(np.uint8).view(ml_dtypes.float8_e4m3fn).astype(float)
    want = [[real[o, i] * scale[o // 4, i // 16] for i in range(k)] for o in range(n)]
    assert (found.dequantize() == want).all() and (found.codes[:, :k] == codes).all()


@pytest.mark.parametrize("change, text", [
    ({"weight_block_size": None}, "weight_block_size of fp8 must be two sizes"),
    ({"weight_block_size": [4, 0]}, "weight_block_size of fp8"), ({"fmt": "e5m2"}, "fmt of fp8"),
])
def test_other_fp8_is_refused(change, text):
    with pytest.raises(CheckpointError, match=text):
        layout_of({"quantization_config": FP8 | change})


def test_damaged_fp8_is_named(tmp_path):
    tensors, _, _ = fp8(4, 16)
    tensors["m.weight"][1][3, 2] = 0xFF
    with pytest.raises(CheckpointError, match=r"'m.weight' at \[3, 2\] is NaN"):
        read(tmp_path, FP8, tensors, 4, 16)
    path = write_safetensors(tmp_path / "x", {"m.weight_scale_inv": ("F32", [[1.0]])})
    with SafetensorsFile(path) as file, pytest.raises(CheckpointError, match="'m.weight' is miss"):
        layout_of({"quantization_config": FP8}).read(file, "m", 4, 16)
