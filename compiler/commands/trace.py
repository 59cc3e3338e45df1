"""The command ``trace``: the launches of a mapped model on a timeline."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bitwright.compiler.commands.image_options import ImageFolder, ImageLayer, OneToken
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.runtime.shared_launches import layer_chains
from bitwright.compiler.runtime.timeline import trace_text
from bitwright.models.command_line.option_groups import Json
from bitwright.models.command_line.options_and_files import write_text

__all__ = ["trace"]


def trace(
    folder: ImageFolder,
    out: Annotated[Path, typer.Option(help="File to write, for ui.perfetto.dev.")] = Path(
        "trace.json"),
    layer: ImageLayer = None,
    decode: OneToken = False,
    together: Annotated[bool, typer.Option(
        "--together", help="Let layers share launches, as they do when a text runs.")] = False,
    as_json: Json = False,
) -> None:
    """Write what each engine does, cycle by cycle, in Chrome's trace format."""
    if layer is not None and together:
        raise typer.BadParameter("goes without --layer", param_hint="--together")
    image = open_image(folder)
    launches = layer_chains(image, decode) if together else [
        (image.layer(name, decode),) for name in (image.layers if layer is None else (layer,))]
    write_text(out, trace_text(image.machine, launches, image.options.memory))
    if as_json:
        print(json.dumps({"trace": str(out), "launches": len(launches)}))
    else:
        print(f"{out}: {len(launches)} launch{'es' * (len(launches) > 1)}, 1 µs is one cycle")
