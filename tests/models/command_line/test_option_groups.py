"""Dataclasses of options become options of commands."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from bitwright.models.command_line.option_groups import Json, WeightChoice, spread


@dataclass(frozen=True)
class Where:
    place: Annotated[str, typer.Option("--place")] = "here"
    times: Annotated[int, typer.Option("--times", min=1)] = 1


THERE = Where(place="there")


def show(name: str, where: Where = THERE, weights: WeightChoice = WeightChoice(),  # noqa: B008
         as_json: Json = False) -> None:
    """Print what it was given."""
    print(name, where, weights.group_size, as_json)


def test_fields_become_options_with_the_commands_defaults():
    command = spread(show)
    assert [*inspect.signature(command).parameters] == [
        "name", "place", "times", "weights", "group_size", "asymmetric", "as_json"]
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, ["x", "--times", "3", "--group-size", "8"])
    assert done.output == "x Where(place='there', times=3) 8 False\n"
    assert CliRunner().invoke(app, ["x", "--times", "0"]).exit_code == 2


def test_two_options_of_one_name_are_refused():
    def twice(one: Where, place: str) -> None:
        """Take a name twice."""

    with pytest.raises(ValueError, match="place"):
        spread(twice)
