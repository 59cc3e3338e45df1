"""``python -m compiler trace``: the launches of a mapped model on a timeline."""

from pathlib import Path
from typing import Annotated

import typer

from compiler.image import open_image
from compiler.trace import trace_text
from hw.cli import write_text

__all__ = ["trace"]


def trace(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `map` wrote.")],
    out: Annotated[Path, typer.Option(help="File to write, for ui.perfetto.dev.")] = Path(
        "trace.json"),
    layer: Annotated[str | None, typer.Option(
        help="One layer; all in order if left out.")] = None,
    decode: Annotated[bool, typer.Option(
        "--decode", help="The one-token programs of an image mapped with --decode.")] = False,
) -> None:
    """Write what each engine does, cycle by cycle, in Chrome's trace format."""
    image = open_image(folder)
    ops = [image.layer(name, decode) for name in (image.layers if layer is None else (layer,))]
    write_text(out, trace_text(image.machine, ops, image.options.memory))
    print(f"{out}: {len(ops)} launch{'es' * (len(ops) > 1)}, 1 µs is one cycle")
