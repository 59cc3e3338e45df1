"""``bitwright sweep``."""

import csv
import json

import bitwright
from bitwright.fpga.commands.root_command import main
from tests.command import call

SHAPES = ["1x64x64", "8x64x128"]
MACHINES = ["--machine", "tiny", "--machine", "ulx3s-12f"]


def run(capfd, monkeypatch, *arguments):
    return call(main, "bitwright", capfd, monkeypatch, "sweep", *arguments)


def test_json_has_a_row_per_workload_and_machine(capfd, monkeypatch):
    code, out, err = run(capfd, monkeypatch, *SHAPES, *MACHINES, "--json")
    rows = json.loads(out)
    assert code == 0
    assert [(row["machine"], row["workload"]) for row in rows] == [
        (name, shape) for name in ("tiny", "ulx3s-12f") for shape in SHAPES]
    for row in rows:
        known = bitwright.estimate(row["workload"], row["machine"])
        assert (row["cycles"], row["luts"]) == (known.cycles, known.luts)


def test_files_and_table(capfd, monkeypatch, tmp_path):
    code, out, err = run(capfd, monkeypatch, *SHAPES, *MACHINES, "--csv", tmp_path / "a.csv",
                         "--plot", tmp_path / "a.svg")
    assert code == 0 and len(out.splitlines()) == 4
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    for line, row in zip(out.splitlines(), rows, strict=True):
        assert line.split()[:3] == [row["workload"], row["machine"], f"{int(row['cycles']):,}"]
    assert (tmp_path / "a.svg").read_text().count("<title>") == 4


def test_options_reach_the_estimates(capfd, monkeypatch):
    code, out, err = run(capfd, monkeypatch, "4x128x64", "--machine", "tiny", "--set", "rows=4",
                         "--weights", "int3", "--group-size", 32, "--asymmetric", "--json")
    known = bitwright.estimate("4x128x64", bitwright.machine("tiny", rows=4), weights="int3",
                               group_size=32, asymmetric=True)
    assert code == 0 and json.loads(out)[0]["cycles"] == known.cycles


def test_refusals_are_rows_and_do_not_fail_the_command(capfd, monkeypatch):
    code, out, err = run(capfd, monkeypatch, "64x512x512", "--machine", "tiny", "--set",
                         "program_depth=8")
    assert code == 0 and "refused: " in out and "program_depth" in out


def test_wrong_usage_and_unknown_names(capfd, monkeypatch):
    assert run(capfd, monkeypatch, *SHAPES)[0] == 2     # no machine
    code, out, err = run(capfd, monkeypatch, *SHAPES, "--machine", "large")
    assert (code, out) == (2, "") and err.startswith("error: ") and "large" in err
    code, out, err = run(capfd, monkeypatch, *SHAPES, *MACHINES, "--weights", "int44")
    assert (code, out) == (2, "") and "int44" in err.splitlines()[-1]
