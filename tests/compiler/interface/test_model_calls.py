"""A checkpoint through the interface: read, quantize, map, run, report."""

import dataclasses
import json

import numpy as np
import pytest

import bitwright
from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.compiler.interface.model_mapping import MapOptions
from bitwright.compiler.ir.program import Options
from bitwright.models.inference.golden import mpgemm
from tests.compiler.tiny import DOWN, QUERY
from tests.compiler.whole import TEXT


def test_a_checkpoint_lists_its_layers_and_gives_their_weights(checkpoint):
    with bitwright.read_checkpoint(checkpoint) as found:
        assert (found.family, found.layout, len(found.layers)) == ("bert", "", 12)
        query = next(layer for layer in found.layers if layer.name == QUERY)
        weights = found.weight(QUERY)
    assert weights.shape == (query.n, query.k) and weights.dtype == np.float32
    with open_checkpoint(checkpoint) as opened:
        assert np.array_equal(weights, opened.read(f"{QUERY}.weight"))
    assert repr(found) == (f"ModelCheckpoint(model.safetensors: bert, 12 layers, "
                           f"{found.parameters:,} parameters, floats)")


def test_an_unknown_layer_and_a_missing_file_are_errors(checkpoint, tmp_path):
    with bitwright.read_checkpoint(checkpoint) as found:
        with pytest.raises(bitwright.Error, match="no layer of model.safetensors is named 'x'"):
            found.weight("x")
    with pytest.raises(bitwright.Error, match="none.safetensors"):
        bitwright.read_checkpoint(tmp_path / "none.safetensors")


def test_quantize_gives_codes_close_to_the_weights():
    weights = np.random.default_rng(0).normal(size=(16, 64))
    found = bitwright.quantize(weights, "int4", group_size=16)
    assert found.sqnr_db(weights) > 18
    assert np.abs(found.dequantize() - weights).max() < np.abs(weights).max() / 7
    assert repr(found) == "QuantizedMatrix(int4, 16 x 64 in groups of 16)"


@pytest.mark.parametrize("weights, scheme, said", [
    ([[1.0, float("nan")]], "int4", "finite"), ([[1.0, 2.0]], "int44", "weights must be one of")])
def test_what_cannot_be_quantized_is_an_error_and_a_value_error(weights, scheme, said):
    with pytest.raises(bitwright.Error, match=said) as caught:
        bitwright.quantize(weights, scheme)
    assert isinstance(caught.value, ValueError)


def test_map_and_load_give_the_same_image(checkpoint, tmp_path):
    with bitwright.read_checkpoint(checkpoint) as source:
        made = bitwright.map_model(source, tmp_path / "mapped", "tiny", tokens=5, group_size=16)
    loaded = bitwright.load_image(tmp_path / "mapped")
    assert loaded == made and list(loaded.layers)[0] == QUERY
    assert repr(made.layers[QUERY]) == f"LinearOp({QUERY}: 5x24x24 int4)"
    assert repr(made) == "Image(model.safetensors (bert) on tiny: 12 layers, 5 tokens)"


def test_mapping_is_that_of_the_command(checkpoint, command, mapped, tmp_path):
    bitwright.map_model(checkpoint, tmp_path / "mapped", bitwright.machine("tiny"), tokens=5,
                        group_size=16, weights="int4")
    for name in ("program.bin", "weights.bin", "manifest.json", "report.json"):
        assert (tmp_path / "mapped" / name).read_bytes() == (mapped / name).read_bytes(), name


def test_what_the_machine_cannot_run_is_an_error(checkpoint, tmp_path):
    with pytest.raises(bitwright.Error, match="--tokens|positions|tokens"):
        bitwright.map_model(checkpoint, tmp_path / "mapped", "tiny", tokens=500)
    assert not (tmp_path / "mapped").exists()
    with pytest.raises(bitwright.Error, match="unknown machine 'large'"):
        bitwright.map_model(checkpoint, tmp_path / "mapped", "large")


def test_a_layer_runs_on_integers(mapped):
    image = bitwright.load_image(mapped)
    a = np.random.default_rng(1).integers(-128, 128, size=(5, 24), dtype=np.int8)
    found = bitwright.run(image, layer=QUERY, activations=a)
    again = bitwright.run(mapped, layer=QUERY, activations=a)
    assert found.good and found.accumulators.shape == (5, 24) and found.outputs is None
    assert np.array_equal(found.accumulators, again.accumulators)
    assert repr(found) == f"LayerRun({QUERY} on golden, good)"


def test_a_layer_of_floats_gives_its_outputs(checkpoint, mapped):
    x = np.random.default_rng(2).normal(size=(5, 40))
    found = bitwright.run(mapped, layer=DOWN, activations=x)
    with open_checkpoint(checkpoint) as opened:
        exact = x @ opened.read(f"{DOWN}.weight").T + opened.read(f"{DOWN}.bias")
        quantized = bitwright.quantize(opened.read(f"{DOWN}.weight"), "int4", group_size=16)
    noise = np.square(found.outputs - exact).sum() / np.square(exact).sum()
    assert noise < 0.02
    scale = np.abs(x).max(axis=1) / 127
    codes = np.rint(x / scale[:, None]).astype(np.int8)
    assert np.array_equal(found.accumulators, mpgemm(codes, quantized))


def test_the_cycle_model_gives_the_cycles_of_the_report(mapped):
    report = bitwright.load_report(mapped)
    row = next(layer for layer in report.layers if layer.name == QUERY)
    found = bitwright.run(mapped, layer=QUERY, backend="cycles")
    assert found.cycles == row.cycles and found.accumulators is None
    assert repr(found) == f"LayerRun({QUERY} on cycles, {row.cycles:,} cycles, good)"


def test_the_rtl_agrees_with_both_models(mapped):
    found = bitwright.run(mapped, layer=QUERY, backend="rtl", seed=3)
    assert found.good and found.mismatches == 0 and found.cycles == found.model_cycles
    assert np.array_equal(found.accumulators,
                          bitwright.run(mapped, layer=QUERY, seed=3).accumulators)


def test_a_text_runs_through_the_whole_model(images):
    found = bitwright.run(images["bert"], text=TEXT)
    assert found.good and found.tokens == 5 and found.output.shape == (24,)
    assert found.cosine > 0.9 and found.launches["backend"] == "golden"
    assert repr(found) == f"ModelRun(5 tokens on golden, cosine {found.cosine:.4f}, good)"


@pytest.mark.parametrize("arguments, said", [
    ({}, "one of layer and text"), ({"layer": QUERY, "text": "a"}, "one of layer and text"),
    ({"layer": "query"}, "no layer of"), ({"layer": QUERY, "backend": "fpga9"}, "backend"),
    ({"layer": QUERY, "activations": np.zeros((5, 25), np.int8)}, "activations must have shape"),
    ({"layer": QUERY, "decode": True}, "--decode"), ({"text": "a", "kv": "int3"}, "keys")])
def test_what_cannot_run_is_an_error(mapped, arguments, said):
    with pytest.raises(bitwright.Error, match=said):
        bitwright.run(mapped, **arguments)


def test_a_report_holds_what_its_file_holds(mapped):
    found = bitwright.load_report(mapped)
    said = json.loads((mapped / "report.json").read_text())
    assert found == bitwright.load_report(mapped / "report.json")
    for layer, row in zip(found.layers, said["layers"], strict=True):
        for name, value in dataclasses.asdict(layer).items():
            said_here = row.get("programs") if name == "programs" else row[name]
            assert value == (tuple(said_here) if name == "notes" else said_here), name
    assert found.totals.cycles == said["totals"]["cycles"]
    assert found.totals.attention.launches == said["totals"]["attention"]["launches"]
    assert len(found.totals.host) == len(said["totals"]["host"])
    assert found.resources[0].luts == said["chips"]["ecp5"]["luts"]
    assert repr(found) == f"Report(12 layers on tiny, 5 tokens, {found.totals.cycles:,} cycles)"


def test_a_report_has_the_one_token_programs(decoding):
    found = bitwright.load_report(decoding)
    said = json.loads((decoding / "report.json").read_text())
    assert found.totals.programs == said["totals"]["programs"]
    assert [layer.programs for layer in found.layers] == [
        row["programs"] for row in said["layers"]]


def test_the_options_are_those_of_the_command():
    fields = {field.name for field in dataclasses.fields(Options)}
    assert MapOptions.__annotations__.keys() == fields


@pytest.mark.parametrize("text", ["{}", "[]", "nothing", '{"totals": 3}'])
def test_another_file_is_no_report(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(bitwright.Error, match="report.json"):
        bitwright.load_report(tmp_path)
    with pytest.raises(bitwright.Error, match="No such file"):
        bitwright.load_report(tmp_path / "none.json")
