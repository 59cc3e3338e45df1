"""The command ``demo``: a real model, a real sentence, the RTL, every bit compared."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bitwright.compiler.checkpoints.open_checkpoint import open_checkpoint
from bitwright.compiler.commands import terminal_report as show
from bitwright.compiler.image.mapped_image import open_image, report
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.passes.session import Watch
from bitwright.compiler.runtime.run_layer import bias, execute, matrix
from bitwright.hw.commands.machine_choice import MachineChoice
from bitwright.hw.machine.description import Machine
from bitwright.models.assets.fetch import model_path
from bitwright.models.assets.tokenizer import TextTokenizer
from bitwright.models.command_line.option_groups import Json
from bitwright.models.inference.golden import dequantize_output, mpgemm
from bitwright.models.inference.reference_bert import float_linear, forward
from bitwright.models.quantization.rounding import quantize_activations
from bitwright.sim.verilator.simulator import build

__all__ = ["demo", "run_demo"]

MACHINE = MachineChoice()


STEPS = """The demo takes four steps, about two minutes of CPU time the first time:
  1. map the model to int4 weights in groups of 64            a few seconds
  2. make the simulator of the machine from its RTL           90 seconds once, then 30
  3. run one layer on the RTL, with a real sentence           under 10 seconds
  4. compare every output bit and the number of cycles        under a second
"""


@contextmanager
def _step(number: int, label: str) -> Iterator[None]:
    """Print a line before and after a step on the error stream, with its duration."""
    print(f"step {number} of 4: {label} ...", file=sys.stderr, flush=True)
    start = time.monotonic()
    yield
    print(f"step {number} of 4: done in {time.monotonic() - start:.1f} s", file=sys.stderr,
          flush=True)


def _note(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def run_demo(layer: str, sentence: str, out: Path, machine: Machine) -> dict[str, Any]:
    """Map MiniLM to int4 in groups of 64 for the sentence's tokens, run ``layer`` on the RTL with
    the activations that the sentence gives it, and print what came out.

    Returns the figures as JSON values; ``good`` is true if every bit and every counter is as the
    models say.
    """
    source = model_path("minilm")
    ids = TextTokenizer(source).encode(sentence)
    print(STEPS)
    with _step(1, f"map {source.name} to {out}"), show.progress(False) as track:
        program = map_checkpoint(source, out, machine, Options(tokens=len(ids)),
                                 watch=Watch(track=track))
    show.print_report(report(program))
    print()
    image = open_image(out)
    op = image.layer(layer)

    with open_checkpoint(source) as checkpoint:
        weights, config = checkpoint.tensors(), checkpoint.config
    inputs: dict[str, np.ndarray] = {}
    forward(ids, weights, config, capture=inputs)
    a, sx = quantize_activations(inputs[layer], image.machine.act_bits)
    print(f"sentence: {sentence!r}, {len(ids)} tokens")
    print(f"layer: {layer}, {op.m} x {op.k} x {op.n}, {op.macs:,} MACs")

    with _step(2, f"write the RTL of {machine.name} and compile its simulator"):
        build(machine, _note)
    started = time.monotonic()
    with _step(3, "run the layer on the RTL"):
        result = execute(image, op, "rtl", a)
    took = time.monotonic() - started
    assert result.accumulators is not None and result.cycles is not None
    with _step(4, "compare outputs and cycles"):
        qm = matrix(image, op)
        outputs = dequantize_output(result.accumulators, qm, sx, bias(image, op))
        exact = float_linear(layer, inputs[layer].astype(np.float64), weights[op.tensor],
                             None if op.bias_tensor is None else weights[op.bias_tensor])
        noise = float(np.square(outputs - exact).sum() / np.square(exact).sum())
        wrong = int(np.bitwise_count(result.accumulators ^ mpgemm(a, qm)).sum())
    print(f"mismatching bits: {wrong} in {op.m * op.n:,} accumulators")
    print(f"cycles: RTL {result.cycles:,}, cycle model {result.model_cycles:,}")
    if not result.good:
        show.print_result(result)
    print(f"outputs against the layer in float: {-10 * np.log10(noise):.1f} dB signal to noise")
    print(f"RTL: {took:.1f} s, {result.cycles / took:,.0f} cycles/s")
    print("equal to the last bit and cycle" if result.good else "something differs")
    return {"layer": layer, "machine": machine.name, "tokens": len(ids), "mismatches": wrong,
            "cycles": result.cycles, "model_cycles": result.model_cycles,
            "seconds": round(took, 3), "good": result.good}


def demo(
    layer: Annotated[str, typer.Option(
        help="Layer to run on the RTL.")] = "encoder.layer.0.intermediate.dense",
    sentence: Annotated[str, typer.Option(
        help="What the model reads.")] = ("A systolic array of small tables multiplies four-bit "
                                          "weights, one bit-plane per cycle."),
    out: Annotated[Path, typer.Option(help="Folder for the mapped model.")] = Path("build/minilm"),
    where: MachineChoice = MACHINE,
    as_json: Json = False,
) -> None:
    """Map MiniLM and run one of its layers on the RTL.

    The layer gets a real sentence's activations. With --json the text goes to the error stream.
    Exit status 1 if a bit or a cycle differs from the models'.
    """
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        found = run_demo(layer, sentence, out, where.read())
    if as_json:
        print(json.dumps(found))
    if not found["good"]:
        raise typer.Exit(1)
