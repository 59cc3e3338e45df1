"""The whole path in one command: a real model, a real sentence, the RTL, every bit compared."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console

from bitwright.compiler.checkpoints.safetensors_checkpoint import Checkpoint, open_checkpoint
from bitwright.compiler.commands import terminal_report as show
from bitwright.compiler.image.mapped_image import open_image, report
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_checkpoint import map_checkpoint
from bitwright.compiler.runtime.run_layer import bias, execute, matrix
from bitwright.hw.machine.description import Machine
from bitwright.models.assets.fetch import model_path
from bitwright.models.assets.tokenizer import TextTokenizer
from bitwright.models.inference.golden import dequantize_output, mpgemm
from bitwright.models.inference.reference_bert import float_linear, forward
from bitwright.models.quantization.rounding import quantize_activations
from bitwright.sim.verilator.simulator import build

__all__ = ["run_demo"]


@contextmanager
def _busy(label: str) -> Iterator[None]:
    """A spinner on a terminal, a line elsewhere."""
    if sys.stderr.isatty():
        with Console(stderr=True).status(label):
            yield
    else:
        print(f"{label} ...", file=sys.stderr, flush=True)
        yield


def run_demo(layer: str, sentence: str, out: Path, machine: Machine) -> bool:
    """Map MiniLM to int4 in groups of 64 for the sentence's tokens, run ``layer`` on the RTL with
    the activations that the sentence gives it, and print what came out. True if every bit and
    every counter is as the models say."""
    source = model_path("minilm")
    ids = TextTokenizer(source).encode(sentence)
    started = time.monotonic()
    with show.progress(False) as track:
        program = map_checkpoint(source, out, machine, Options(tokens=len(ids)), track=track)
    show.print_report(report(program))
    print(f"mapped to {out} in {time.monotonic() - started:.1f} s\n")
    image = open_image(out)
    op = image.layer(layer)

    with open_checkpoint(source) as checkpoint:
        assert isinstance(checkpoint, Checkpoint)
        weights, config = checkpoint.tensors(), checkpoint.config
    inputs: dict[str, np.ndarray] = {}
    forward(ids, weights, config, capture=inputs)
    a, sx = quantize_activations(inputs[layer], image.machine.act_bits)
    print(f"sentence: {sentence!r}, {len(ids)} tokens")
    print(f"layer: {layer}, {op.m} x {op.k} x {op.n}, {op.macs:,} MACs")

    with _busy(f"building the simulator of {machine.name} (kept for later runs)"):
        build(machine)
    started = time.monotonic()
    with _busy("running the RTL"):
        result = execute(image, op, "rtl", a)
    took = time.monotonic() - started
    assert result.accumulators is not None and result.cycles is not None
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
    return result.good
