"""What ``bitwright hw machines`` says of fields is what machines check."""

import dataclasses
import json
from functools import partial

import pytest

from bitwright.hw.__main__ import main
from bitwright.hw.commands.machines import machine_fields
from bitwright.hw.machine.description import Machine, MachineError
from bitwright.hw.machine.presets import machine
from tests.command import call

FIELDS = {row["name"]: row for row in machine_fields()}


@pytest.fixture
def command(capsys, monkeypatch):
    return partial(call, main, "hw", capsys, monkeypatch)


def test_every_field_has_a_meaning_a_default_and_a_range():
    assert [*FIELDS] == [field.name for field in dataclasses.fields(Machine)]
    tiny = Machine()
    for name, row in FIELDS.items():
        assert len(row["meaning"]) > 10 and row["range"]
        assert row["default"] == getattr(tiny, name)


@pytest.mark.parametrize("name", [name for name, row in FIELDS.items() if row["range"]
                                  != "any text"])
def test_values_beyond_the_range_are_refused(name):
    row = FIELDS[name]
    if row["within"] is not None:
        low, high = row["within"]
        beyond = [low - 1, high + 1]
        said = f"machine field {name} must be within {low}…{high}"
    else:
        beyond = [7 if isinstance(row["default"], int) else "none"]
        said = f"machine field {name} must be one of {', '.join(map(str, row['among']))}"
    for value in beyond:
        with pytest.raises(MachineError) as error:
            Machine(**{name: value})
        assert str(error.value) == f"{said}, not {value!r}"


def test_the_closest_field_is_named():
    with pytest.raises(MachineError, match="unknown machine field 'columns', did you mean 'cols'"):
        machine("tiny", {"columns": "3"})


def test_the_command(command):
    code, out, err = command("machines")
    assert (code, err) == (0, "")
    assert all(f"\n  {name} " in out for name in FIELDS)
    assert "8 to 32768, a power of two; default 1024" in out
    code, out, err = command("machines", "--fields", "--json")
    assert (code, err) == (0, "") and json.loads(out) == json.loads(json.dumps([*FIELDS.values()]))


def test_the_instruction_table_as_json(command):
    code, out, err = command("isa", "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "") and rows[0]["fields"] is not None
    assert {"load", "halt"} <= {row["name"] for row in rows}
