import numpy as np
import pytest

from bitwright.compiler.file_formats.safetensors import SafetensorsFile
from bitwright.models.file_formats.mapped_file import CheckpointError
from tests.compiler.layouts.build import check_held, read, write_safetensors

CONFIG = {"quant_method": "bitnet", "linear_class": "autobitlinear",
          "quantization_mode": "offline"}


def packed(w):
    """Output r in bits 2·(r div O/4) of byte-row r mod O/4."""
    rows = len(w) // 4
    found = np.zeros((rows, w.shape[1]), int)
    for r, row in enumerate(w):
        found[r % rows] |= (row + 1) << 2 * (r // rows)
    return ("U8", found)


@pytest.mark.parametrize("n, k", [(4, 5), (12, 31), (64, 8)])
@pytest.mark.parametrize("linear, sign", [("bitlinear", -1), ("autobitlinear", 1)])
def test_every_value_in_both_conventions(tmp_path, n, k, linear, sign):
    w = np.random.default_rng(n).integers(-1, 2, (n, k))
    tensors = {"m.weight": packed(w), "m.weight_scale": ("F32", [2.5])}
    found = read(tmp_path, CONFIG | {"linear_class": linear}, tensors, n, k)
    assert found.dequantize() == pytest.approx(w * 2.5**sign, rel=1e-15)
    assert (found.codes == np.where(w < 0, 3, w)).all() and found.datatype.name == "ternary"
    check_held(found)


def test_rows_by_hand(tmp_path):
    """One byte 0b10_01_00_10: +1 for output 0, -1, 0 and +1."""
    tensors = {"m.weight": ("U8", [[0b10010010]]), "m.weight_scale": ("BF16", [1.0])}
    found = read(tmp_path, CONFIG, tensors, 4, 1)
    assert found.dequantize()[:, 0].tolist() == [1, -1, 0, 1]


def test_a_missing_convention_is_refused_where_it_matters(tmp_path):
    w = np.ones((4, 3), int)
    settings = {"quant_method": "bitnet"}
    tensors = {"m.weight": packed(w), "m.weight_scale": ("F32", [1.0])}
    assert (read(tmp_path, settings, tensors, 4, 3).dequantize() == 1).all()
    tensors["m.weight_scale"] = ("F32", [2.0])
    with pytest.raises(CheckpointError, match="linear_class is missing, and bitlinear divides"):
        read(tmp_path, settings, tensors, 4, 3)


def test_master_weights(tmp_path):
    w = np.random.default_rng(1).normal(size=(6, 10)).astype(np.float32)
    w = (w.view(np.uint32) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(float)
    found = read(tmp_path, CONFIG | {"quantization_mode": "online"}, {"m.weight": ("BF16", w)},
                 6, 10)
    mean = np.abs(w).mean()
    assert found.dequantize() == pytest.approx(np.clip(np.round(w / mean), -1, 1) * mean)
    assert "master" in found.note
    check_held(found)
    tiny = read(tmp_path, CONFIG, {"m.weight": ("BF16", np.zeros((6, 10)))}, 6, 10)
    assert (tiny.dequantize() == 0).all() and tiny.scale[0, 0] == 1e-5


def test_the_head_stays_in_floats(tmp_path):
    from bitwright.compiler.layouts import layout_of
    path = write_safetensors(tmp_path / "x", {
        "lm_head.weight": ("F32", [[1.0]]), "a.b.weight": ("F32", [[1.0]])})
    with SafetensorsFile(path) as file:
        plain = layout_of({"quantization_config": CONFIG})
        assert not plain.holds(file, "lm_head") and plain.holds(file, "a.b")
        kept = layout_of({"quantization_config": CONFIG | {"modules_to_not_convert": ["a"]}})
        assert kept.holds(file, "lm_head") and not kept.holds(file, "a.b")
        assert not plain.holds(file, "none")


@pytest.mark.parametrize("change, tensors, text", [
    ({"linear_class": "linear"}, {}, "linear_class of bitnet must be bitlinear or autobitlinear"),
    ({"modules_to_not_convert": 3}, {}, "modules_to_not_convert"),
    ({}, {"m.weight": ("U8", [[0xC0]])}, r"at \[3, 0\] \(output, input\) holds 3"),
    ({}, {"m.weight_scale": ("F32", [0.0])}, "'m.weight_scale' must be positive, not 0.0"),
    ({}, {"m.weight_scale": ("F32", [1.0, 2.0])}, r"must have shape \[1\], not \[2\]"),
    ({}, {"m.weight": ("I8", [[0]])}, "must be of U8, not I8"),
    ({}, {"m.weight": ("F32", [[0.0]] * 4)}, "does not go with weights in floats"),
])
def test_damage_is_named(tmp_path, change, tensors, text):
    tensors = {"m.weight": ("U8", [[0]]), "m.weight_scale": ("F32", [2.0]), **tensors}
    with pytest.raises(CheckpointError, match=text):
        read(tmp_path, CONFIG | change, tensors, 4, 1)
