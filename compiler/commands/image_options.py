"""The options of commands that run a mapped model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bitwright.compiler.backends.registry import BACKENDS
from bitwright.compiler.ir.kv_format import FORMS, KeyForm
from bitwright.models.command_line.option_groups import one_of
from bitwright.models.nonlinear.floating_point import FLOAT, Functions
from bitwright.models.nonlinear.integer import INTEGER

__all__ = ["AttentionChoice", "Backend", "ImageFolder", "ImageLayer", "OneToken"]

ON_HOST = "float"
FUNCTIONS: dict[str, Functions] = {"float": FLOAT, "integer": INTEGER}

ImageFolder = Annotated[Path, typer.Argument(
    metavar="DIR", help="Folder that 'bitwright map' wrote.")]
ImageLayer = Annotated[str | None, typer.Option(
    "--layer", help="Name of one layer; all in order if left out.")]
Backend = Annotated[str, typer.Option(
    "--backend", help=f"What launches run on: {', '.join(BACKENDS)}.")]
OneToken = Annotated[bool, typer.Option(
    "--decode", help="Take the one-token programs of an image mapped with --decode.")]


@dataclass(frozen=True)
class AttentionChoice:
    """How attention and the operators between layers are computed."""
    kv: Annotated[str, typer.Option(
        "--kv", help=f"Keys and values of attention: {', '.join(FORMS)} on the array, or float on "
                     "the host.")] = "int8"
    kv_group: Annotated[int | None, typer.Option(
        "--kv-group", min=0, help="Columns of a key that share a scale, 0 for the whole head; 0 "
                                  "for int8 and 32 for int4 if left out.")] = None
    functions: Annotated[str, typer.Option(
        "--functions", help="Softmax, norms and activations on the host: float, or integer "
                            "alone.")] = "float"

    @property
    def form(self) -> KeyForm | None:
        """How keys and values are stored; None for attention on the host."""
        one_of("--kv", self.kv, (*FORMS, ON_HOST))
        if self.kv != ON_HOST:
            return KeyForm(self.kv, self.kv_group)
        if self.kv_group is not None:
            raise typer.BadParameter("goes without --kv float", param_hint="--kv-group")
        return None

    @property
    def chosen_functions(self) -> Functions:
        """The functions between layers. ``UnknownNameError`` for an unknown name."""
        return FUNCTIONS[one_of("--functions", self.functions, FUNCTIONS)]
