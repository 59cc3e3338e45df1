"""Low-bit checkpoints through ``map`` and ``run``: the codes and scales that were stored."""

import hashlib
import json

import numpy as np
import pytest

from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.compiler.checkpoints.tensor_inventory import architecture
from bitwright.compiler.file_formats.sharded_safetensors import INDEX
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.layouts.native_matrix import hold
from bitwright.compiler.runtime.run_layer import digest, execute, matrix
from bitwright.models.inference.golden import mpgemm
from tests.compiler.layouts import test_awq, test_bitnet, test_blocks, test_gptq
from tests.compiler.layouts.build import write_safetensors
from tests.compiler.layouts.test_compressed import config, packed
from tests.compiler.tiny import BERT, LLAMA, bert_tensors

CONFIG = LLAMA | {"hidden_size": 32, "intermediate_size": 64, "tie_word_embeddings": False}
TOKENS = 3
DOWN, HEAD = "model.layers.0.mlp.down_proj", "lm_head"


def gptq(n, k, seed):
    index = np.random.default_rng(seed).permutation([i // 16 for i in range(k)]).tolist()
    return test_gptq.made(4, n, k, 16, seed, g_idx=index)[:2]


def awq(n, k, seed):
    return test_awq.made(n, k, 16, seed)[:2]


def compressed(n, k, seed):
    rng = np.random.default_rng(seed)
    q, scale = rng.integers(-8, 8, (n, k)), np.float16(rng.uniform(0.01, 0.09, (n, 1)))
    words = [[sum(int(v + 8) << 4 * j for j, v in enumerate(row[i:i + 8]))
              for i in range(0, k, 8)] for row in q]
    return {"m.weight_packed": ("I32", words), "m.weight_scale": ("F16", scale),
            "m.weight_shape": ("I64", [n, k])}, q * scale.astype(float)


def bitnet(n, k, seed):
    w = np.random.default_rng(seed).integers(-1, 2, (n, k))
    return {"m.weight": test_bitnet.packed(w), "m.weight_scale": ("F32", [0.37])}, \
        w * float(np.float32(0.37))


def nf4(n, k, seed):
    tensors, codes, absmax = test_blocks.nf4(n, k, block=16, seed=seed)
    whole = np.rint(np.array(test_blocks.NF4) * 127)[codes] / 127
    return tensors, whole * absmax.reshape(n, k)


def fp8(n, k, seed):
    return test_blocks.fp8(n, k, seed)[0], None


KINDS = {
    "gptq": (gptq, test_gptq.CONFIG | {"group_size": 16, "desc_act": True}, "int4", 2.0**-8),
    "awq": (awq, test_awq.CONFIG | {"group_size": 16}, "int4", 2.0**-8),
    "compressed-tensors pack-quantized": (compressed, packed(4), "int4", 0),
    "bitnet": (bitnet, test_bitnet.CONFIG, "ternary", 0),
    "bitsandbytes nf4": (nf4, test_blocks.BNB, "nf4", 2.0**-8),
    "fp8": (fp8, test_blocks.FP8, "fp8_e4m3", None),
}


def write_llama(folder, kind):
    """A checkpoint, its head in floats, and the weights of every other layer."""
    make, settings, _, _ = KINDS[kind]
    tensors = {"model.embed_tokens.weight": ("F32", np.zeros((11, 32))),
               "model.norm.weight": ("F32", np.ones(32)),
               "lm_head.weight": ("F32", np.random.default_rng(9).normal(size=(11, 32)))}
    for name in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"model.layers.0.{name}.weight"] = ("F32", np.ones(32))
    wanted = {}
    for seed, linear in enumerate(architecture(CONFIG).linears):
        if linear.name == HEAD:
            continue
        made, wanted[linear.name] = make(linear.n, linear.k, seed)
        tensors |= {linear.name + name[1:]: found for name, found in made.items()}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | {"quantization_config": settings}))
    write_safetensors(folder / "model.safetensors", tensors)
    return folder, wanted, tensors


def held(native, op):
    """The matrix that the plan of ``op`` has room for."""
    return hold(native, 8, max(digit.shift for digit in op.planned.spec.digits)).matrix


def map_native(command, checkpoint, out, *more):
    return command("map", checkpoint, "--machine", "tiny", "--tokens", TOKENS, "--out", out,
                   "--json", *more)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "fp8"])
def test_mapped_layers_are_the_stored_ones(command, tmp_path, kind):
    folder, wanted, _ = write_llama(tmp_path / "in", kind)
    _, _, datatype, error = KINDS[kind]
    code, out, err = map_native(command, folder, tmp_path / "out")
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(out)["layers"]}
    image = open_image(tmp_path / "out")
    assert image.options.weights == "native" and len(rows) == 8
    assert rows.pop(HEAD)["weights"] == "int8"  # stored in floats
    rng = np.random.default_rng(1)
    with open_checkpoint(folder) as checkpoint:
        natives = {linear.name: checkpoint.native(linear) for linear in checkpoint.linears}
    for name, row in rows.items():
        assert (row["weights"], row["datatype"]) == (kind, datatype)
        op = image.layer(name)
        a = rng.integers(-128, 128, (TOKENS, op.k)).astype(np.int8)
        golden = execute(image, op, "golden", a)
        assert golden.sha256 == digest(mpgemm(a, held(natives[name], op)))
        qm = matrix(image, op)
        assert (qm.codes == held(natives[name], op).codes).all()
        assert np.abs(qm.dequantize() - wanted[name]).max() <= 2 * error * abs(wanted[name]).max()
        y = golden.accumulators * qm.channel_scale
        exact = a.astype(float) @ wanted[name].T
        assert np.abs(y - exact).max() <= error * np.abs(a).max() * np.abs(wanted[name]).sum(
            axis=1).max() + 1e-9 * np.abs(exact).max()
        notes = " ".join(row["notes"])
        assert ("by group" in notes) == (kind == "gptq")
        assert ("steps of 1/127" in notes) == (datatype == "nf4")
        if not error:
            assert "off by" not in notes


def test_run_by_command_line(command, tmp_path):
    folder, wanted, _ = write_llama(tmp_path / "in", "gptq")
    assert map_native(command, folder, tmp_path / "out")[0] == 0
    a = np.random.default_rng(2).integers(-128, 128, (TOKENS, 64)).astype(np.int8)
    np.save(tmp_path / "a.npy", a)
    code, out, _ = command("run", tmp_path / "out", "--layer", DOWN, "--input",
                           tmp_path / "a.npy", "--json")
    with open_checkpoint(folder) as checkpoint:
        (linear,) = [each for each in checkpoint.linears if each.name == DOWN]
        qm = held(checkpoint.native(linear), open_image(tmp_path / "out").layer(DOWN))
    assert code == 0 and json.loads(out)["sha256"] == digest(mpgemm(a, qm))


def test_shards_map_to_the_same_image(command, tmp_path):
    folder, _, tensors = write_llama(tmp_path / "one", "awq")
    other = tmp_path / "two"
    other.mkdir()
    (other / "config.json").write_text((folder / "config.json").read_text())
    names = sorted(tensors)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, part in halves.items():
        write_safetensors(other / shard, {name: tensors[name] for name in part})
    index = {"weight_map": {name: shard for shard, part in halves.items() for name in part}}
    (other / INDEX).write_text(json.dumps(index))
    for source, out in ((folder, "x"), (other, "y"), (other / INDEX, "z")):
        code, _, err = map_native(command, source, tmp_path / out)
        assert code == 0, err
    weights = [(tmp_path / out / "weights.bin").read_bytes() for out in "xyz"]
    assert weights[0] == weights[1] == weights[2]
    model = json.loads((tmp_path / "y" / "manifest.json").read_text())["model"]
    raw = b"".join((other / name).read_bytes() for name in (INDEX, *halves))
    assert model == {"architecture": "llama", "checkpoint": INDEX,
                     "sha256": hashlib.sha256(raw).hexdigest()}


@pytest.mark.parametrize("more, status, text_", [
    (("--weights", "int4"), 1, "holds gptq weights, which are mapped as they are and not made int"),
    (("--weights", "native"), 0, ""),
])
def test_other_weights_are_refused(command, tmp_path, more, status, text_):
    folder, _, _ = write_llama(tmp_path / "in", "gptq")
    code, _, err = map_native(command, folder, tmp_path / "out", *more)
    assert code == status and text_ in err and (tmp_path / "out").exists() == (status == 0)


def test_native_needs_low_bit_weights(command, checkpoint, tmp_path):
    code, _, err = map_native(command, checkpoint, tmp_path / "out", "--weights", "native")
    assert code == 1 and "those of model.safetensors are in floats" in err


def test_a_part_that_is_missing(command, tmp_path):
    folder, _, tensors = write_llama(tmp_path / "in", "gptq")
    del tensors[f"{DOWN}.qzeros"]
    write_safetensors(folder / "model.safetensors", tensors)
    code, _, err = map_native(command, folder, tmp_path / "out")
    assert code == 1 and f"tensor '{DOWN}.qzeros' is missing; layers of layout gptq" in err
    assert err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_config_of_another_file(command, tmp_path):
    folder, _, _ = write_llama(tmp_path / "in", "gptq")
    settings = CONFIG | {"quantization_config": test_blocks.FP8}
    (folder / "config.json").write_text(json.dumps(settings))
    code, _, err = map_native(command, folder, tmp_path / "out")
    assert code == 1 and "config.json says fp8, and no layer has weight_scale_inv" in err


def test_biases_of_zeros_are_passed_over(command, tmp_path):
    folder, _, tensors = write_llama(tmp_path / "in", "gptq")
    rewrite(folder, tensors, {f"{DOWN}.bias": ("F16", np.zeros(32))})
    code, _, err = map_native(command, folder, tmp_path / "out")
    assert code == 0, err
    rewrite(folder, tensors, {f"{DOWN}.bias": ("F16", np.eye(32)[3])})
    code, _, err = map_native(command, folder, tmp_path / "out")
    assert code == 1 and f"tensor '{DOWN}.bias' must be 32 zeros" in err


def test_names_with_a_prefix(command, tmp_path):
    """A BERT model with a task head, its biases and norms in floats."""
    rng = np.random.default_rng(5)
    tensors, wanted = {}, {}
    for name, values in bert_tensors().items():
        stored = f"bert.{name}"
        if values.ndim == 2 and "embeddings" not in name:
            q, scale = rng.integers(-128, 128, values.shape), rng.uniform(0.01, 1, len(values))
            scale = scale.astype(np.float32)[:, None]
            tensors[stored] = ("I8", q)
            tensors[f"{stored}_scale"] = ("F32", scale)
            wanted[name.removesuffix(".weight")] = q * scale.astype(float)
        else:
            tensors[stored] = ("F32", values)
    settings = config("int-quantized", num_bits=8, type="int", strategy="channel")
    (tmp_path / "config.json").write_text(json.dumps(BERT | {"quantization_config": settings}))
    write_safetensors(tmp_path / "model.safetensors", tensors)
    code, _, err = map_native(command, tmp_path, tmp_path / "out")
    assert code == 0, err
    image = open_image(tmp_path / "out")
    assert len(image.layers) == len(wanted) == 12
    for name, op in image.layers.items():
        assert (matrix(image, op).dequantize() == wanted[name]).all()
        assert op.scheme == "compressed-tensors int-quantized"


def rewrite(folder, tensors, change):
    write_safetensors(folder / "model.safetensors", tensors | change)


def test_a_scale_that_is_lost(command, tmp_path):
    folder, _, tensors = write_llama(tmp_path / "in", "awq")
    scales = np.array(tensors[f"{DOWN}.scales"][1])
    scales[:, 5] = [1000.0, 1e-7, 1000.0, 900.0]
    rewrite(folder, tensors, {f"{DOWN}.scales": ("F16", scales)})
    code, _, err = map_native(command, folder, tmp_path / "out")
    assert code == 1 and f"layer {DOWN}: scale of channel 5, group 1 is lost" in err
    assert "use --flush-small-scales" in err and err.count("\n") == 1
    assert map_native(command, folder, tmp_path / "out", "--flush-small-scales")[0] == 0


def test_scales_that_have_no_form(command, tmp_path):
    folder, _, tensors = write_llama(tmp_path / "in", "bitsandbytes nf4")
    absmax = np.array(tensors[f"{DOWN}.weight.absmax"][1])
    absmax[3] = -1
    rewrite(folder, tensors, {f"{DOWN}.weight.absmax": ("F32", absmax)})
    code, _, err = map_native(command, folder, tmp_path / "out")
    assert code == 1 and f"layer {DOWN}: scale of channel 0, group 3 is" in err
    assert "beside nf4 scales must not be negative" in err and err.count("\n") == 1


def test_a_type_that_no_machine_runs(command, tmp_path):
    folder, _, tensors = write_llama(tmp_path / "in", "fp8")
    code, _, err = map_native(command, folder, tmp_path / "out")
    assert code == 1 and "fp8_e4m3 does not run on lut elements: it takes 19 bit-planes" in err


def test_accumulators_that_no_unit_saves(command, tmp_path, monkeypatch):
    folder, _, _ = write_llama(tmp_path / "in", "bitnet")
    monkeypatch.setattr("bitwright.compiler.passes.quantize.ACCUMULATOR_MAX", 100)
    code, _, err = map_native(command, folder, tmp_path / "out")
    assert code == 1 and "accumulators end at 100: its bitnet (ternary) values are not" in err
