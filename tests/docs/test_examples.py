"""The examples run as scripts, in an empty folder."""

import csv
import subprocess
import sys
from pathlib import Path

import bitwright
from bitwright.hw.machine.presets import PRESETS
from tests.compiler.tiny import bert_tensors, write_checkpoint

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def run(script, folder, *arguments):
    done = subprocess.run([sys.executable, str(EXAMPLES / script), *map(str, arguments)],
                          cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here():
    here = Path(__file__).read_text()
    scripts = {path.name for path in EXAMPLES.glob("*.py")} - {"small_checkpoint.py"}
    assert len(scripts) == 3 and all(f'run("{name}"' in here for name in scripts)


def test_an_architects_datatype_runs_on_every_element(tmp_path):
    out = run("architect_new_datatype.py", tmp_path, "--backend", "rtl", "--out", tmp_path / "out")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["int4", "fibonacci", "lut", "serial", "mac"]
    assert all(line.endswith("good)") for line in lines[2:5])
    with (tmp_path / "out" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["machine"] for row in rows[:3]] == ["lut", "serial", "mac"]
    assert len(rows) == 9 and not any(row["refused"] for row in rows)
    assert (tmp_path / "out" / "sweep.svg").read_text().startswith("<svg")


def test_a_hobbyists_layer_runs_on_a_simulated_board(tmp_path):
    machine = tmp_path / "tiny16.toml"
    machine.write_text(PRESETS["tiny"].replace(memory_bits=16).to_toml())
    out = run("hobbyist_layer_on_a_board.py", tmp_path, "--machine", machine)
    assert "on ulx3s-12f" in out
    assert out.endswith("all 128 results are those of the golden model\n")


def test_an_ml_engineers_checkpoint_is_reported(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "own", bert_tensors())
    out = run("ml_engineer_report.py", tmp_path, checkpoint, "--weights", "int4", "--weights",
              "int3", "--machine", "tiny", "--tokens", 5, "--group-size", 16)
    assert out.startswith("ModelCheckpoint(model.safetensors: bert, 12 layers")
    for weights in ("int4", "int3"):
        report = bitwright.load_report(tmp_path / "build" / "ml-engineer" / weights)
        assert f"\n{weights}: {report.totals.cycles:,} cycles for 5 tokens" in out
    assert run("ml_engineer_report.py", tmp_path, "--machine", "tiny").count("dB") == 3
