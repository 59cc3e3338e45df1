import numpy as np
import pytest

from bitwright.compiler.layouts.native_matrix import hold
from bitwright.models.file_formats.mapped_file import CheckpointError
from bitwright.models.inference.golden import mpgemm
from tests.compiler.layouts.build import check_held, read, stream

CONFIG = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": True}


def made(bits, n, k, size, seed, zero=None, g_idx=None, plus=1):
    """Tensors, and the weights they stand for, [n, k]."""
    rng = np.random.default_rng(seed)
    print("seed", seed)
    groups = -(-k // size)
    q = rng.integers(0, 1 << bits, (k, n))
    z = rng.integers(1, 1 << bits, (groups, n)) if zero is None else np.full((groups, n), zero)
    scales = rng.uniform(0.01, 0.09, (groups, n)).astype(np.float16).astype(np.float64)
    index = [i // size for i in range(k)] if g_idx is None else g_idx
    want = np.array([[scales[index[i], o] * (int(q[i, o]) - int(z[index[i], o]))
                      for i in range(k)] for o in range(n)])
    qweight = np.array([stream(q[:, o].tolist(), bits) for o in range(n)]).T
    qzeros = [stream((z[g] - plus).tolist(), bits) for g in range(groups)]
    return {"m.qweight": ("I32", qweight), "m.qzeros": ("I32", qzeros),
            "m.scales": ("F16", scales), "m.g_idx": ("I32", index)}, want, q


@pytest.mark.parametrize("bits, n, k", [(2, 16, 64), (3, 32, 96), (4, 8, 72), (8, 4, 40)])
@pytest.mark.parametrize("version, plus", [("gptq", 1), ("gptq_v2", 0)])
def test_every_value(tmp_path, bits, n, k, version, plus):
    tensors, want, q = made(bits, n, k, 32, seed=bits, plus=plus)
    found = read(tmp_path, CONFIG | {"bits": bits, "checkpoint_format": version}, tensors, n, k)
    assert found.datatype.name == f"int{bits}" and found.group_size == 32
    assert (found.dequantize() == want).all()
    # Two's complement of q - 2^(bits-1): the top bit changes.
    assert (found.codes[:, :k] == q.T ^ 1 << bits - 1).all()
    assert found.codes.shape[1] == -(-k // 32) * 32
    check_held(found, exact=False)


def test_version_in_format(tmp_path):
    tensors, want, _ = made(4, 8, 32, 32, seed=11, plus=0)
    found = read(tmp_path, CONFIG | {"format": "gptq_v2"}, tensors, 8, 32)
    assert (found.dequantize() == want).all()


def test_three_bits_straddle_words(tmp_path):
    """Values 10 and 21 of 32 lie in two words."""
    zeros = np.zeros((3, 32), dtype=int)
    qweight = zeros.copy()
    qweight[0, 0], qweight[1, 0] = 0b11 << 30, 0b1      # value 10 is 7
    qweight[1, 1], qweight[2, 1] = 1 << 31, 0b10        # value 21 is 1 + 2·2
    tensors = {"m.qweight": ("I32", qweight), "m.qzeros": ("I32", [[0, 0, 0]]),
               "m.scales": ("F16", np.ones((1, 32)))}
    config = CONFIG | {"bits": 3, "group_size": -1, "checkpoint_format": "gptq_v2"}
    found = read(tmp_path, config, tensors, 32, 32).dequantize()
    assert found[0, 10] == 7 and found[1, 21] == 5 and found.sum() == 12


def test_symmetric_needs_no_offset_and_whole_channels_are_exact(tmp_path):
    tensors, want, _ = made(4, 8, 64, 64, seed=3, zero=8)
    found = read(tmp_path, CONFIG | {"group_size": -1}, tensors, 8, 64)
    assert found.offset is None and (found.dequantize() == want).all()
    assert check_held(found).matrix.scale_mantissa.max() == 1


def test_zero_point_one_past_the_codes(tmp_path):
    """Version 1 stores 15 for the zero point 16."""
    tensors, want, _ = made(4, 8, 32, 32, seed=4, zero=16)
    found = read(tmp_path, CONFIG, tensors, 8, 32)
    assert (found.dequantize() == want).all() and want.max() < 0
    check_held(found)  # one group per channel: -8 in units of the scale


def test_groups_out_of_order(tmp_path):
    rng = np.random.default_rng(5)
    k, size = 80, 32
    g_idx = rng.permutation([i // size for i in range(k)]).tolist()
    tensors, want, q = made(4, 8, k, size, seed=5, g_idx=g_idx)
    found = read(tmp_path, CONFIG | {"desc_act": True}, tensors, 8, k)
    assert (found.dequantize() == want).all()
    assert found.columns.tolist() == [
        *sum(([i for i in range(k) if g_idx[i] == g] for g in range(3)), []), *[-1] * 16]
    used = found.columns >= 0
    assert (found.codes[:, used] == q.T[:, found.columns[used]] ^ 8).all()
    qm = check_held(found, exact=False).matrix
    a = rng.integers(-128, 128, (3, k))
    assert (mpgemm(a, qm) * qm.channel_scale == pytest.approx(a @ qm.dequantize().T, rel=1e-12))


def test_negative_scales_keep_the_weights(tmp_path):
    tensors, want, q = made(4, 8, 32, 32, seed=6, zero=8)
    tensors["m.scales"] = ("F16", -tensors["m.scales"][1])
    found = read(tmp_path, CONFIG, tensors, 8, 32)
    assert (found.dequantize() == -want).all() and (found.codes == q.T ^ 8).all()
    qm = hold(found).matrix
    assert (qm.dequantize() == -want).all() and qm.asymmetric
    assert (qm.codes == (q.T ^ 8 ^ 15)).all()


@pytest.mark.parametrize("change, text", [
    ({"bits": 5}, "bits of gptq must be 2 or 3 or 4 or 8, which are read, not 5"),
    ({"bits": True}, "bits of gptq must be"),
    ({"checkpoint_format": "marlin"}, "must be gptq or gptq_v2, which are read, not 'marlin'"),
    ({"group_size": 0}, "group_size of gptq"), ({"dynamic": {"-:x": {}}}, "dynamic"),
    ({"quant_method": "quip"}, "quant_method 'quip' is not read; gptq, awq, compressed-tensors"),
])
def test_unknown_settings_are_named(tmp_path, change, text):
    tensors, _, _ = made(4, 8, 32, 32, seed=7)
    with pytest.raises(CheckpointError, match=text) as caught:
        read(tmp_path, CONFIG | change, tensors, 8, 32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name, value, text", [
    ("m.qzeros", None, "'m.qzeros' is missing; layers of layout gptq have qweight, qzeros"),
    ("m.qweight", ("I64", np.zeros((4, 8), int)), "must be of I32, not I64"),
    ("m.qweight", ("I32", np.zeros((5, 8), int)), r"must have shape \[4, 8\], not \[5, 8\]"),
    ("m.scales", ("F16", np.full((1, 8), np.inf)), r"'m.scales' at \[0, 0\] is inf"),
    ("m.g_idx", ("I32", [1] + [0] * 31), r"'m.g_idx' at \[0\] must be a group 0...0, not 1"),
])
def test_damage_is_named(tmp_path, name, value, text):
    tensors, _, _ = made(4, 8, 32, 32, seed=8)
    tensors = {key: found for key, found in (tensors | {name: value}).items() if found}
    with pytest.raises(CheckpointError, match=text):
        read(tmp_path, CONFIG, tensors, 8, 32)


def test_a_group_of_too_many(tmp_path):
    tensors, _, _ = made(4, 8, 64, 32, seed=9, g_idx=[0] * 33 + [1] * 31)
    with pytest.raises(CheckpointError, match="gives group 0 33 features"):
        read(tmp_path, CONFIG, tensors, 8, 64)


def test_sizes_that_fill_no_words(tmp_path):
    tensors, _, _ = made(4, 8, 32, 32, seed=10)
    with pytest.raises(CheckpointError, match="30 input features of 4 bits"):
        read(tmp_path, CONFIG, tensors, 8, 30)
