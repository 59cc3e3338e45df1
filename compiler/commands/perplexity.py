"""``perplexity``: how well a mapped decoder predicts a text."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from bitwright.compiler.commands.run import Between, KeyGroup, Keys, functions_of, key_form
from bitwright.compiler.image.host_files import read_tokenizer
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.runtime.launcher import Launches
from bitwright.compiler.runtime.mapped_model import MappedModel
from bitwright.models.inference.perplexity import WINDOW, losses, windows

__all__ = ["perplexity"]


def perplexity(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `map` wrote.")],
    text: Annotated[Path, typer.Argument(metavar="TEXT", help="UTF-8 text file.")],
    count: Annotated[int, typer.Option(
        "--windows", min=1, help=f"Windows of {WINDOW} tokens, each read on its own.")] = 4,
    kv: Keys = "int8",
    kv_group: KeyGroup = None,
    between: Between = "float",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Perplexity of a text's first windows on the golden model."""
    form, image = key_form(kv, kv_group), open_image(folder)
    tokenizer, mapped = read_tokenizer(image), MappedModel(image)
    if not mapped.model.causal or not mapped.model.outputs:
        raise ImageError(f"{image.folder} holds a {mapped.model.family} model, which predicts no "
                         "text")
    network = mapped.on_array(Launches(image.machine), form, functions_of(between))

    def decoder(window: NDArray[np.integer]) -> NDArray[np.floating]:
        return network(window)

    found = [losses(decoder, window) for window in windows(
        tokenizer.encode(text.read_text(encoding="utf-8")), count)]
    each = [float(np.exp(loss.mean())) for loss in found]
    result = {"perplexity": float(np.exp(np.concatenate(found).mean())), "windows": each,
              "scored": sum(map(len, found)), "kv": kv}
    if as_json:
        print(json.dumps(result))
    else:
        print(f"perplexity {result['perplexity']:.3f} over {result['scored']:,} tokens; by window "
              + ", ".join(f"{value:.2f}" for value in each))
