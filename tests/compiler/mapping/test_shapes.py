"""``map --shapes-only``: the report of ``map`` without weights, for every known family."""

import json

import pytest

from bitwright.compiler.ir.lowering import dataflow
from bitwright.compiler.ir.program import AttentionOp, LinearOp, Options
from bitwright.compiler.mapping.map_shapes import map_shapes
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.architectures.families import EXAMPLES, read_config, transformer
from tests.compiler.tiny import BERT, LLAMA, bert_tensors, llama_tensors, map_tiny, write_checkpoint

MIXTURE = {**LLAMA, "architectures": ["MixtralForCausalLM"], "model_type": "mixtral",
           "num_local_experts": 4, "num_experts_per_tok": 2}
VIT = {"model_type": "vit", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 1,
       "num_attention_heads": 3, "image_size": 8, "patch_size": 4, "num_channels": 3,
       "num_labels": 5}


def write(folder, config):
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def shapes(command, path, *more):
    return command("map", "--shapes-only", path, "--machine", "tiny", "--group-size", 16, *more)


def shaped(config, machine=PRESETS["tiny"], **more):
    return map_shapes(config, machine, Options(group_size=16), **more)


@pytest.mark.parametrize("config, tensors", [(BERT, lambda: bert_tensors(pooler=True)),
                                             (LLAMA, llama_tensors)])
@pytest.mark.parametrize("weights", ["int4", "ternary", "int8"])
def test_the_report_is_that_of_the_checkpoint(command, tmp_path, config, tensors, weights):
    source = write_checkpoint(tmp_path / "in", tensors(), config)
    more = ("--weights", weights, "--json")
    mapped = json.loads(map_tiny(command, source, tmp_path / "out", *more)[1])
    code, out, _ = shapes(command, tmp_path / "in" / "config.json", "--tokens", 5, *more)
    found = json.loads(out)
    assert code == 0 and found.pop("model")["family"] == config["model_type"]
    for row in mapped["layers"]:
        assert row["accumulator_bound"] is not None
        row |= {"accumulator_bound": None, "sqnr_db": None}
    assert found == mapped


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_one_graph(name):
    config = read_config(name)
    model = transformer(config)
    graph = dataflow(model, config, 16)
    ops = dict(graph.nodes(data="op"))
    names = [one.name for one in model.linears()]
    assert [op.name for op in ops.values() if isinstance(op, LinearOp)] == [
        one for one in names if one != "pooler.dense"]
    assert set(names) <= set(ops)
    ends = [node for node in graph if not graph.out_degree(node)]
    starts = [node for node in graph if not graph.in_degree(node)]
    assert len(ends) == 1 and len(starts) == 1
    attention = [op for op in ops.values() if isinstance(op, AttentionOp)]
    assert len(attention) == 2 * model.layers
    norms = sum(getattr(op, "operator", "") == "norm" for op in ops.values())
    assert norms == 1 + model.layers * {"phi": 1, "bitnet": 4}.get(model.family, 2)
    assert {op.launches for op in attention} == {model.kv_heads}
    assert {op.macs for op in attention} == {16 * 16 * model.heads * model.head_dim}


def test_mixture_by_hand(tmp_path, command):
    found = shaped(MIXTURE, tokens=3)     # six visits to four experts
    rows = {row["name"]: row for row in found["layers"]}
    experts = "model.layers.0.block_sparse_moe.experts"
    assert [rows[f"{experts}.{expert}.w1"]["m"] for expert in range(4)] == [2, 2, 1, 1]
    assert (rows[f"{experts}.3.w2"]["k"], rows[f"{experts}.3.w2"]["n"]) == (20, 16)
    hosted = {row["operator"]: row for row in found["totals"]["host"]}
    assert hosted["router"]["macs"] == 3 * 4 * 16
    assert hosted["activation"]["elements"] == 6 * 20
    assert found["totals"]["macs"] == (3 * (16 * 16 * 2 + 8 * 16 * 2 + 11 * 16)
                                       + 6 * 3 * 16 * 20)
    (text,) = found["model"]["assumptions"]
    assert "2 of 4 experts" in text and "2 to the busiest" in text and "1 to the least" in text
    one = shaped(MIXTURE, tokens=1)
    assert f"{experts}.2.w1" not in {row["name"] for row in one["layers"]}
    assert "2 experts without a token" in one["model"]["assumptions"][0]
    _, out, _ = shapes(command, write(tmp_path, MIXTURE), "--tokens", 1)
    assert "assumed: 2 of 4 experts" in out and "router" in out


def test_image_by_hand(command, tmp_path):
    found = shaped(VIT)
    rows = {row["name"]: (row["m"], row["k"], row["n"]) for row in found["layers"]}
    assert rows["vit.embeddings.patch_embeddings.projection"] == (4, 48, 24)
    assert rows["classifier"] == (1, 24, 5) and found["tokens"] == 5
    assert rows["vit.encoder.layer.0.intermediate.dense"] == (5, 24, 40)
    path = write(tmp_path, VIT)
    assert shapes(command, path, "--tokens", 5)[0] == 0
    code, out, err = shapes(command, path, "--tokens", 6)
    assert (code, out) == (1, "") and "--tokens must be 5" in err


def test_context_adds_to_attention_alone():
    near, far = shaped(LLAMA, tokens=2), shaped(LLAMA, tokens=2, context=7)
    assert near["layers"] == far["layers"]
    host = [{row["operator"]: row for row in found["totals"]["host"]} for found in (near, far)]
    attention = [found["totals"]["attention"] for found in (near, far)]
    assert [each["macs"] for each in attention] == [2 * 2 * 2 * 16, 2 * 2 * 9 * 16]
    assert attention[0]["launches"] == attention[1]["launches"]
    assert attention[0]["cycles"] < attention[1]["cycles"]
    assert host[1]["softmax"]["elements"] == 2 * 4 * 9
    assert host[0]["rotary"] == host[1]["rotary"]


def test_equal_shapes_are_computed_once(monkeypatch):
    import bitwright.compiler.passes.estimate_cost as report

    calls, run = [], report.run_cycles
    monkeypatch.setattr(report, "run_cycles", lambda *args: calls.append(args) or run(*args))
    found = map_shapes(read_config("llama-2-7b"), PRESETS["ulx3s-85f"], Options(), tokens=1)
    assert len(calls) == 4 and found["totals"]["layers"] == 225
    assert found["model"]["parameters"] == 6_738_415_616
    assert found["totals"]["macs"] == 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32000 * 4096


def test_attention_that_does_not_fit_stays_on_the_host():
    machine = PRESETS["tiny"].replace(act_bits=16)
    found = shaped(LLAMA | {"head_dim": 1024}, machine=machine, tokens=2)
    hosted = {row["operator"]: row for row in found["totals"]["host"]}
    assert "--kv int4" in hosted["attention scores"]["reason"]
    assert hosted["attention scores"]["macs"] == 2 * 2 * 4 * 1024
    assert "attention values" not in hosted and found["totals"]["attention"]["launches"] == 2
    assert found["totals"]["array_share"] < 1


def test_models_beyond_the_machines_addresses_are_estimated():
    found = map_shapes(read_config("mixtral-8x7b"), PRESETS["ulx3s-85f"], Options(), tokens=4)
    assert found["totals"]["weight_bytes"] > 1 << 32


def test_table(command, tmp_path):
    code, out, err = shapes(command, write(tmp_path, LLAMA), "--tokens", 2, "--context", 3)
    assert code == 0 and err == "" and list(tmp_path.iterdir()) == [tmp_path / "config.json"]
    for words in ("lm_head", "model.layers.0.mlp.down_proj", "bits per weight", "attention: ",
                  "from its configuration alone; tokens: 2 after 3"):
        assert words in out


@pytest.mark.parametrize("more, words", [
    (("--tokens", 17), ("at most 16", "17")), (("--tokens", 9, "--context", 8), ("at most 16",)),
    (("--weights", "fp4", "--asymmetric"), ("asymmetric", "fp4")),
    (("--set", "weight_depth=8"), ("q_proj", "weight_depth"))])
def test_refusals(command, tmp_path, more, words):
    code, out, err = shapes(command, write(tmp_path, LLAMA), *more)
    assert (code, out) == (1, "") and err.startswith("error: ") and err.count("\n") == 1
    assert all(word in err for word in words)


def test_unknown_architecture(command, tmp_path):
    code, out, err = shapes(command, write(tmp_path, {"architectures": ["T5Model"]}))
    assert (code, out) == (1, "") and err.count("\n") == 1
    for family in ("T5Model", "bert", "llama", "mixtral", "bitnet", "qwen2", "phi", "gpt2", "opt",
                   "vit"):
        assert family in err


@pytest.mark.parametrize("arguments", [
    ("map",), ("map", "model.safetensors"), ("map", "--shapes-only", "gpt2", "--out", "x"),
    ("map", "model.safetensors", "--shapes-only", "gpt2"),
    ("map", "--shapes-only", "gpt2", "--config", "config.json"),
    ("map", "--shapes-only", "gpt2", "--print-after", "tile"),
    ("map", "model.safetensors", "--out", "x", "--context", "1")])
def test_wrong_usage(command, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(*arguments)
    assert code == 2 and out == "" and "--shapes-only" in err
    assert not list(tmp_path.iterdir())
