"""The command ``disasm``."""

import json
from collections.abc import Iterator
from typing import Any

from bitwright.compiler.commands.image_options import ImageFolder, ImageLayer
from bitwright.compiler.image.mapped_image import Image, open_image
from bitwright.hw.isa.program_tree import disassemble
from bitwright.models.command_line.option_groups import Json

__all__ = ["disasm"]


def disasm(folder: ImageFolder, layer: ImageLayer = None, as_json: Json = False) -> None:
    """Print a mapped model's programs, one instruction per line."""
    image = open_image(folder)
    names = image.layers if layer is None else (layer,)
    if as_json:
        print(json.dumps([row for name in names for row in _programs(image, name)]))
        return
    for name in names:
        for row in _programs(image, name):
            which = "" if image.layer(name).one is None else f", {row['program']}"
            print(f"layer {name}{which}: {row['instructions']} instructions at "
                  f"{row['address']:#x}\n{row['text']}", end="")


def _programs(image: Image, name: str) -> Iterator[dict[str, Any]]:
    op = image.layer(name)
    for program, code in op.placed.codes.items():
        yield {"layer": name, "program": program, "instructions": code.instructions,
               "address": code.offset, "text": disassemble(image.code(op, program))}
