"""``python -m models effects``."""

from typing import Annotated

import typer

__all__ = ["effects"]


def effects(
    study: Annotated[str, typer.Argument(help="rotation or integer.")],
    model: Annotated[str, typer.Option(help="minilm or smollm2.")] = "minilm",
    texts: Annotated[int, typer.Option(
        min=1, help="Lines of the corpus for minilm, windows of 512 tokens for smollm2.")] = 1,
) -> None:
    """What rotations of coarse activations, or integer softmax, norms and activations, change at a
    real model's end, as rows of a table."""
    from bitwright.models.evaluation.activation_study import VARIANTS, decoder, encoder, rows

    subjects = {"minilm": encoder, "smollm2": decoder}
    for name, value, known in (("study", study, VARIANTS), ("model", model, subjects)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    for row in rows(subjects[model](texts), study):
        print(f"| {' | '.join(row)} |", flush=True)
