"""``run``: one layer, or a text through the whole model."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bitwright.compiler.backends.registry import BACKENDS
from bitwright.compiler.commands import terminal_report as show
from bitwright.compiler.commands.terminal_launches import print_text_run
from bitwright.compiler.image.host_files import read_tensors
from bitwright.compiler.image.mapped_image import Image, open_image
from bitwright.compiler.ir.kv_format import FORMS, KeyForm
from bitwright.compiler.ir.layer_inputs import prepared
from bitwright.compiler.runtime.run_layer import (
    Result,
    activations,
    execute,
    random_activations,
)
from bitwright.compiler.runtime.text_run import run_text
from bitwright.hw.elements.element_option import Pe
from bitwright.models.command_line.options_and_files import say
from bitwright.models.nonlinear import floating_point as functions
from bitwright.models.nonlinear.floating_point import Functions
from bitwright.models.nonlinear.integer import INTEGER

__all__ = ["Backend", "Between", "Keys", "KeyGroup", "functions_of", "key_form", "run"]

FLOAT = "float"
FUNCTIONS: dict[str, Functions] = {"float": functions.FLOAT, "integer": INTEGER}


def _backend(value: str) -> str:
    if value not in BACKENDS:
        raise typer.BadParameter(f"must be one of {', '.join(BACKENDS)}, not {value!r}")
    return value


Backend = Annotated[str, typer.Option(callback=_backend, help=f"{', '.join(BACKENDS)}.")]
Keys = Annotated[str, typer.Option(
    "--kv", help=f"Keys and values of attention: {', '.join(FORMS)} on the array, or float on the "
                 "host.")]
KeyGroup = Annotated[int | None, typer.Option(
    "--kv-group", min=0, help="Columns of a key that share a scale, 0 for the whole head; 0 for "
                              "int8 and 32 for int4 if left out.")]


Between = Annotated[str, typer.Option(
    "--functions", help="Softmax, norms and activations on the host: float, or integer alone.")]


def key_form(kv: str, group: int | None) -> KeyForm | None:
    """None for attention on the host."""
    if kv not in (*FORMS, FLOAT):
        raise typer.BadParameter(f"must be one of {', '.join((*FORMS, FLOAT))}, not {kv!r}",
                                 param_hint="--kv")
    if kv == FLOAT:
        if group is not None:
            raise typer.BadParameter("goes without --kv float", param_hint="--kv-group")
        return None
    return KeyForm(kv, group)


def functions_of(name: str) -> Functions:
    if name not in FUNCTIONS:
        raise typer.BadParameter(f"must be one of {', '.join(FUNCTIONS)}, not {name!r}",
                                 param_hint="--functions")
    return FUNCTIONS[name]


def _layer(image: Image, layer: str, decode: bool, backend: str, source: Path | None,
           pe: str | None, seed: int | None) -> Result:
    op, bits = image.layer(layer, decode), image.machine.act_bits
    if source is None:
        a = random_activations(op, seed or 0, bits)
    else:
        a = activations(op, source, bits,
                        partial(prepared, image.options, read_tensors(image), layer))
    return execute(image, op, backend, a, say, pe)


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `map` wrote.")],
    layer: Annotated[str | None, typer.Option(help="Name of the one layer to run.")] = None,
    text: Annotated[str | None, typer.Option(
        help="Text to run through the whole model.")] = None,
    backend: Backend = "golden",
    source: Annotated[Path | None, typer.Option(
        "--input", help=".npy of [m, k] for --layer: integers, or floats to quantize per "
                        "token.")] = None,
    pe: Pe = None,
    seed: Annotated[int | None, typer.Option(
        min=0, help="Seed of random activations if there is no --input; 0 if left out.")] = None,
    kv: Keys = "int8",
    kv_group: KeyGroup = None,
    between: Between = "float",
    checkpoint: Annotated[Path | None, typer.Option(
        help="Checkpoint in floats that the result of --text is compared with; the mapped one if "
             "it is in the cache, else the mapped weights.")] = None,
    decode: Annotated[bool, typer.Option(
        "--decode", help="With --layer: its one-token program, of an image mapped with "
                         "--decode.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Run one layer, or a text through the whole model. Exit status 1 if the RTL's bits or cycles
    differ from the models'."""
    if (layer is None) == (text is None):
        raise typer.BadParameter("give one of --layer and --text", param_hint="--layer")
    for name, value, other in (("--input", source, "--text"), ("--seed", seed, "--text"),
                               ("--pe", pe, "--text"), ("--decode", decode or None, "--text"),
                               ("--checkpoint", checkpoint, "--layer"),
                               ("--kv-group", kv_group, "--layer")):
        if value is not None and (other == "--text") == (text is not None):
            raise typer.BadParameter(f"goes without {other}", param_hint=name)
    if source is not None and seed is not None:
        raise typer.BadParameter("goes without --input", param_hint="--seed")
    form = key_form(kv, kv_group)
    image = open_image(folder)
    if text is not None:
        found = run_text(image, text, backend, form, checkpoint, say,
                         functions=functions_of(between))
        if as_json:
            print(json.dumps(found.to_dict()))
        else:
            print_text_run(image, found)
        good = found.launches.good
    else:
        assert layer is not None
        result = _layer(image, layer, decode, backend, source, pe, seed)
        if as_json:
            print(json.dumps(result.to_dict()))
        else:
            show.print_result(result)
        good = result.good
    if not good:
        raise typer.Exit(1)
