"""``map --schedule ilp`` and the ``schedule`` command."""

import json

import pytest

from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.scheduling.ilp_tiling import plan_fields
from tests.compiler.tiny import DOWN, QUERY, map_tiny


@pytest.fixture(scope="module")
def solved(checkpoint, tmp_path_factory):
    from bitwright.compiler.ir.program import Options
    from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
    from bitwright.hw.machine.presets import PRESETS

    out = tmp_path_factory.mktemp("solved") / "bert"
    map_checkpoint(checkpoint, out, PRESETS["tiny"],
                   Options(tokens=5, group_size=16, schedule="ilp"))
    return out


def test_map_by_the_integer_program(command, checkpoint, solved, tmp_path):
    code, out, _ = map_tiny(command, checkpoint, tmp_path / "out", "--schedule", "ilp", "--json")
    report = json.loads(out)
    assert code == 0 and report == json.loads((solved / "report.json").read_text())
    for name in ("manifest.json", "program.bin", "weights.bin"):
        assert (tmp_path / "out" / name).read_bytes() == (solved / name).read_bytes()
    image = open_image(solved)
    assert image.options.schedule == "ilp"
    manifest = json.loads((solved / "manifest.json").read_text())
    for entry in manifest["layers"]:
        fields = plan_fields(image.layer(entry["name"]).planned)
        assert fields.items() <= entry["plan"].items()


@pytest.mark.parametrize("layer", [QUERY, DOWN])
def test_its_programs_run(command, solved, layer):
    code, golden, _ = command("run", solved, "--layer", layer, "--json")
    assert code == 0
    code, rtl, _ = command("run", solved, "--layer", layer, "--backend", "rtl", "--json")
    golden, rtl = json.loads(golden), json.loads(rtl)
    assert code == 0 and rtl["mismatches"] == 0
    assert rtl["cycles"] == rtl["model_cycles"] and rtl["sha256"] == golden["sha256"]


@pytest.mark.parametrize("name, value, message", [
    ("channels", 1, "does not fit machine tiny"), ("kept", 5, "does not fit"),
    ("block", "all", "block of a plan must be int, not 'all'")])
def test_a_plan_that_was_edited(solved, tmp_path, name, value, message):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in solved.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["layers"][0]["plan"][name] = value
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ImageError, match=message):
        open_image(copy)


def test_unknown_schedule(command, checkpoint, tmp_path):
    code, _, err = map_tiny(command, checkpoint, tmp_path / "out", "--schedule", "best")
    assert code == 2 and "must be one of heuristic, ilp, not 'best'" in " ".join(err.split())


def check_rows(found):
    totals = found["totals"]
    for row in found["layers"]:
        assert row["compulsory_bytes"] <= row["ilp_bytes"] <= row["heuristic_bytes"]
        assert row["free_bytes"] is None or (
            row["compulsory_bytes"] <= row["free_bytes"] <= row["ilp_bytes"])
        assert row["gap"] == 0
    for name, total in totals.items():
        assert total == sum(row["count"] * row[name] for row in found["layers"])


def test_schedule_of_a_folder(command, mapped):
    code, out, _ = command("schedule", mapped, "--json")
    found = json.loads(out)
    assert code == 0 and [row["count"] for row in found["layers"]] == [8, 2, 2]
    check_rows(found)
    report = json.loads((mapped / "report.json").read_text())["totals"]
    assert found["totals"]["heuristic_bytes"] == report["dram_bytes"]
    assert found["totals"]["heuristic_cycles"] == report["cycles"]


def test_schedule_of_shapes(command):
    arguments = ("schedule", "--shapes-only", "bert-base", "--set", "memory_bits=128")
    code, out, _ = command(*arguments, "--json")
    found = json.loads(out)
    assert code == 0
    check_rows(found)
    assert any(row["ilp_bytes"] < row["heuristic_bytes"] for row in found["layers"])
    code, out, _ = command(*arguments)
    assert code == 0 and f"{found['totals']['ilp_bytes']:,}" in out


def test_schedule_of_nothing(command):
    assert command("schedule")[0] == 2
