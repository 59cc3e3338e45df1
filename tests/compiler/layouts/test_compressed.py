import ml_dtypes
import numpy as np
import pytest

from bitwright.models.file_formats.mapped_file import CheckpointError
from tests.compiler.layouts.build import check_held, read, stream

FP4 = [0, .5, 1, 1.5, 2, 3, 4, 6, -0.0, -.5, -1, -1.5, -2, -3, -4, -6]


def config(form, group="group_0", **weights):
    return {"quant_method": "compressed-tensors", "format": form,
            "config_groups": {group: {"targets": ["Linear"], "weights": weights}}}


def whole(values, bits):
    """Words of as many whole values as fit."""
    count = 32 // bits
    return [sum(value << bits * at for at, value in enumerate(values[start:start + count]))
            for start in range(0, len(values), count)]


def packed(bits, **more):
    return config("pack-quantized", num_bits=bits, type="int", **more)


def scales(rng, *shape):
    return rng.uniform(0.01, 0.09, shape).astype(np.float16).astype(np.float64)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("pack", [stream, whole])
def test_packed(tmp_path, bits, symmetric, pack):
    """q + 2^(bits-1) along the input, dense or in whole values; zero points along the output."""
    n, k, size, half = 5, 90 if 32 % bits == 0 else 96, 32, 1 << bits - 1
    rng = np.random.default_rng(bits)
    q = rng.integers(-half, half, (n, k))
    scale = scales(rng, n, 3)
    zero = np.zeros((n, 3), int) if symmetric else rng.integers(-half, half, (n, 3))
    tensors = {"m.weight_packed": ("I32", [pack((row + half).tolist(), bits) for row in q]),
               "m.weight_scale": ("F16", scale), "m.weight_shape": ("I64", [n, k])}
    if not symmetric:
        tensors["m.weight_zero_point"] = ("I32", np.array(
            [pack((zero[:, g] + half).tolist(), bits) for g in range(3)]).T)
    found = read(tmp_path, packed(bits, group_size=size, strategy="group"), tensors, n, k)
    want = [[scale[o, i // size] * (int(q[o, i]) - int(zero[o, i // size])) for i in range(k)]
            for o in range(n)]
    assert (found.dequantize() == want).all() and (found.offset is None) == symmetric
    assert (found.datatype.decode(found.codes[:, :k]) == q).all()
    # Eight bits need room in accumulators, and offsets of up to 128 scales in the multiplier.
    check_held(found, exact=symmetric and bits < 8, error=2.0**-5)


def test_widths_that_tell_nothing(tmp_path):
    tensors = {"m.weight_packed": ("I32", [[0] * 5]), "m.weight_scale": ("F16", [[1.0]])}
    with pytest.raises(CheckpointError, match="45 values of 3 bits take 5 words, dense or not"):
        read(tmp_path, packed(3), tensors, 1, 45)


def test_packed_with_groups_out_of_order(tmp_path):
    rng = np.random.default_rng(9)
    g_idx = rng.permutation([i // 8 for i in range(24)])
    q, scale = rng.integers(-8, 8, (4, 24)), scales(rng, 4, 3)
    tensors = {"m.weight_packed": ("I32", [stream((row + 8).tolist(), 4) for row in q]),
               "m.weight_scale": ("F16", scale), "m.weight_g_idx": ("I32", g_idx)}
    found = read(tmp_path, packed(4, group_size=8), tensors, 4, 24)
    assert (found.dequantize() == q * scale[:, g_idx]).all() and found.columns is not None


@pytest.mark.parametrize("shape", [(1,), (6, 1), (6, 3)])
@pytest.mark.parametrize("bits", [4, 8])
def test_integers(tmp_path, shape, bits):
    half = 1 << bits - 1
    rng = np.random.default_rng(bits)
    q = rng.integers(-half, half, (6, 20))
    scale, zero = scales(rng, *shape), rng.integers(-half, half, shape)
    tensors = {"m.weight": ("I8", q), "m.weight_scale": ("F32", scale),
               "m.weight_zero_point": ("I8", zero)}
    size = 8 if shape == (6, 3) else None
    found = read(tmp_path, config("int-quantized", num_bits=bits, type="int", group_size=size),
                 tensors, 6, 20)

    def per_weight(x):
        x = np.broadcast_to(x, (6, 1)) if shape != (6, 3) else np.repeat(x, 8, axis=1)[:, :20]
        return x
    assert (found.dequantize() == per_weight(scale) * (q - per_weight(zero))).all()
    assert (found.datatype.decode(found.codes[:, :20]) == q).all()
    check_held(found, exact=shape != (6, 3), error=2.0**-5)


@pytest.mark.parametrize("shape, more", [
    ((1,), {}), ((5, 1), {"strategy": "channel"}),
    ((3, 2), {"strategy": "block", "block_structure": [2, 16]})])
def test_floats(tmp_path, shape, more):
    rng = np.random.default_rng(3)
    codes = rng.choice([c for c in range(256) if c & 127 != 127], (5, 20))
    scale = scales(rng, *shape)
    tensors = {"m.weight": ("F8_E4M3", codes), "m.weight_scale": ("F32", scale)}
    found = read(tmp_path, config("float-quantized", num_bits=8, type="float", **more), tensors,
                 5, 20)
    real = codes.astype(np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float64)
    want = [[real[o, i] * (scale[o // 2, i // 16] if len(more) > 1 else
                           scale.reshape(-1)[min(o, scale.size - 1)]) for i in range(20)]
            for o in range(5)]
    assert (found.dequantize() == want).all() and (found.codes[:, :20] == codes).all()


def test_nvfp4(tmp_path):
    rng = np.random.default_rng(4)
    codes, scale = rng.integers(0, 16, (3, 40)), rng.integers(1, 126, (3, 3))
    tensors = {"m.weight_packed": ("U8", codes[:, 0::2] | codes[:, 1::2] << 4),
               "m.weight_scale": ("F8_E4M3", scale), "m.weight_global_scale": ("F32", [768.0])}
    found = read(tmp_path, config("nvfp4-pack-quantized", num_bits=4, type="float",
                                  group_size=16), tensors, 3, 40)
    block = scale.astype(np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float64)
    want = [[FP4[codes[o, i]] * block[o, i // 16] / 768 for i in range(40)] for o in range(3)]
    assert found.dequantize() == pytest.approx(np.array(want), rel=1e-15)
    assert (found.codes[:, :40] == codes).all() and found.codes.shape == (3, 48)
    check_held(found)


def test_mxfp4(tmp_path):
    rng = np.random.default_rng(5)
    codes, scale = rng.integers(0, 16, (3, 40)), rng.integers(118, 126, (3, 2))
    tensors = {"m.weight_packed": ("U8", codes[:, 0::2] | codes[:, 1::2] << 4),
               "m.weight_scale": ("U8", scale)}
    settings = config("mxfp4-pack-quantized", num_bits=4, type="float", group_size=32)
    found = read(tmp_path, settings, tensors, 3, 40)
    want = [[FP4[codes[o, i]] * 2.0**(int(scale[o, i // 32]) - 127) for i in range(40)]
            for o in range(3)]
    assert (found.dequantize() == want).all() and (found.codes[:, :40] == codes).all()
    check_held(found)
    tensors["m.weight_scale"][1][2, 1] = 255
    with pytest.raises(CheckpointError, match=r"'m.weight_scale' at \[2, 1\] is 255"):
        read(tmp_path, settings, tensors, 3, 40)


INT = {"num_bits": 4, "type": "int"}


@pytest.mark.parametrize("found, text", [
    (config("marlin-24", **INT), "format of compressed-tensors must be pack-quantized or int-qu"),
    (config("pack-quantized", num_bits=9, type="int"), "num_bits of pack-quantized must be 2 or"),
    (config("pack-quantized", num_bits=4, type="float"), "type of pack-quantized must be int"),
    (packed(4, group_size=0), "group_size of pack-quantized must be -1 or"),
    ({**packed(4), "config_groups": {}}, "config_groups of compressed-tensors must have groups"),
    ({**packed(4), "config_groups": {"a": {"weights": INT}, "b": {"weights": {**INT,
                                                                           "num_bits": 8}}}},
     "config_groups of compressed-tensors differ in num_bits"),
    ({**packed(4), "sparsity_config": {"format": "sparse-24-bitmask"}}, "sparsity_config"),
])
def test_unknown_settings_are_named(tmp_path, found, text):
    tensors = {"m.weight_packed": ("I32", [[0]]), "m.weight_scale": ("F16", [[1.0]])}
    with pytest.raises(CheckpointError, match=text):
        read(tmp_path, found, tensors, 1, 8)


@pytest.mark.parametrize("settings, tensors, text", [
    (packed(4), {"m.weight_packed": ("I32", [[0]])}, "'m.weight_scale' is missing"),
    (packed(4), {"m.weight_packed": ("I32", [[0, 0]])}, r"must have shape \[1, 1\], not \[1, 2\]"),
    (packed(4), {"m.weight_packed": ("I32", [[0]]), "m.weight_shape": ("I64", [1, 7])},
     r"must hold \[1, 8\], not \[1, 7\]"),
    (config("int-quantized", **INT), {"m.weight": ("I8", [[0] * 7 + [8]])},
     r"'m.weight' at \[0, 7\] is 8, which 4 bits do not hold"),
    (config("float-quantized", num_bits=8, type="float"),
     {"m.weight": ("F8_E4M3", [[0] * 7 + [255]])}, r"'m.weight' at \[0, 7\] is NaN"),
])
def test_damage_is_named(tmp_path, settings, tensors, text):
    from bitwright.compiler.file_formats.safetensors import SafetensorsFile
    from bitwright.compiler.layouts import layout_of
    from tests.compiler.layouts.build import write_safetensors
    if "missing" not in text:
        tensors = {**tensors, "m.weight_scale": ("F16", [[1.0]])}
    path = write_safetensors(tmp_path / "model.safetensors", tensors)
    with SafetensorsFile(path) as file, pytest.raises(CheckpointError, match=text):
        layout_of({"quantization_config": settings}).read(file, "m", 1, 8)
