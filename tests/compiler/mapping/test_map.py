import hashlib
import json

import numpy as np
import pytest

from bitwright.hw.machine.presets import PRESETS
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.quantization.rtn import quantize_weights
from bitwright.sim.verilator.gemm_run import simulate_gemm
from tests.compiler.tiny import (
    DOWN,
    FILES,
    LLAMA,
    QUERY,
    bert_tensors,
    llama_tensors,
    map_tiny,
    write_checkpoint,
)


def test_report_by_hand(command, checkpoint, tmp_path):
    code, out, _ = map_tiny(command, checkpoint, tmp_path / "out", "--json")
    report = json.loads(out)
    assert code == 0
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["name"] for row in report["layers"]] == [
        f"encoder.layer.{layer}.{part}" for layer in (0, 1) for part in (
            "attention.self.query", "attention.self.key", "attention.self.value",
            "attention.output.dense", "intermediate.dense", "output.dense")]

    row = next(row for row in report["layers"] if row["name"] == DOWN)
    # 40 features in groups of 16: three groups of one 16-wide tile; 24 channels are 12 a column.
    assert (row["m"], row["k"], row["n"], row["weights"], row["group_size"]) == (5, 40, 24, "int4",
                                                                               16)
    assert row["k_padded"] == 48 and row["n_padded"] == 24
    assert row["weight_bytes"] == 24 * 48 // 2 and row["scale_bytes"] == 24 * 3 * 2
    # Six padded rows of int8 activations, five rows of int32 outputs; weights and scales.
    assert row["dram_bytes"] == 24 * 48 // 2 + 24 * 3 * 2 + 6 * 48 + 5 * 24 * 4
    assert row["macs"] == 5 * 40 * 24
    # 2 x 2 elements of 16 one-bit products, 4 planes: 16 MACs a cycle. 32-bit memory.
    assert row["utilization"] == pytest.approx(row["macs"] / 16 / row["cycles"])
    assert row["roofline_cycles"] == max(5 * 40 * 24 / 16, row["dram_bytes"] / 4)
    assert row["bound"] == "memory" and row["cycles"] > row["roofline_cycles"]
    assert row["notes"] == ["K 40 padded to 48: 3 groups of 16 in tiles of 16",
                            "M 5 padded to 6"]


def simulated(m, k, n):
    """Cycles of ``m`` tokens by an int8 matrix [n, k], on the RTL."""
    rng = np.random.default_rng(1)
    qm = quantize_weights(rng.normal(size=(n, k)), DATATYPES["int8"])
    a = rng.integers(-128, 128, (m, k), dtype=np.int8)
    return simulate_gemm(PRESETS["tiny"], qm, a).rtl.counters["run"]


def test_totals_and_host_by_hand(command, checkpoint, tmp_path):
    _, out, _ = map_tiny(command, checkpoint, tmp_path / "out", "--json")
    report = json.loads(out)
    totals, rows = report["totals"], report["layers"]
    macs = 2 * 5 * (4 * 24 * 24 + 2 * 24 * 40)
    assert totals["macs"] == macs and totals["layers"] == 12
    for key in ("cycles", "weight_bytes", "scale_bytes", "dram_bytes"):
        assert totals[key] == sum(row[key] for row in rows)
    assert totals["utilization"] == pytest.approx(macs / 16 / totals["cycles"])
    assert totals["bits_per_weight"] == pytest.approx(
        8 * (totals["weight_bytes"] + totals["scale_bytes"]) / (macs / 5))
    host = {row["operator"]: row for row in totals["host"]}
    # Per layer and head: every token with every token, 8 wide; scores and values.
    attention = totals["attention"]
    assert (attention["macs"], attention["launches"]) == (2 * 2 * 25 * 24, 2 * 3 * 2)
    scores, values = (simulated(5, 8, 5), simulated(5, 5, 8))
    assert attention["cycles"] == 6 * (scores + values)
    assert host["softmax"]["elements"] == 2 * 3 * 25
    assert host["norm"]["count"] == 5 and host["norm"]["elements"] == 5 * 5 * 24
    assert host["activation"]["elements"] == 2 * 5 * 40
    assert totals["array_share"] == 1 and "attention scores" not in host
    assert "pooler" not in host


def test_files_say_the_same_every_time(command, checkpoint, tmp_path):
    other = write_checkpoint(tmp_path / "elsewhere", bert_tensors())
    for name, source in (("a", checkpoint), ("b", other)):
        assert map_tiny(command, source, tmp_path / name)[0] == 0
        assert sorted(entry.name for entry in (tmp_path / name).iterdir()) == FILES
    for name in FILES:
        first, second = ((tmp_path / out / name).read_bytes() for out in "ab")
        assert first == second, name
        assert str(tmp_path).encode() not in first


def test_manifest_points_at_what_it_says(mapped, checkpoint):
    manifest = json.loads((mapped / "manifest.json").read_text())
    data = (mapped / "weights.bin").read_bytes()
    assert manifest["model"] == {
        "architecture": "bert", "checkpoint": "model.safetensors",
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest()}
    assert manifest["memory"]["weights"] == (mapped / "program.bin").stat().st_size
    tensors = bert_tensors()
    for entry in manifest["layers"]:
        offsets, n = entry["offsets"], entry["n"]
        qm = quantize_weights(tensors[entry["tensor"]], "int4", 16)
        bias = np.frombuffer(data, "<f4", n, offsets["bias"])
        assert (bias == tensors[entry["bias_tensor"]]).all()
        assert (np.frombuffer(data, "<f8", n, offsets["channel_scale"]) == qm.channel_scale).all()
        assert {value % 4096 for value in entry["addresses"].values()} == {0}
        for name in ("weights", "scales"):
            assert entry["addresses"][name] == manifest["memory"]["weights"] + offsets[name]


def test_whole_channel_is_one_group(command, checkpoint, tmp_path):
    _, out, _ = command("map", checkpoint, "--machine", "tiny", "--group-size", 0, "--tokens", 2,
                        "--out", tmp_path / "out", "--json")
    rows = json.loads(out)["layers"]
    assert [row["group_size"] for row in rows[:6]] == [24, 24, 24, 24, 24, 40]
    assert rows[0]["notes"] == ["K 24 padded to 32: tiles of 16"]


def test_table_tells_padding_and_the_hosts_part(command, checkpoint, tmp_path):
    code, out, err = map_tiny(command, checkpoint, tmp_path / "out")
    assert code == 0 and err == ""
    assert QUERY in out and "K 24 padded to 32" in out and "M 5 padded to 6" in out
    assert "attention: 2,400 MACs in 12 more launches" in out and "bits per weight" in out


def test_pooler_stays_on_the_host_with_its_reason(command, tmp_path):
    source = write_checkpoint(tmp_path / "in", bert_tensors(pooler=True))
    _, out, _ = map_tiny(command, source, tmp_path / "out", "--json")
    report = json.loads(out)
    assert all(row["name"] != "pooler.dense" for row in report["layers"])
    (row,) = [row for row in report["totals"]["host"] if row["operator"] == "pooler"]
    assert row["macs"] == 24 * 24 and row["reason"] == "unused by the sentence embedding"


def test_llama_with_tied_head(command, tmp_path):
    source = write_checkpoint(tmp_path / "in", llama_tensors(), LLAMA)
    code, out, _ = map_tiny(command, source, tmp_path / "out", "--json")
    report = json.loads(out)
    assert code == 0 and len(report["layers"]) == 8
    head = report["layers"][-1]
    assert (head["name"], head["k"], head["n"]) == ("lm_head", 16, 11)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["layers"][-1]["tensor"] == "model.embed_tokens.weight"
    assert manifest["layers"][-1]["offsets"]["bias"] is None
    hosted = {row["operator"]: row for row in report["totals"]["host"]}
    assert hosted["rotary"]["elements"] == 5 * (16 + 8)
    assert report["totals"]["attention"]["macs"] == 2 * 25 * 16
    assert report["totals"]["attention"]["launches"] == 2 * 2


def test_config_may_lie_elsewhere(command, tmp_path):
    source = write_checkpoint(tmp_path / "in", bert_tensors())
    config = tmp_path / "other.json"
    (tmp_path / "in" / "config.json").rename(config)
    assert map_tiny(command, source, tmp_path / "out")[0] == 1
    assert map_tiny(command, source, tmp_path / "out", "--config", config)[0] == 0


def test_memory_timing_changes_cycles_and_roofline(command, checkpoint, tmp_path):
    fast, slow = (json.loads(map_tiny(command, checkpoint, tmp_path / "out", "--json",
                                      "--memory-interval", interval)[1])["totals"]
                  for interval in (1, 4))
    assert slow["cycles"] > 2 * fast["cycles"]
    assert slow["dram_bytes"] == fast["dram_bytes"]
    assert slow["roofline_cycles"] == slow["dram_bytes"]  # 4 cycles for 4 bytes
