"""``python -m compiler``: map a checkpoint, run a layer, read a program."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bitwright.compiler.commands import terminal_report as show
from bitwright.compiler.commands.bench import MAPS, bench_map, bench_shapes
from bitwright.compiler.commands.command_table import COMPILER
from bitwright.compiler.commands.demo import run_demo
from bitwright.compiler.commands.generate import generate_
from bitwright.compiler.commands.perplexity import perplexity
from bitwright.compiler.commands.run import run
from bitwright.compiler.commands.schedule import schedule_command
from bitwright.compiler.commands.trace import trace
from bitwright.compiler.html_report.page import report_page
from bitwright.compiler.image.mapped_image import Image, open_image, report
from bitwright.compiler.ir.program import Options, Program
from bitwright.compiler.mapping.calibration import TEXT, read_lines
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.mapping.map_shapes import map_shapes
from bitwright.compiler.passes.choose_datatypes import AUTO, NATIVE
from bitwright.compiler.passes.pass_order import PASSES
from bitwright.compiler.scheduling.layer_plan import HEURISTIC, SCHEDULES
from bitwright.hw.elements.element_option import Pe
from bitwright.hw.isa.program_tree import disassemble
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS, machine
from bitwright.models.architectures.families import EXAMPLES, read_config
from bitwright.models.command_line.options_and_files import overrides, write_text
from bitwright.models.command_line.program import run_program
from bitwright.models.quantization.schemes import scheme
from bitwright.sim.cycle_model.memory_timing import Memory

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  rich_markup_mode=None)
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `map` wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]


@app.callback()
def commands() -> None:
    """From a checkpoint to programs for a low-bit matrix machine."""


def _one_of(known: tuple[str, ...], value: str) -> str:
    if value not in known:
        raise typer.BadParameter(f"must be one of {', '.join(known)}, not {value!r}")
    return value


def _weights(value: str) -> str:
    if value not in (AUTO, NATIVE) and not value.endswith(".toml"):
        try:
            scheme(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return value


def _schedule(value: str) -> str:
    return _one_of(SCHEDULES, value)


def _pass(value: str | None) -> str | None:
    return value and _one_of(tuple(step.name for step in PASSES), value)


@app.command("map")
def map_(
    checkpoint: Annotated[Path | None, typer.Argument(
        help="A safetensors file, the index of several, their folder, or a .gguf file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write, whole or not at all.")] = None,
    config: Annotated[Path | None, typer.Option(
        help="config.json; the one beside the checkpoint if left out.")] = None,
    names: Annotated[Path | None, typer.Option(
        help="A .toml file with the family and the tensor names of a checkpoint that has "
             "others.")] = None,
    shapes_only: Annotated[str | None, typer.Option(
        "--shapes-only", metavar="CONFIG",
        help="In place of a checkpoint and --out, report what the model of a config.json costs, or "
             f"of one of {', '.join(EXAMPLES)}.")] = None,
    machine_: Annotated[str, typer.Option(
        "--machine", help=f"{', '.join(PRESETS)}, or a .toml or .json file.")] = "ulx3s-85f",
    pe: Pe = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a field of the machine; repeatable.")] = None,
    weights: Annotated[str, typer.Option(
        callback=_weights, help="Datatype, mixture or scheme (python -m models formats lists "
                                "them), or the .toml file of a datatype; native: the codes of a "
                                "low-bit checkpoint; auto: those, or int4 for floats.")] = AUTO,
    group_size: Annotated[int | None, typer.Option(
        min=0, help="Input features per scale, 0 for the whole channel; what the scheme has, else "
                    "64, if left out.")] = None,
    asymmetric: Annotated[bool, typer.Option(
        "--asymmetric", help="Give every group an offset.")] = False,
    scale_bits: Annotated[int, typer.Option(help="Bits of a group scale.")] = 8,
    clip_search: Annotated[bool, typer.Option(
        "--clip-search", help="Choose every group's range by squared error.")] = False,
    flush_small_scales: Annotated[bool, typer.Option(
        "--flush-small-scales", help="Raise scales too small for their form to the least there "
                                     "is.")] = False,
    rotate: Annotated[bool, typer.Option(
        "--rotate", help="Rotate activations on the host by Hadamard matrices, and weights to "
                         "match: for activations of 4 bits.")] = False,
    smooth: Annotated[float | None, typer.Option(
        min=0, max=1, help="Move outliers of activations into weights, 0.5 as a rule: the float "
                           "model reads a text for it.")] = None,
    calibration: Annotated[Path | None, typer.Option(
        help="Text file for --smooth, each line read on its own; a few sentences if left "
             "out.")] = None,
    tokens: Annotated[int | None, typer.Option(
        min=1, max=1 << 20, help="Tokens per launch; 128, or those of an image, if left "
                                 "out.")] = None,
    context: Annotated[int, typer.Option(
        min=0, max=1 << 20, help="Earlier tokens that attention reads too; with "
                                 "--shapes-only.")] = 0,
    memory_latency: Annotated[int, typer.Option(help="Cycles to a burst's first beat.")] = 32,
    memory_interval: Annotated[int, typer.Option(help="Cycles per beat.")] = 1,
    html: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Write the report as a page too; with --shapes-only. An image has it "
                             "as report.html.")] = None,
    schedule: Annotated[str, typer.Option(
        callback=_schedule, help=f"{', '.join(SCHEDULES)}: for cycles, fast; or for the fewest "
                                 "bytes, by an integer program.")] = HEURISTIC,
    decode: Annotated[bool, typer.Option(
        "--decode", help="Give every layer a program for one token too, on the same stored "
                         "weights: for generate.")] = False,
    as_json: Json = False,
    print_after: Annotated[str | None, typer.Option(
        metavar="PASS", callback=_pass,
        help=f"Print the program after {', '.join(step.name for step in PASSES)}.")] = None,
) -> None:
    """Map every linear layer of a checkpoint; write programs, weights and a report."""
    if shapes_only is not None:
        for name, value in (("CHECKPOINT", checkpoint), ("--out", out), ("--config", config),
                            ("--names", names), ("--print-after", print_after),
                            ("--smooth", smooth), ("--decode", decode or None)):
            if value is not None:
                raise typer.BadParameter("goes without --shapes-only", param_hint=name)
    elif checkpoint is None or out is None:
        raise typer.BadParameter("is missing; or give --shapes-only",
                                 param_hint="CHECKPOINT" if checkpoint is None else "--out")
    elif html is not None:
        raise typer.BadParameter("goes with --shapes-only; an image has its own",
                                 param_hint="--html")
    elif context:
        raise typer.BadParameter("goes with --shapes-only", param_hint="--context")
    if calibration is not None and smooth is None:
        raise typer.BadParameter("goes with --smooth", param_hint="--calibration")
    text = TEXT if calibration is None else read_lines(calibration)
    where = machine(machine_, overrides(settings), pe)
    options = Options(weights=weights, group_size=group_size, asymmetric=asymmetric,
                      scale_bits=scale_bits, clip_search=clip_search,
                      flush_small_scales=flush_small_scales, rotate=rotate, smooth=smooth,
                      tokens=tokens or Options.tokens,
                      memory=Memory(latency=memory_latency, interval=memory_interval),
                      schedule=schedule, decode=decode)
    if shapes_only is not None:
        with show.progress(as_json) as track:
            found = map_shapes(read_config(shapes_only), where, options, tokens=tokens,
                               context=context, track=track)
        if html is not None:
            write_text(html, report_page(found, where, shapes_only))
    else:
        assert checkpoint is not None and out is not None
        found = _map(checkpoint, out, where, options, config, names, text, print_after, as_json)
    if as_json:
        print(json.dumps(found, sort_keys=True))
    else:
        show.print_report(found)


def _map(checkpoint: Path, out: Path, where: Machine, options: Options, config: Path | None,
         names: Path | None, text: Sequence[str], print_after: str | None, as_json: bool
         ) -> dict[str, Any]:
    def after(name: str, program: Program) -> None:
        if name == print_after:
            print(program, end="", file=sys.stderr if as_json else sys.stdout)

    with show.progress(as_json) as track:
        program = map_checkpoint(checkpoint, out, where, options, config=config, names=names,
                                 text=text,
                                 track=track, after=after)
    return report(program)


app.command()(run)
app.command("generate")(generate_)
app.command()(perplexity)


def _text(image: Image, name: str) -> str:
    op = image.layer(name)
    return "".join(
        f"layer {name}{', ' + program if op.one is not None else ''}: {code.instructions} "
        f"instructions at {code.offset:#x}\n{disassemble(image.code(op, program))}"
        for program, code in op.placed.codes.items())


@app.command()
def disasm(
    folder: Folder,
    layer: Annotated[str | None, typer.Option(help="One layer; all if left out.")] = None,
) -> None:
    """Print programs as text, one instruction per line."""
    image = open_image(folder)
    for name in image.layers if layer is None else (layer,):
        print(_text(image, name), end="")


@app.command()
def demo(
    layer: Annotated[str, typer.Option(
        help="Layer to run on the RTL.")] = "encoder.layer.0.intermediate.dense",
    sentence: Annotated[str, typer.Option(
        help="What the model reads.")] = ("A systolic array of small tables multiplies four-bit "
                                          "weights, one bit-plane per cycle."),
    out: Annotated[Path, typer.Option(help="Folder for the mapped model.")] = Path("build/minilm"),
    machine_: Annotated[str, typer.Option("--machine", help="As for map.")] = "ulx3s-85f",
) -> None:
    """Map MiniLM, then run one of its layers on the RTL with a real sentence's activations."""
    if not run_demo(layer, sentence, out, machine(machine_)):
        raise typer.Exit(1)


@app.command()
def bench(out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
          as_json: Json = False) -> None:
    """Time and peak memory of mapping MiniLM and SmolLM2, and time of estimating Llama-2-7B."""
    shapes = bench_shapes()
    maps = [bench_map(job) for job in MAPS]
    found = {"maps": maps, "shapes": shapes}
    if out is not None:
        write_text(out, json.dumps(found, indent=2) + "\n")
    if as_json:
        print(json.dumps(found))
    else:
        for each in maps:
            print(f"map {each['model']}, {each['tokens']} tokens, ulx3s-85f: {each['seconds']:.1f} "
                  f"s (target {each['target_seconds']}), peak {each['peak_bytes'] / 1e6:,.0f} MB "
                  f"(target {each['target_bytes'] / 1e6:,.0f})")
        print(f"shapes of Llama-2-7B, prefill of {shapes['tokens']:,} tokens and one more, "
              f"ulx3s-85f: {shapes['seconds']:.2f} s (target {shapes['target_seconds']}), "
              f"{shapes['prefill_cycles']:,} and {shapes['decode_cycles']:,} cycles")


app.command()(trace)
app.command("schedule")(schedule_command)


def main() -> None:
    """Run the commands of compiler."""
    run_program(COMPILER, "python -m compiler")


if __name__ == "__main__":
    main()
