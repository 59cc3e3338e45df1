"""The command ``perplexity``: how well a mapped decoder predicts a text."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from bitwright.compiler.commands.image_options import AttentionChoice, ImageFolder
from bitwright.compiler.image.host_files import read_tokenizer
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.runtime.launcher import Launches
from bitwright.compiler.runtime.mapped_model import MappedModel
from bitwright.models.command_line.option_groups import Json
from bitwright.models.command_line.options_and_files import say
from bitwright.models.command_line.progress_lines import counted
from bitwright.models.inference.perplexity import WINDOW, losses, windows

__all__ = ["perplexity"]

ATTENTION = AttentionChoice()


def perplexity(
    folder: ImageFolder,
    text: Annotated[Path, typer.Argument(metavar="TEXT", help="UTF-8 text file.")],
    count: Annotated[int, typer.Option(
        "--windows", min=1, help=f"Windows of {WINDOW} tokens, each read on its own.")] = 4,
    attention: AttentionChoice = ATTENTION,
    as_json: Json = False,
) -> None:
    """Measure a mapped decoder's perplexity on a text.

    The golden model reads the text's first windows.
    """
    form, image = attention.form, open_image(folder)
    tokenizer, mapped = read_tokenizer(image), MappedModel(image)
    if not mapped.model.causal or not mapped.model.outputs:
        raise ImageError(f"{image.folder} holds a {mapped.model.family} model, which predicts no "
                         "text")
    network = mapped.on_array(Launches(image.machine), form, attention.chosen_functions)

    def decoder(window: NDArray[np.integer]) -> NDArray[np.floating]:
        return network(window)

    chosen = [*windows(tokenizer.encode(text.read_text(encoding="utf-8")), count)]
    found = [losses(decoder, window) for window in counted(chosen, "windows", say)]
    each = [float(np.exp(loss.mean())) for loss in found]
    result = {"perplexity": float(np.exp(np.concatenate(found).mean())), "windows": each,
              "scored": sum(map(len, found)), "kv": attention.kv}
    if as_json:
        print(json.dumps(result))
    else:
        print(f"perplexity {result['perplexity']:.3f} over {result['scored']:,} tokens; by window "
              + ", ".join(f"{value:.2f}" for value in each))
