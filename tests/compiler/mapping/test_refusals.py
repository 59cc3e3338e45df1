"""What ``map`` refuses, each in one line, and what it leaves behind."""

import json

import numpy as np
import pytest

from tests.compiler.tiny import BERT, DOWN, FILES, QUERY, bert_tensors, map_tiny, write_checkpoint


def refused(result, *words, status=1):
    code, out, err = result
    assert code == status and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    for word in words:
        assert word in err
    return err


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(command, tmp_path, value):
    tensors = bert_tensors()
    tensors[f"{DOWN}.weight"][3, 7] = value
    source = write_checkpoint(tmp_path / "in", tensors)
    refused(map_tiny(command, source, tmp_path / "out"), f"{DOWN}.weight", "[3, 7]", str(value))
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_bias_that_is_not_finite(command, tmp_path):
    tensors = bert_tensors()
    tensors[f"{DOWN}.bias"][2] = np.nan
    source = write_checkpoint(tmp_path / "in", tensors)
    refused(map_tiny(command, source, tmp_path / "out"), f"{DOWN}.bias", "[2]")


def wide_checkpoint(folder, k):
    """One feed-forward layer whose accumulators reach far: every weight at its greatest."""
    config = {**BERT, "intermediate_size": k}
    tensors = bert_tensors()
    for layer in range(2):
        prefix = f"encoder.layer.{layer}"
        tensors[f"{prefix}.intermediate.dense.weight"] = np.zeros((k, 24), np.float32)
        tensors[f"{prefix}.intermediate.dense.bias"] = np.zeros(k, np.float32)
        tensors[f"{prefix}.output.dense.weight"] = -np.ones((24, k), np.float32)
    return write_checkpoint(folder, tensors, config)


def test_accumulator_that_would_overflow(command, tmp_path):
    # Weight -127 (int8 steps by max / 128: -128), scale 2047, activation -128, 80 features:
    # 128 * 2047 * 128 * 80 = 2,683,043,840.
    source = wide_checkpoint(tmp_path / "in", 80)
    arguments = ("--weights", "int8", "--scale-bits", "11")
    refused(map_tiny(command, source, tmp_path / "out", *arguments), DOWN, "2683043840",
            "2147483647", "--scale-bits (now 11)", "int8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]
    assert map_tiny(command, source, tmp_path / "out", "--weights", "int8")[0] == 0


def test_accumulator_just_below_the_limit(command, tmp_path):
    # 64 features: 128 * 2047 * 128 * 64 = 2,146,435,072, which fits.
    source = wide_checkpoint(tmp_path / "in", 64)
    code, out, _ = map_tiny(command, source, tmp_path / "out", "--weights", "int8",
                            "--scale-bits", "11", "--json")
    assert code == 0
    row = next(row for row in json.loads(out)["layers"] if row["name"] == DOWN)
    assert row["accumulator_bound"] == 2146435072


@pytest.mark.parametrize("arguments, words", [
    (("--tokens", 17), ("--tokens", "16", "17")),
    (("--machine", "nope"), ("nope", "ulx3s-85f")),
    (("--set", "rows=zero"), ("rows", "zero")),
    (("--set", "rows=0"), ("rows", "0")),
    (("--set", "colour=1"), ("colour", "k_tile")),
    (("--set", "program_depth=8"), (QUERY, "program_depth")),
    (("--set", "weight_depth=8"), (QUERY, "weight_depth")),
    (("--weights", "fp4", "--asymmetric"), ("asymmetric", "fp4")),
    (("--scale-bits", 12), ("--scale-bits", "12")),
    (("--memory-latency", 1), ("latency", "1")),
    (("--config", "absent.json"), ("absent.json",)),
])
def test_bad_requests(command, checkpoint, tmp_path, arguments, words):
    unknown = arguments in (("--machine", "nope"), ("--set", "colour=1"))
    refused(map_tiny(command, checkpoint, tmp_path / "out", *arguments), *words,
            status=2 if unknown else 1)
    assert not list(tmp_path.iterdir())


def test_missing_and_truncated_checkpoints(command, checkpoint, tmp_path):
    refused(map_tiny(command, tmp_path / "absent.safetensors", tmp_path / "out"), "absent")
    cut = write_checkpoint(tmp_path / "in", bert_tensors())
    cut.write_bytes(cut.read_bytes()[:-1])
    refused(map_tiny(command, cut, tmp_path / "out"), "cut short")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [
    (), ("--weights", "int9"), ("--group-size", -1), ("--tokens", 0), ("--set", "rows"),
    ("--print-after", "nothing"), ("--out",)])
def test_wrong_usage(command, checkpoint, tmp_path, arguments):
    out = ("--out", tmp_path / "out") if arguments and arguments != ("--out",) else ()
    code, out_text, err = command("map", checkpoint, *out, *arguments)
    assert code == 2 and out_text == "" and "error" in err.lower()
    assert not list(tmp_path.iterdir())


# ---- the folder it writes -----------------------------------------------------------------
def test_replaces_its_own_folder_and_an_empty_one(command, checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    assert map_tiny(command, checkpoint, tmp_path / "out")[0] == 0
    before = (tmp_path / "out" / "weights.bin").read_bytes()
    assert map_tiny(command, checkpoint, tmp_path / "out", "--weights", "int2")[0] == 0
    assert (tmp_path / "out" / "weights.bin").read_bytes() != before
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_makes_folders_above(command, checkpoint, tmp_path):
    assert map_tiny(command, checkpoint, tmp_path / "a" / "b")[0] == 0
    assert sorted(entry.name for entry in (tmp_path / "a" / "b").iterdir()) == FILES
    refused(map_tiny(command, checkpoint, tmp_path / "c" / "d", "--tokens", 17))
    assert not (tmp_path / "c").exists()


def test_failure_leaves_the_old_folder(command, checkpoint, tmp_path):
    map_tiny(command, checkpoint, tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    tensors = bert_tensors()
    tensors[f"{DOWN}.weight"][0, 0] = np.nan
    bad = write_checkpoint(tmp_path / "in", tensors)
    refused(map_tiny(command, bad, tmp_path / "out"))
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in", "out"]


def test_refuses_what_it_did_not_write(command, checkpoint, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    refused(map_tiny(command, checkpoint, file), "file", "--out")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    refused(map_tiny(command, checkpoint, folder), "notes.txt", "--out")
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text('{"format": "something else"}')
    refused(map_tiny(command, checkpoint, other), "other", "--out")
    assert map_tiny(command, checkpoint, tmp_path / "ours")[0] == 0
    (tmp_path / "ours" / "notes.txt").write_text("mine")
    refused(map_tiny(command, checkpoint, tmp_path / "ours"), "notes.txt")
    assert file.read_text() == (folder / "notes.txt").read_text() == "mine"
    assert (tmp_path / "ours" / "weights.bin").exists()
