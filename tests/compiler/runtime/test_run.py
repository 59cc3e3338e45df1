import dataclasses
import hashlib
import json

import numpy as np
import pytest

import bitwright.compiler.backends.rtl
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.hw.machine.presets import PRESETS
from bitwright.models.quantization.rounding import quantize_activations
from bitwright.models.quantization.rtn import quantize_weights
from tests.compiler.tiny import DOWN, QUERY, bert_tensors


def accumulators(a, weight, kind, group_size, asymmetric=False):
    """y by its definition, in Python's own integers."""
    qm = quantize_weights(weight, kind, group_size, asymmetric)
    m, n, k = len(a), len(weight), weight.shape[1]
    y = np.zeros((m, n), dtype="<i8")
    for i in range(m):
        for j in range(n):
            for f in range(k):
                g = f // qm.group_size
                scale = int(qm.scale_mantissa[j, g]) << int(qm.scale_shift[j, g])
                offset = 0
                if qm.offset_mantissa is not None:
                    offset = int(qm.offset_mantissa[j, g]) << int(qm.offset_shift[j, g])
                value = qm.datatype.values[qm.codes[j, f]]
                y[i, j] += int(a[i, f]) * (scale * value + offset)
    return y


def digest(y):
    return hashlib.sha256(y.tobytes()).hexdigest()


def run(command, folder, *arguments):
    code, out, err = command("run", folder, "--json", *arguments)
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def a():
    return np.random.default_rng(11).integers(-128, 128, (5, 40), dtype=np.int8)


def test_golden_is_the_definition(command, mapped, tmp_path, a):
    np.save(tmp_path / "a.npy", a)
    found = run(command, mapped, "--layer", DOWN, "--backend", "golden",
                "--input", tmp_path / "a.npy")
    y = accumulators(a, bert_tensors()[f"{DOWN}.weight"], "int4", 16)
    assert found == {"layer": DOWN, "backend": "golden", "cycles": None, "mismatches": 0,
                     "sha256": digest(y)}


def test_floats_are_quantized_per_token(command, mapped, tmp_path):
    x = np.random.default_rng(12).normal(size=(5, 40)).astype(np.float32)
    np.save(tmp_path / "x.npy", np.asfortranarray(x))
    np.save(tmp_path / "a.npy", quantize_activations(x)[0])
    first, second = (run(command, mapped, "--layer", DOWN, "--input", tmp_path / name)
                     for name in ("x.npy", "a.npy"))
    assert first == second


def test_seeds(command, mapped):
    sums = [run(command, mapped, "--layer", QUERY, *seed)["sha256"]
            for seed in ((), ("--seed", 0), ("--seed", 1))]
    assert sums[0] == sums[1] != sums[2]


def test_cycles_are_the_reports(command, mapped):
    report = json.loads((mapped / "report.json").read_text())
    for row in report["layers"][4:6]:
        found = run(command, mapped, "--layer", row["name"], "--backend", "cycles")
        assert found["cycles"] == row["cycles"]
        assert found["mismatches"] is None and found["sha256"] is None
        assert set(found["engines"]) == {"load", "execute", "store"}


@pytest.mark.parametrize("layer", [QUERY, DOWN])
def test_rtl_gives_the_same_bits_in_the_same_cycles(command, mapped, layer):
    arguments = ("--layer", layer, "--seed", 3)
    golden = run(command, mapped, *arguments, "--backend", "golden")
    model = run(command, mapped, *arguments, "--backend", "cycles")
    rtl = run(command, mapped, *arguments, "--backend", "rtl")
    assert rtl["mismatches"] == 0 and rtl["sha256"] == golden["sha256"]
    assert rtl["cycles"] == rtl["model_cycles"] == model["cycles"]
    for engine, sources in rtl["engines"].items():
        assert sources["rtl"] == sources["model"] == model["engines"][engine]["model"]


@pytest.mark.parametrize("options", [
    Options(tokens=1, group_size=24, weights="int5", asymmetric=True),
    Options(tokens=3, group_size=0, weights="fp4"),
    Options(tokens=2, group_size=8, weights="ternary"),
    Options(tokens=2, group_size=8, weights="int1"),
], ids=lambda o: f"{o.weights}-{o.tokens}")
def test_rtl_on_other_datatypes(command, checkpoint, tmp_path, options):
    map_checkpoint(checkpoint, tmp_path / "out", PRESETS["tiny"], options)
    a = np.random.default_rng(13).integers(-128, 128, (options.tokens, 40), dtype=np.int8)
    np.save(tmp_path / "a.npy", a)
    found = run(command, tmp_path / "out", "--layer", DOWN, "--backend", "rtl",
                "--input", tmp_path / "a.npy")
    y = accumulators(a, bert_tensors()[f"{DOWN}.weight"], options.weights, options.group_size,
                     options.asymmetric)
    assert found["mismatches"] == 0 and found["sha256"] == digest(y)


@pytest.mark.parametrize("what", ["bit", "counter"])
def test_a_difference_gives_status_1(command, mapped, monkeypatch, what):
    def run_differently(machine, *arguments, **more):
        result = run_rtl(machine, *arguments, **more)
        if what == "counter":
            result.counters["store_busy"] += 1
            return result
        return dataclasses.replace(result, dump=bytes([result.dump[0] ^ 1]) + result.dump[1:])

    run_rtl = bitwright.compiler.backends.rtl.run
    monkeypatch.setattr(bitwright.compiler.backends.rtl, "run", run_differently)
    code, out, _ = command("run", mapped, "--layer", QUERY, "--backend", "rtl", "--json")
    assert code == 1 and json.loads(out)["mismatches"] == (what == "bit")


def test_people_read_lines(command, mapped):
    code, out, _ = command("run", mapped, "--layer", QUERY, "--backend", "rtl")
    assert code == 0 and "mismatches  0" in out and "(cycle model" in out and "sha256" in out


# ---- bad activations ----------------------------------------------------------------------
def save(path, array):
    np.save(path, array, allow_pickle=True)


NAN = np.ones((5, 24), np.float32)
NAN[1, 2] = np.nan
BAD = {
    "tokens": (np.zeros((4, 24), np.int8), "--tokens 4"),
    "features": (np.zeros((5, 25), np.int8), "[5, 24]"),
    "dimensions": (np.zeros(24, np.int8), "[5, 24]"),
    "type": (np.zeros((5, 24), np.int32), "int32"),
    "range": (np.full((5, 24), 128, np.int16), "8 bits, not 128…128"),
    "complex": (np.zeros((5, 24), np.complex64), "complex64"),
    "objects": (np.array([[None] * 24] * 5), "cannot be read"),
    "not finite": (NAN, "[1, 2]"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_activations(command, mapped, tmp_path, name):
    array, word = BAD[name]
    save(tmp_path / "a.npy", array)
    code, out, err = command("run", mapped, "--layer", QUERY, "--input", tmp_path / "a.npy")
    assert code == 1 and out == "" and word in err and err.count("\n") == 1


@pytest.mark.parametrize("data", [b"", b"hello", b"\x93NUMPY\x01\x00", b"PK\x03\x04", None])
def test_files_that_are_no_arrays(command, mapped, tmp_path, data):
    if data is not None:
        (tmp_path / "a.npy").write_bytes(data)
    code, out, err = command("run", mapped, "--layer", QUERY, "--input", tmp_path / "a.npy")
    assert code == 1 and out == "" and "a.npy" in err and err.count("\n") == 1


def test_truncated_and_archived_arrays(command, mapped, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((5, 24), np.int8))
    path.write_bytes(path.read_bytes()[:-1])
    assert command("run", mapped, "--layer", QUERY, "--input", path)[0] == 1
    np.savez(tmp_path / "a.npz", np.zeros((5, 24), np.int8))
    code, _, err = command("run", mapped, "--layer", QUERY, "--input", tmp_path / "a.npz")
    assert code == 1 and "one array" in err


@pytest.mark.parametrize("arguments", [
    (), ("--layer", QUERY, "--backend", "fpga"), ("--layer", QUERY, "--seed", -1),
    ("--layer", QUERY, "--seed", 1, "--input", "a.npy")])
def test_wrong_usage(command, mapped, arguments):
    code, out, err = command("run", mapped, *arguments)
    assert code == 2 and out == "" and "error" in err.lower()
