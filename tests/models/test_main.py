import json
import subprocess
import sys

import pytest

from models.__main__ import describe
from models.formats import DATATYPES


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "models", *arguments], capture_output=True,
                          text=True, timeout=60)


def test_json_holds_every_datatype():
    done = run("formats", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert rows == [describe(dt) for dt in DATATYPES.values()]
    by_name = {row["name"]: row for row in rows}
    assert by_name["ternary"]["values"] == [0, 1, None, -1]
    fp4 = by_name["fp4"]
    assert (fp4["bits"], fp4["planes"], fp4["digits"], fp4["terms"]) == (4, 5, 2, 2)
    assert (fp4["min"], fp4["max"], fp4["symmetric"], fp4["exponent"]) == (-6, 6, True, -1)


def test_table_and_choice():
    done = run("formats", "int3", "fp4")
    assert (done.returncode, done.stderr) == (0, "")
    assert "int3" in done.stdout and "fp4" in done.stdout and "int8" not in done.stdout


@pytest.mark.parametrize("arguments, status, message", [
    (["formats", "int9"], 1, "error: datatype must be one of int1, "),
    (["nope"], 2, "No such command 'nope'"),
    (["formats", "--nope"], 2, "No such option"),
])
def test_exit_status(arguments, status, message):
    done = run(*arguments)
    assert done.returncode == status and message in done.stderr and done.stdout == ""
    if status == 1:
        assert done.stderr.count("\n") == 1
