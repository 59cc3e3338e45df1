"""The command ``fetch``."""

import json
from typing import Annotated

import typer

from bitwright.models.assets.fetch import model_path
from bitwright.models.command_line.option_groups import Json

__all__ = ["fetch"]

MODELS = ("minilm", "smollm2")


def fetch(
    names: Annotated[list[str] | None, typer.Argument(
        metavar="[NAME]...",
        help=f"Models or texts of models.toml; {' and '.join(MODELS)} if left out.")] = None,
    verify: Annotated[bool, typer.Option(
        "--verify", help="Compare the SHA-256 of every file, not only its size.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch the two models, or the named ones, and print their folders.

    They are kept in a cache outside the repository. What is there already is not fetched again.
    """
    folders = {name: str(model_path(name, verify=verify)) for name in names or MODELS}
    if as_json:
        print(json.dumps(folders))
    else:
        for folder in folders.values():
            print(folder)
