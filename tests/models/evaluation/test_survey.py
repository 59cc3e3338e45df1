"""The quality survey on a tiny decoder, and its command."""

import json
import subprocess
import sys

import numpy as np
import pytest

from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.evaluation.subjects import Decoder
from bitwright.models.evaluation.survey_jobs import plan
from bitwright.models.evaluation.survey_measure import Job, Source, work
from bitwright.models.evaluation.survey_pool import Store, digest
from bitwright.models.evaluation.survey_report import markdown, plot, text_rows
from bitwright.models.evaluation.variants import Variant, variant
from bitwright.models.inference.perplexity import make_integer_activations, perplexity
from bitwright.models.inference.reference_bert import float_linear
from bitwright.models.inference.reference_llama import Llama
from bitwright.models.quantization.schemes import SCHEMES, quantize
from tests.models.inference.tiny_llama import tensors, write_gguf


@pytest.fixture
def source(tmp_path):
    write_gguf(tmp_path / "tiny.gguf", tensors())
    rng = np.random.default_rng(seed=4)
    (tmp_path / "text.txt").write_text("".join(rng.choice(list("abc 12\n"), 4000)))
    return Source(tmp_path / "tiny.gguf", tmp_path / "text.txt", 2)


def run(source, *arguments, out=None):
    return subprocess.run(
        [sys.executable, "-m", "models", "quality", "--model", source.model, "--text", source.text,
         "--out", out or source.text.with_name("out"), *arguments],
        capture_output=True, text=True, timeout=120)


def test_work_is_what_it_says(source):
    decoder = Decoder(source.model, source.text, source.windows)
    found = work(source, Job("text", "smollm2", variant("fp4", 16)))
    new, decibels, noise = dict(decoder.weights), [], 0.0
    for name, w in decoder.layers.items():
        matrix = quantize(w, "fp4", 16)
        new[f"{name}.weight"] = matrix.dequantize().astype(np.float32)
        decibels.append(matrix.sqnr_db(w))
        noise += np.square(matrix.dequantize() - w).sum()
    for key, linear in (("float", float_linear), ("int8", make_integer_activations())):
        expected = perplexity(Llama(decoder.config, new, linear), decoder.windows)
        assert found[key] == pytest.approx(expected, abs=1e-3)
    assert found["db"] == pytest.approx(decibels, abs=0.006) and len(found["db"]) == 14
    assert found["mean_db"] == pytest.approx(np.mean(decibels), abs=0.006)
    assert found["squared_error"] == pytest.approx(noise, rel=1e-5)
    assert (found["weights"], found["group_size"]) == ("fp4", 16)
    weights = sum(w.size for w in decoder.layers.values())
    groups_and_channels = sum(w.shape[0] * (8 * w.shape[1] / 16 + 32)
                              for w in decoder.layers.values())
    assert found["bits"] == pytest.approx(4 + groups_and_channels / weights, abs=1e-4)
    errors = work(source, Job("error", "smollm2", variant("fp4", 16)))
    assert errors == {key: found[key] for key in errors} and "float" not in errors
    assert work(source, Job("text", "smollm2", variant("rtn4", 16)))["int8"] is None


def test_mixture_against_its_parts(source):
    found = work(source, Job("mixture", "smollm2", Variant("bitmod4", 128)))
    layers = Decoder.kept(source.model, source.text, source.windows).layers

    def error(w, name):
        return np.square(quantize(w, name, 128).dequantize() - w).sum()

    assert set(found) == {"bitmod4", "bitmod4_mse"}
    for mixture, parts in found.items():
        assert set(parts) == {"fp4", "int4", "fp4_er_neg", "fp4_er_pos", "fp4_ea_neg", "fp4_ea_pos"}
        for part, row in parts.items():
            ratios = [error(w, mixture) / error(w, part) for w in layers.values()]
            assert row["every"] == pytest.approx(ratios, abs=1e-4)
            assert row["worst"] == pytest.approx(max(ratios), abs=1e-4)
            assert row["worst_layer"] == list(layers)[int(np.argmax(ratios))]


def test_plan():
    full, quick = plan(), plan(quick=True)
    assert len(set(full)) == len(full) and set(quick) - {j for j in quick if "error" in j.kind} \
        <= set(full)
    swept = {j.variant.name for j in full if (j.kind, j.model) == ("error", "minilm")}
    assert swept >= set(DATATYPES) | set(SCHEMES)
    assert {j.variant.group_size for j in full if j.kind == "error"} == {16, 32, 64, 128, 256, 0}
    assert [j.key for j in plan(["int4", "mxfp4"], [32, 0])] == [
        "shipped/smollm2", "text/smollm2/int4/32", "text/smollm2/int4/0", "text/smollm2/mxfp4/32",
        "error/minilm/int4/32", "error/minilm/int4/0", "error/minilm/mxfp4/32"]


def test_store_goes_on_where_it_stopped(source, tmp_path):
    path = tmp_path / "new" / "quality.json"
    store = Store(path, source)
    store.put("b", {"x": 1.5})
    store.put("a", [None])
    assert Store(path, source).results == {"a": [None], "b": {"x": 1.5}}
    other = Source(source.model, source.text, 1)
    assert digest(other) != digest(source) and Store(path, other).results == {}
    source.text.write_text("another")
    assert Store(path, source).results == {}
    path.write_text("[]")
    with pytest.raises(ValueError, match="quality.json does not hold results"):
        Store(path, source)


def row(name, bits, perplexity, **more):
    return {"weights": name, "group_size": 64, "bits": bits, "mean_db": 20.0, "total_db": 21.0,
            "squared_error": 3.0, "db": [20.0], "float": perplexity, "int8": None, **more}


def test_report_and_plot(tmp_path):
    results = {"shipped/smollm2": {"float": 30.885, "int8": 31.8},
               "text/smollm2/int4/64": row("int4", 4.2, 40.0, int8=41.0),
               "text/smollm2/rtn8/64": row("rtn8", 8.5, 30.9),
               "text/smollm2/fp3/64": row("fp3", 3.2, 1234.5),
               "error/minilm/int4/0": row("int4", 4.1, 0.0, group_size=0),
               "mixture/minilm/bitmod4/128": {"bitmod4": {"fp4": {
                   "mean": 0.8, "worst": 0.99, "worst_layer": "dense", "every": [0.8]}}}}
    assert [r["weights"] for r in text_rows(results)] == ["fp3", "int4", "rtn8"]
    text = markdown(results, 2044, "the command")
    for line in ("| as in the file |  |  | 30.885 | 31.800 |  |",
                 "| `int4` | 64 | 4.200 | 40.00 | 41.00 | 21.00 |",
                 "| `fp3` | 64 | 3.200 | 1.23e+03 |  | 21.00 |",
                 "| `bitmod4` to `fp4` | minilm | 0.8000 | 0.9900 | dense |",
                 "| weights | channel |"):
        assert line in text
    assert "Interrupted" not in text
    assert "3 measurements are missing" in markdown(results, 2044, "the command", missing=3)
    assert "`the command`" in text and "2,044 tokens" in text
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        plot(results, tmp_path / folder)
    for name in ("perplexity.png", "perplexity.svg"):
        one = (tmp_path / "one" / name).read_bytes()
        assert one == (tmp_path / "two" / name).read_bytes() and len(one) > 1000


def test_command(source):
    out = source.text.with_name("out")
    done = run(source, "--weights", "int4", "--windows", "2", "--group-size", "32")
    assert done.returncode == 0, done.stderr
    assert "int4" in done.stdout and "as in the file" in done.stdout
    assert {path.name for path in out.iterdir()} == {"quality.json", "quality.md",
                                                     "perplexity.png", "perplexity.svg"}
    assert "Perplexity of tiny" in (out / "quality.md").read_text()
    kept = (out / "quality.json").read_bytes()
    again = run(source, "--weights", "int4", "--windows", "2", "--group-size", "32", "--json")
    results = json.loads(again.stdout)
    assert (out / "quality.json").read_bytes() == kept
    assert set(results) == {"shipped/smollm2", "text/smollm2/int4/32", "error/minilm/int4/32"}
    assert len(results["error/minilm/int4/32"]["db"]) == 36


def refused(done, message, status=1):
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr and "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def test_refusals(source, tmp_path):
    refused(run(source, "--weights", "int9"), "weights must be one of int1", status=2)
    refused(run(Source(tmp_path / "none.gguf", source.text, 1)), "none.gguf")
    refused(run(Source(source.model, tmp_path / "none.txt", 1)), "none.txt")
    refused(run(source, "--weights", "int4", "--windows", "99"), "must have 50688 tokens")
    source.model.write_bytes(source.model.read_bytes()[:-2000])
    refused(run(source, "--weights", "int4"), "tiny.gguf is not a GGUF file, or is cut short")


def test_weight_that_is_not_finite_is_named(source):
    weights = tensors()
    weights["blk.1.attn_k.weight"][3, 5] = np.nan
    write_gguf(source.model, weights, types=0)
    refused(run(source, "--weights", "int4"), "blk.1.attn_k: weights at [3, 5] must be finite")
