"""The command ``run``: one layer, or a text through the whole model."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bitwright.compiler.backends.registry import BACKENDS
from bitwright.compiler.commands import terminal_report as show
from bitwright.compiler.commands.image_options import (
    AttentionChoice,
    Backend,
    ImageFolder,
    OneToken,
)
from bitwright.compiler.commands.terminal_launches import print_text_run
from bitwright.compiler.image.host_files import read_tensors
from bitwright.compiler.image.mapped_image import Image, open_image
from bitwright.compiler.ir.layer_inputs import prepared
from bitwright.compiler.runtime.run_layer import (
    Result,
    activations,
    execute,
    random_activations,
)
from bitwright.compiler.runtime.text_run import run_text
from bitwright.hw.elements.element_option import Pe
from bitwright.models.command_line.option_groups import Json, one_of
from bitwright.models.command_line.options_and_files import say

__all__ = ["LayerInput", "TextReference", "run"]


@dataclass(frozen=True)
class LayerInput:
    """What one layer is run on, and which of its programs."""
    source: Annotated[Path | None, typer.Option(
        "--input", help=".npy of [m, k] for --layer: integers, or floats to quantize per "
                        "token.")] = None
    pe: Pe = None
    seed: Annotated[int | None, typer.Option(
        "--seed", min=0, help="Seed of random activations if there is no --input; 0 if left "
                              "out.")] = None
    decode: OneToken = False

    def refuse(self, other: str) -> None:
        """Wrong usage if any of it is given with the option ``other``."""
        _refuse(other, {"--input": self.source, "--seed": self.seed, "--pe": self.pe,
                        "--decode": self.decode or None})

    def run(self, image: Image, layer: str, backend: str) -> Result:
        """Run ``layer`` of ``image`` on it."""
        op, bits = image.layer(layer, self.decode), image.machine.act_bits
        if self.source is None:
            a = random_activations(op, self.seed or 0, bits)
        else:
            a = activations(op, self.source, bits,
                            partial(prepared, image.options, read_tensors(image), layer))
        return execute(image, op, backend, a, say, self.pe)


@dataclass(frozen=True)
class TextReference:
    """What the result of a text is compared with."""
    checkpoint: Annotated[Path | None, typer.Option(
        "--checkpoint", help="Checkpoint in floats that the result of --text is compared with; the "
                             "mapped one if it is in the cache, else the mapped weights.")] = None


def _refuse(other: str, given: dict[str, Any]) -> None:
    for name, value in given.items():
        if value is not None:
            raise typer.BadParameter(f"goes without {other}", param_hint=name)


INPUT, ATTENTION, REFERENCE = LayerInput(), AttentionChoice(), TextReference()


def run(
    folder: ImageFolder,
    layer: Annotated[str | None, typer.Option(help="Name of the one layer to run.")] = None,
    text: Annotated[str | None, typer.Option(
        help="Text to run through the whole model.")] = None,
    backend: Backend = "golden",
    given: LayerInput = INPUT,
    attention: AttentionChoice = ATTENTION,
    reference: TextReference = REFERENCE,
    as_json: Json = False,
) -> None:
    """Run one layer of a mapped model, or a text through the whole model.

    Exit status 1 if the backend's bits or cycles differ from the models'.
    """
    if (layer is None) == (text is None):
        raise typer.BadParameter("give one of --layer and --text", param_hint="--layer")
    if text is not None:
        given.refuse("--text")
    else:
        _refuse("--layer", {"--checkpoint": reference.checkpoint,
                            "--kv-group": attention.kv_group})
    if given.source is not None and given.seed is not None:
        raise typer.BadParameter("goes without --input", param_hint="--seed")
    one_of("--backend", backend, BACKENDS)
    form = attention.form
    image = open_image(folder)
    if text is not None:
        found = run_text(image, text, backend, form, reference.checkpoint, say,
                         functions=attention.chosen_functions)
        if as_json:
            print(json.dumps(found.to_dict()))
        else:
            print_text_run(image, found)
        good = found.launches.good
    else:
        assert layer is not None
        result = given.run(image, layer, backend)
        if as_json:
            print(json.dumps(result.to_dict()))
        else:
            show.print_result(result)
        good = result.good
    if not good:
        raise typer.Exit(1)
