"""The command ``effects``."""

import json
from typing import Annotated

import typer

from bitwright.models.command_line.option_groups import Json
from bitwright.models.errors import UnknownNameError
from bitwright.models.evaluation.activation_study import VARIANTS, decoder, encoder, rows

__all__ = ["effects"]

SUBJECTS = {"minilm": encoder, "smollm2": decoder}


def effects(
    study: Annotated[str, typer.Argument(help=f"{' or '.join(VARIANTS)}.")],
    model: Annotated[str, typer.Option(help=f"{' or '.join(SUBJECTS)}.")] = "minilm",
    texts: Annotated[int, typer.Option(
        min=1, help="Lines of the corpus for minilm, windows of 512 tokens for smollm2.")] = 1,
    as_json: Json = False,
) -> None:
    """Measure what rotations or integer functions change at a model's end.

    The study rotation is of coarse activations, the study integer of softmax, norms and
    activations. It prints the rows of a table.
    """
    for name, value, known in (("study", study, VARIANTS), ("model", model, SUBJECTS)):
        if value not in known:
            raise UnknownNameError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    found = rows(SUBJECTS[model](texts), study)
    if as_json:
        print(json.dumps([*found]))
        return
    for row in found:
        print(f"| {' | '.join(row)} |", flush=True)
