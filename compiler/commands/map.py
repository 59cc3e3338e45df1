"""The command ``map``."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bitwright.compiler.commands import terminal_report as show
from bitwright.compiler.html_report.page import report_page
from bitwright.compiler.image.mapped_image import report
from bitwright.compiler.ir.program import Options, Program
from bitwright.compiler.mapping.calibration import TEXT, read_lines
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.mapping.map_shapes import map_shapes
from bitwright.compiler.passes.choose_datatypes import AUTO, NATIVE
from bitwright.compiler.passes.pass_order import PASSES
from bitwright.compiler.passes.session import Watch
from bitwright.compiler.scheduling.layer_plan import HEURISTIC, SCHEDULES
from bitwright.hw.commands.machine_choice import MachineChoice
from bitwright.hw.machine.description import Machine
from bitwright.models.architectures.families import EXAMPLES, read_config
from bitwright.models.command_line.option_groups import Json, WeightChoice, one_of
from bitwright.models.command_line.options_and_files import write_text
from bitwright.models.quantization.schemes import scheme
from bitwright.sim.commands.gemm_options import MemoryChoice

__all__ = ["InputChoice", "LaunchChoice", "MapOutput", "ModelChoice", "QuantizerChoice", "map_"]


@dataclass(frozen=True)
class ModelChoice:
    """Which model, if the checkpoint does not say it all."""
    config: Annotated[Path | None, typer.Option(
        "--config", help="config.json; the one beside the checkpoint if left out.")] = None
    names: Annotated[Path | None, typer.Option(
        "--names", help="A .toml file with the family and the tensor names of a checkpoint that "
                        "has others.")] = None
    shapes_only: Annotated[str | None, typer.Option(
        "--shapes-only", metavar="CONFIG",
        help="In place of a checkpoint and --out, report what the model of a config.json costs, or "
             f"of one of {', '.join(EXAMPLES)}.")] = None
    context: Annotated[int, typer.Option(
        "--context", min=0, max=1 << 20, help="Earlier tokens that attention reads too; with "
                                              "--shapes-only.")] = 0


@dataclass(frozen=True)
class QuantizerChoice(WeightChoice):
    """How weights in floats are quantized."""
    weights: Annotated[str, typer.Option(
        "--weights", help="Datatype, mixture or scheme ('bitwright formats' lists them), or the "
                          ".toml file of a datatype; native: the codes of a low-bit checkpoint; "
                          "auto: those, or int4 for floats.")] = AUTO
    scale_bits: Annotated[int, typer.Option("--scale-bits", help="Bits of a group scale.")] = 8
    clip_search: Annotated[bool, typer.Option(
        "--clip-search", help="Choose every group's range by squared error.")] = False
    flush_small_scales: Annotated[bool, typer.Option(
        "--flush-small-scales", help="Raise scales too small for their form to the least there "
                                     "is.")] = False

    def check(self) -> None:
        """``UnknownNameError`` for weights that are not known."""
        if self.weights not in (AUTO, NATIVE) and not self.weights.endswith(".toml"):
            scheme(self.weights)


@dataclass(frozen=True)
class InputChoice:
    """How activations are transformed before they are quantized."""
    rotate: Annotated[bool, typer.Option(
        "--rotate", help="Rotate activations on the host by Hadamard matrices, and weights to "
                         "match: for activations of 4 bits.")] = False
    smooth: Annotated[float | None, typer.Option(
        "--smooth", min=0, max=1, help="Move outliers of activations into weights, 0.5 as a rule: "
                                       "the float model reads a text for it.")] = None
    calibration: Annotated[Path | None, typer.Option(
        "--calibration", help="Text file for --smooth, each line read on its own; a few sentences "
                              "if left out.")] = None

    def lines(self) -> Sequence[str]:
        """The text for smoothing."""
        if self.calibration is None:
            return TEXT
        if self.smooth is None:
            raise typer.BadParameter("goes with --smooth", param_hint="--calibration")
        return read_lines(self.calibration)


@dataclass(frozen=True)
class LaunchChoice(MemoryChoice):
    """How layers are cut into launches, and the memory behind the machine."""
    tokens: Annotated[int | None, typer.Option(
        "--tokens", min=1, max=1 << 20, help="Tokens per launch; 128, or those of an image, if "
                                             "left out.")] = None
    schedule: Annotated[str, typer.Option(
        "--schedule", help=f"{', '.join(SCHEDULES)}: for cycles, fast; or for the fewest bytes, by "
                           "an integer program.")] = HEURISTIC
    decode: Annotated[bool, typer.Option(
        "--decode", help="Give every layer a program for one token too, on the same stored "
                         "weights: for generate.")] = False


@dataclass(frozen=True)
class MapOutput:
    """What is printed and written besides the image."""
    html: Annotated[Path | None, typer.Option(
        "--html", metavar="FILE", help="Write the report as a page too; with --shapes-only. An "
                                       "image has it as report.html.")] = None
    print_after: Annotated[str | None, typer.Option(
        "--print-after", metavar="PASS",
        help=f"Print the program after {', '.join(step.name for step in PASSES)}.")] = None
    as_json: Json = False

    def after(self, name: str, program: Program) -> None:
        """Print the program after the pass that was asked for."""
        if name == self.print_after:
            print(program, end="", file=sys.stderr if self.as_json else sys.stdout)


MODEL, MACHINE, QUANTIZER = ModelChoice(), MachineChoice(), QuantizerChoice()
INPUTS, LAUNCHES, OUTPUT = InputChoice(), LaunchChoice(), MapOutput()


def map_(
    checkpoint: Annotated[Path | None, typer.Argument(
        help="A safetensors file, the index of several, their folder, or a .gguf file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write, whole or not at all.")] = None,
    model: ModelChoice = MODEL,
    where: MachineChoice = MACHINE,
    quantizer: QuantizerChoice = QUANTIZER,
    inputs: InputChoice = INPUTS,
    launches: LaunchChoice = LAUNCHES,
    output: MapOutput = OUTPUT,
) -> None:
    """Map every linear layer of a checkpoint: programs, weights and a report."""
    one_of("--schedule", launches.schedule, SCHEDULES)
    if output.print_after is not None:
        one_of("--print-after", output.print_after, (step.name for step in PASSES))
    quantizer.check()
    if model.shapes_only is not None:
        for name, value in (("CHECKPOINT", checkpoint), ("--out", out), ("--config", model.config),
                            ("--names", model.names), ("--print-after", output.print_after),
                            ("--smooth", inputs.smooth), ("--decode", launches.decode or None)):
            if value is not None:
                raise typer.BadParameter("goes without --shapes-only", param_hint=name)
    elif checkpoint is None or out is None:
        raise typer.BadParameter("is missing; or give --shapes-only",
                                 param_hint="CHECKPOINT" if checkpoint is None else "--out")
    elif output.html is not None:
        raise typer.BadParameter("goes with --shapes-only; an image has its own",
                                 param_hint="--html")
    elif model.context:
        raise typer.BadParameter("goes with --shapes-only", param_hint="--context")
    text = inputs.lines()
    machine = where.read()
    options = Options(
        weights=quantizer.weights, group_size=quantizer.group_size,
        asymmetric=quantizer.asymmetric, scale_bits=quantizer.scale_bits,
        clip_search=quantizer.clip_search, flush_small_scales=quantizer.flush_small_scales,
        rotate=inputs.rotate, smooth=inputs.smooth, tokens=launches.tokens or Options.tokens,
        memory=launches.read(), schedule=launches.schedule, decode=launches.decode)
    with show.progress(output.as_json) as track:
        if model.shapes_only is not None:
            found = _map_shapes(model, machine, options, launches.tokens, output, track)
        else:
            assert checkpoint is not None and out is not None
            found = report(map_checkpoint(
                checkpoint, out, machine, options, config=model.config, names=model.names,
                text=text, watch=Watch(track=track, after=output.after)))
    if output.as_json:
        print(json.dumps(found, sort_keys=True))
    else:
        show.print_report(found)


def _map_shapes(model: ModelChoice, machine: Machine, options: Options, tokens: int | None,
                output: MapOutput, track: show.Track) -> dict[str, Any]:
    assert model.shapes_only is not None
    found = map_shapes(read_config(model.shapes_only), machine, options, tokens=tokens,
                       context=model.context, track=track)
    if output.html is not None:
        write_text(output.html, report_page(found, machine, model.shapes_only))
    return found
