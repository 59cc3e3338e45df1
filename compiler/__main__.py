"""``python -m compiler``: map a checkpoint, run a layer, read a program."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from compiler import show
from compiler.bench import bench_map, bench_shapes
from compiler.demo import run_demo
from compiler.execute import BACKENDS, activations, execute, random_activations
from compiler.graph import Options, Program
from compiler.image import Image, open_image, report
from compiler.mapping import map_checkpoint
from compiler.passes import PASSES
from compiler.passes.choose import AUTO, NATIVE
from compiler.passes.tile import HEURISTIC, SCHEDULES
from compiler.schedule_command import schedule_command
from compiler.shapes import map_shapes
from hw.cli import Pe, overrides, write_text
from hw.config import PRESETS, Machine, machine
from hw.isa import disassemble
from models.families import EXAMPLES, read_config
from models.quantize import scheme
from sim.memory import Memory

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


def _backend(value: str) -> str:
    return _one_of(BACKENDS, value)


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
    tokens: Annotated[int | None, typer.Option(
        min=1, max=1 << 20, help="Tokens per launch; 128, or those of an image, if left "
                                 "out.")] = None,
    context: Annotated[int, typer.Option(
        min=0, max=1 << 20, help="Earlier tokens that attention reads too; with "
                                 "--shapes-only.")] = 0,
    memory_latency: Annotated[int, typer.Option(help="Cycles to a burst's first beat.")] = 32,
    memory_interval: Annotated[int, typer.Option(help="Cycles per beat.")] = 1,
    schedule: Annotated[str, typer.Option(
        callback=_schedule, help=f"{', '.join(SCHEDULES)}: for cycles, fast; or for the fewest "
                                 "bytes, by an integer program.")] = HEURISTIC,
    as_json: Json = False,
    print_after: Annotated[str | None, typer.Option(
        metavar="PASS", callback=_pass,
        help=f"Print the program after {', '.join(step.name for step in PASSES)}.")] = None,
) -> None:
    """Map every linear layer of a checkpoint; write programs, weights and a report."""
    if shapes_only is not None:
        for name, value in (("CHECKPOINT", checkpoint), ("--out", out), ("--config", config),
                            ("--print-after", print_after)):
            if value is not None:
                raise typer.BadParameter("goes without --shapes-only", param_hint=name)
    elif checkpoint is None or out is None:
        raise typer.BadParameter("is missing; or give --shapes-only",
                                 param_hint="CHECKPOINT" if checkpoint is None else "--out")
    elif context:
        raise typer.BadParameter("goes with --shapes-only", param_hint="--context")
    where = machine(machine_, overrides(settings), pe)
    options = Options(weights=weights, group_size=group_size, asymmetric=asymmetric,
                      scale_bits=scale_bits, clip_search=clip_search,
                      flush_small_scales=flush_small_scales, tokens=tokens or Options.tokens,
                      memory=Memory(latency=memory_latency, interval=memory_interval),
                      schedule=schedule)
    if shapes_only is not None:
        with show.progress(as_json) as track:
            found = map_shapes(read_config(shapes_only), where, options, tokens=tokens,
                               context=context, track=track)
    else:
        assert checkpoint is not None and out is not None
        found = _map(checkpoint, out, where, options, config, print_after, as_json)
    if as_json:
        print(json.dumps(found, sort_keys=True))
    else:
        show.print_report(found)


def _map(checkpoint: Path, out: Path, where: Machine, options: Options, config: Path | None,
         print_after: str | None, as_json: bool) -> dict[str, Any]:
    def after(name: str, program: Program) -> None:
        if name == print_after:
            print(program, end="", file=sys.stderr if as_json else sys.stdout)

    with show.progress(as_json) as track:
        program = map_checkpoint(checkpoint, out, where, options, config=config, track=track,
                                 after=after)
    return report(program)


@app.command()
def run(
    folder: Folder,
    layer: Annotated[str, typer.Option(help="Name of the layer.")],
    backend: Annotated[str, typer.Option(
        callback=_backend, help=f"{', '.join(BACKENDS)}.")] = "golden",
    source: Annotated[Path | None, typer.Option(
        "--input", help=".npy of [m, k]: integers, or floats to quantize per token.")] = None,
    pe: Pe = None,
    seed: Annotated[int | None, typer.Option(
        min=0, help="Seed of random activations if there is no --input; 0 if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Run one layer. Exit status 1 if the RTL's bits or cycles differ from the models'."""
    if source is not None and seed is not None:
        raise typer.BadParameter("goes without --input", param_hint="--seed")
    image = open_image(folder)
    op, bits = image.layer(layer), image.machine.act_bits
    a = random_activations(op, seed or 0, bits) if source is None else activations(op, source,
                                                                                   bits)
    result = execute(image, op, backend, a, lambda text: print(text, file=sys.stderr), pe)
    if as_json:
        print(json.dumps(result.to_dict()))
    else:
        show.print_result(result)
    if not result.good:
        raise typer.Exit(1)


def _text(image: Image, name: str) -> str:
    op = image.layer(name)
    return (f"layer {name}: {op.placed.instructions} instructions at {op.placed.program:#x}\n"
            f"{disassemble(image.code(op))}")


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
    """Time and peak memory of mapping MiniLM, and time of estimating Llama-2-7B."""
    shapes = bench_shapes()
    found = {**bench_map(), "shapes": shapes}
    if out is not None:
        write_text(out, json.dumps(found, indent=2) + "\n")
    if as_json:
        print(json.dumps(found))
    else:
        print(f"map MiniLM, {found['tokens']} tokens, ulx3s-85f: {found['seconds']:.1f} s (target "
              f"{found['target_seconds']}), peak {found['peak_bytes'] / 1e6:,.0f} MB (target "
              f"{found['target_bytes'] / 1e6:,.0f})")
        print(f"shapes of Llama-2-7B, prefill of {shapes['tokens']:,} tokens and one more, "
              f"ulx3s-85f: {shapes['seconds']:.2f} s (target {shapes['target_seconds']}), "
              f"{shapes['prefill_cycles']:,} and {shapes['decode_cycles']:,} cycles")


app.command("schedule")(schedule_command)


def main() -> None:
    """Run the command line. Exit status 2 for wrong usage, 130 when interrupted, 1 for any other
    error, which takes one line."""
    try:
        app()
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
