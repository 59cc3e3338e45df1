"""Every kind of weights through ``map`` and ``run``: schemes, mixtures, outliers, and every way to
say that something does not go together."""

import json
from itertools import pairwise

import numpy as np
import pytest

from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.runtime.run_layer import activations, digest, matrix
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.inference.golden import mpgemm_reference
from bitwright.models.quantization.schemes import SCHEMES, quantize, scheme
from tests.compiler.mapping.test_refusals import refused
from tests.compiler.tiny import DOWN, QUERY, bert_tensors, write_checkpoint

WEIGHT = f"{DOWN}.weight"  # 24 x 40


def mapping(command, checkpoint, out, *more):
    return command("map", checkpoint, "--machine", "tiny", "--tokens", 5, "--out", out, *more)


def row_of(text, name=DOWN):
    return next(row for row in json.loads(text)["layers"] if row["name"] == name)


@pytest.mark.parametrize("name", [
    "int4", "nf4", "bcq3", *(name for name in SCHEMES if not name.startswith("mxfp8"))])
def test_image_holds_what_the_quantizer_gives(command, checkpoint, tmp_path, name):
    code, out, err = mapping(command, checkpoint, tmp_path / "out", "--weights", name, "--json")
    assert code == 0, err
    image = open_image(tmp_path / "out")
    op = image.layer(DOWN)
    own = scheme(name)
    size = None if own.block else min(own.group_size, 40)
    expected = quantize(bert_tensors()[WEIGHT], name, size)
    found = matrix(image, op)
    assert found.datatype == expected.datatype and found.k_logical == 40
    assert (found.columns is None) == (expected.columns is None) == (op.columns is None)
    if expected.columns is not None:
        assert (found.columns == expected.columns).all()
    assert (found.by_feature == expected.by_feature).all()
    assert (found.channel_scale == expected.channel_scale).all()
    row = row_of(out)
    assert (row["weights"], row["datatype"]) == (name, expected.datatype.name)
    assert row["group_size"] == min(own.check(None, False, 8, False), 40)
    assert row["pe"] == "lut" and row["slices_per_weight"] == op.planned.spec.slots


def test_outliers_by_hand(command, checkpoint, tmp_path):
    # 40 features in groups of 4: ten groups, one of them (10 / 16, rounded up) stored twice.
    code, out, _ = mapping(command, checkpoint, tmp_path / "out", "--weights", "int4_o8",
                           "--group-size", 4, "--json")
    assert code == 0
    row, image = row_of(out), open_image(tmp_path / "out")
    assert (row["k"], row["k_stored"]) == (40, 44)
    assert "K 40 stored as 44 columns, 1 groups in two parts" in row["notes"]
    op = image.layer(DOWN)
    stored = np.frombuffer(image.stored(op.placed.columns, 44 * 4), "<i4")
    found, counts = np.unique(stored, return_counts=True)
    assert (found == np.arange(40)).all() and sorted(counts) == [1] * 36 + [2] * 4
    (twice,) = {feature // 4 for feature in found[counts == 2]}
    w = bert_tensors()[WEIGHT].astype(float)
    plain = quantize(w, "int4", 4)
    error = np.square(w - plain.dequantize()).reshape(24, 10, 4).sum(axis=(0, 2))
    assert twice == error.argmax()
    # Bits: 44 columns padded to tiles of 16 per group of 4, a half-word per group; 960 weights.
    assert row["bits_per_weight"] == pytest.approx((24 * 11 * 16 * 4 + 24 * 11 * 16) / 960)


def test_bits_per_weight_counts_codes_scales_and_tables(command, checkpoint, tmp_path):
    # Groups of 8 are two tiles of 4 lanes; codes of 4 bits and 16 bits of scale and select per 8.
    _, out, _ = mapping(command, checkpoint, tmp_path / "out", "--weights", "bitmod4",
                        "--group-size", 8, "--pe", "serial", "--json")
    image = open_image(tmp_path / "out")
    row, plan = row_of(out), image.layer(DOWN).planned
    assert row["pe"] == "serial" and plan.table_bytes > 0
    assert row["bits_per_weight"] == pytest.approx(4 + 16 / 8 + 8 * plan.table_bytes / 960)


def test_table_names_scheme_and_datatype(command, checkpoint, tmp_path):
    _, out, _ = mapping(command, checkpoint, tmp_path / "out", "--weights", "mxfp4")
    assert "mxfp4 (fp4) g32" in out and "lut elements" in out and "bits/weight" in out


def test_columns_do_not_overlap_and_end_the_host_part(command, checkpoint, tmp_path):
    mapping(command, checkpoint, tmp_path / "out", "--weights", "fp4mix_o8", "--group-size", 8)
    image = open_image(tmp_path / "out")
    for one, two in pairwise(image.layers.values()):
        place = one.placed
        assert place.bias + 4 * one.n <= place.columns
        assert place.columns + 4 * one.stored_k <= two.placed.weights


@pytest.mark.parametrize("name, pe", [("fp4mix_o8", "lut"), ("fp4mix_o8", "serial"),
                                      ("int4_o8", "mac"), ("mxfp4", "serial"), ("nvfp4", "mac"),
                                      ("bitmod4_mse", "lut"), ("bcq3", "lut")])
def test_rtl_is_the_definition(command, checkpoint, tmp_path, name, pe):
    group = () if scheme(name).block else ("--group-size", 8)
    assert mapping(command, checkpoint, tmp_path / "out", "--weights", name, "--pe", pe,
                   *group)[0] == 0
    a = np.random.default_rng(14).integers(-128, 128, (5, 40), dtype=np.int8)
    np.save(tmp_path / "a.npy", a)
    found = {}
    for backend in ("golden", "cycles", "rtl"):
        code, out, err = command("run", tmp_path / "out", "--layer", DOWN, "--backend", backend,
                                 "--input", tmp_path / "a.npy", "--json")
        assert code == 0, err
        found[backend] = json.loads(out)
    expected = quantize(bert_tensors()[WEIGHT], name, 8 if group else None)
    y = mpgemm_reference(a, expected)
    assert found["rtl"]["mismatches"] == 0
    assert found["rtl"]["sha256"] == found["golden"]["sha256"] == digest(y)
    assert found["rtl"]["cycles"] == found["rtl"]["model_cycles"] == found["cycles"]["cycles"]


@pytest.mark.parametrize("name", ["fp4", "bitmod4", "fp3mix_o8"])
def test_one_layer_on_every_element(command, checkpoint, tmp_path, name):
    mapping(command, checkpoint, tmp_path / "out", "--weights", name, "--group-size", 8)
    sums = set()
    for pe in ("lut", "serial", "mac"):
        for backend in ("golden", "rtl"):
            code, out, err = command("run", tmp_path / "out", "--layer", DOWN, "--backend",
                                     backend, "--pe", pe, "--seed", 2, "--json")
            assert code == 0, err
            found = json.loads(out)
            sums.add(found["sha256"])
            assert not found["mismatches"]
        _, out, _ = command("run", tmp_path / "out", "--layer", DOWN, "--backend", "cycles",
                            "--pe", pe, "--json")
        assert json.loads(out)["cycles"] == found["cycles"]
    assert len(sums) == 1


@pytest.mark.parametrize("backend", ["cycles", "rtl"])
def test_elements_that_do_not_take_a_datatype(command, checkpoint, tmp_path, backend):
    mapping(command, checkpoint, tmp_path / "out", "--weights", "bcq3")
    for pe in ("serial", "mac"):
        refused(command("run", tmp_path / "out", "--layer", DOWN, "--backend", backend, "--pe",
                        pe), f"layer {DOWN}: datatype bcq3 does not run on {pe} elements",
                "use --pe lut")


@pytest.mark.parametrize("bits", [4, 16])
def test_activations_of_the_machines_width(command, checkpoint, tmp_path, bits):
    mapping(command, checkpoint, tmp_path / "out", "--weights", "fp4mix_o8", "--group-size", 8,
            "--scale-bits", 5, "--set", f"act_bits={bits}")
    x = np.random.default_rng(15).normal(size=(5, 40))
    np.save(tmp_path / "x.npy", x)
    image = open_image(tmp_path / "out")
    a = activations(image.layer(DOWN), tmp_path / "x.npy", bits)
    assert (np.abs(a).max(axis=1) == (1 << bits - 1) - 1).all()
    code, out, err = command("run", tmp_path / "out", "--layer", DOWN, "--backend", "rtl",
                             "--input", tmp_path / "x.npy", "--json")
    assert code == 0, err
    assert json.loads(out)["mismatches"] == 0


# ---- what does not go together ------------------------------------------------------------
@pytest.mark.parametrize("arguments, words", [
    (("--weights", "mxfp4", "--group-size", 64), ("group size of mxfp4 must be 32", "64")),
    (("--weights", "mxfp4", "--scale-bits", 6), ("scale bits of mxfp4", "powers of two")),
    (("--weights", "mxfp4", "--clip-search"), ("mxfp4 has no clip search",)),
    (("--weights", "bitmod4", "--asymmetric"), ("asymmetric", "bitmod4")),
    (("--weights", "int4_o8", "--scale-bits", 4), (QUERY, "scale_bits must be 5 to 11")),
    (("--weights", "bcq3", "--pe", "serial"), (QUERY, "bcq3 does not run on serial", "--pe lut")),
    (("--weights", "mxfp8_e4m3"), (QUERY, "fp8_e4m3 does not run on lut", "smaller range")),
    (("--weights", "nf4", "--pe", "mac", "--set", "value_bits=4"),
     (QUERY, "nf4 does not run on mac", "value_bits=5")),
    (("--weights", "bitmod4_mse", "--scale-bits", 10, "--pe", "serial", "--group-size", 8),
     (QUERY, "at most 9 scale bits")),
])
def test_refusals(command, checkpoint, tmp_path, arguments, words):
    refused(mapping(command, checkpoint, tmp_path / "out", *arguments), *words)
    assert not list(tmp_path.iterdir())


def test_unknown_weights_list_what_is_known(command, checkpoint, tmp_path):
    code, out, err = mapping(command, checkpoint, tmp_path / "out", "--weights", "int9")
    assert code == 2 and out == ""
    for name in ("int4", "nf4", "bitmod4_mse", "mxfp4", "fp4mix_o8", ".toml", "int9"):
        assert name in err


def test_help_points_at_the_list(command):
    code, out, _ = command("map", "--help")
    assert code == 0 and "bitwright formats" in " ".join(out.split()) and "fp4_er_pos" not in out


def test_clip_search_is_passed_on(command, checkpoint, tmp_path):
    found = []
    for name, more in (("a", ()), ("b", ("--clip-search",))):
        _, out, _ = mapping(command, checkpoint, tmp_path / name, "--json", *more)
        found.append(row_of(out)["sqnr_db"])
    w = bert_tensors()[WEIGHT]
    assert found == [round(quantize(w, "int4", 40, clip_search=clip).sqnr_db(w), 2)
                     for clip in (False, True)]
    assert found[1] > found[0]


# ---- extreme weights ----------------------------------------------------------------------
def small(folder, value):
    tensors = bert_tensors()
    tensors[WEIGHT][7, :32] *= 0.1
    tensors[WEIGHT][7, 32:] = value
    return write_checkpoint(folder, tensors)


@pytest.mark.parametrize("name, group", [("mxfp4", 1), ("nvfp4", 2)])
def test_scale_that_underflows(command, tmp_path, name, group):
    source = small(tmp_path / "in", 1e-12)
    refused(mapping(command, source, tmp_path / "out", "--weights", name),
            f"layer {DOWN}: scale of channel 7, group {group} underflows the mantissa",
            "and 0 more", "--flush-small-scales")
    assert not (tmp_path / "out").exists()
    # 2^15 in a digit of shift 4 would exceed the multiplier of lut elements.
    code, out, err = mapping(command, source, tmp_path / "out", "--weights", name, "--json",
                             "--flush-small-scales", "--pe", "serial")
    assert code == 0, err
    assert row_of(out)["notes"][-1] == "1 small scales raised to the least there is"
    assert not any("small" in note for note in row_of(out, QUERY)["notes"])
    found = matrix(open_image(tmp_path / "out"), open_image(tmp_path / "out").layer(DOWN))
    assert not found.by_feature[7, 32:].any()


def test_scales_beyond_the_multiplier(command, tmp_path):
    source = small(tmp_path / "in", 1e-12)
    refused(mapping(command, source, tmp_path / "out", "--weights", "mxfp4",
                    "--flush-small-scales"),
            f"layer {DOWN}: scale of channel 7, group 0 is 32768", "131072",
            "groups of a channel differ less")


@pytest.mark.parametrize("name", ["int4", "mxfp4", "bitmod4", "int4_o8"])
def test_groups_of_zeros_are_noted(command, tmp_path, name):
    source = small(tmp_path / "in", 0)
    size = () if name == "mxfp4" else ("--group-size", 8)
    code, out, _ = mapping(command, source, tmp_path / "out", "--weights", name, "--json", *size)
    assert code == 0
    total = 24 * (5 if size else 2)
    assert f"1 of {total} groups are all zero" in row_of(out)["notes"]
    assert not any("zero" in note for note in row_of(out, QUERY)["notes"])


def test_options_reach_the_image(checkpoint, tmp_path):
    options = Options(weights="mxfp4", tokens=2, flush_small_scales=True)
    map_checkpoint(checkpoint, tmp_path / "out", PRESETS["tiny"], options)
    assert open_image(tmp_path / "out").options == options
