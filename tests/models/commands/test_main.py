import json
import subprocess
import sys

import pytest

from bitwright.models.commands.formats import describe, describe_scheme
from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES
from bitwright.models.quantization.schemes import SCHEMES


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "models", *arguments], capture_output=True,
                          text=True, timeout=60)


def test_json_holds_everything():
    done = run("formats", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert rows == [*(describe(dt) for dt in (*DATATYPES.values(), *MIXTURES.values())),
                    *map(describe_scheme, SCHEMES.values())]
    by_name = {row["name"]: row for row in rows if row["kind"] != "scheme"}
    assert by_name["ternary"]["values"] == [0, 1, None, -1]
    fp4 = by_name["fp4"]
    assert (fp4["bits"], fp4["planes"], fp4["digits"], fp4["terms"]) == (4, 5, 2, 2)
    assert (fp4["min"], fp4["max"], fp4["symmetric"], fp4["exponent"]) == (-6, 6, True, -1)
    mixture = by_name["bitmod3"]
    assert mixture["candidates"] == ["fp3_er_neg", "fp3_er_pos", "fp3_ea_neg", "fp3_ea_pos"]
    assert [values[4] for values in mixture["values"]] == [-3, 3, -6, 6]
    assert (mixture["kind"], mixture["bits"], mixture["planes"]) == ("mixture", 3, 4)
    schemes = {row["name"]: row for row in rows if row["kind"] == "scheme"}
    assert schemes["nvfp4"] == {
        "name": "nvfp4", "kind": "scheme", "datatype": "fp4", "group_size": 16, "block": True,
        "summary": "FP4 in blocks of 16, E4M3 scales, an FP32 scale per tensor"}
    assert schemes["bitmod4"]["group_size"] == 128 and not schemes["bitmod4"]["block"]


def test_table_and_choice():
    done = run("formats", "int3", "fp4")
    assert (done.returncode, done.stderr) == (0, "")
    assert "int3" in done.stdout and "fp4" in done.stdout and "int8" not in done.stdout
    assert "Schemes" not in done.stdout
    every = run("formats").stdout
    assert "…" not in every and all(name in every for name in (*DATATYPES, *MIXTURES, *SCHEMES))
    both = run("formats", "bitmod4", "nvfp4").stdout
    assert both.count("bitmod4") >= 3 and "Mixtures" in both and "Schemes" in both


def test_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nvalues = [-1.5, 0, 1.5]\n')
    (row,) = json.loads(run("formats", str(path), "--json").stdout)
    assert (row["name"], row["values"], row["min"]) == ("mine", [-3, 0, 3, None], -1.5)
    path.write_text("values = 3")
    done = run("formats", str(path))
    assert done.returncode == 1 and done.stderr.startswith("error: name in ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments, status, message", [
    (["formats", "int9"], 2, "error: datatype must be one of int1, "),
    (["nope"], 2, "No such command 'nope'"),
    (["formats", "--nope"], 2, "No such option"),
])
def test_exit_status(arguments, status, message):
    done = run(*arguments)
    assert done.returncode == status and message in done.stderr and done.stdout == ""
    if status == 1:
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments, message", [
    (["rotations"], "error: study must be one of rotation, integer, not 'rotations'"),
    (["integer", "--model", "bert"], "error: model must be one of minilm, smollm2, not 'bert'"),
])
def test_effects_names_what_there_is(arguments, message):
    done = run("effects", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message + "\n")
