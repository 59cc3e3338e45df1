"""The command ``generate``: text from a mapped decoder."""

import json
import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from bitwright.compiler.backends.registry import BACKENDS
from bitwright.compiler.commands.image_options import AttentionChoice, Backend, ImageFolder
from bitwright.compiler.commands.terminal_launches import print_launches
from bitwright.compiler.commands.terminal_report import terminal
from bitwright.compiler.image.mapped_image import open_image
from bitwright.compiler.runtime.generation import Sampling, generate
from bitwright.compiler.runtime.launcher import Launches
from bitwright.hw.machine.clocks import OTHERS_MHZ, clock_mhz
from bitwright.models.command_line.option_groups import Json, Seed, one_of
from bitwright.models.command_line.options_and_files import say

__all__ = ["SamplingChoice", "generate_"]


def _stream(text: str) -> None:
    print(text, end="", flush=True)


@dataclass(frozen=True)
class SamplingChoice:
    """How the next token is chosen."""
    temperature: Annotated[float, typer.Option(
        "--temperature", min=0, max=100,
        help="0 takes the likeliest token; else one is drawn.")] = 0
    seed: Seed = 0


ATTENTION, SAMPLING = AttentionChoice(), SamplingChoice()


def generate_(
    folder: ImageFolder,
    prompt: Annotated[str, typer.Option(help="Text to go on from.")],
    tokens: Annotated[int, typer.Option(
        "--tokens", min=1, max=1 << 20, help="Tokens to add at most.")] = 32,
    backend: Backend = "golden",
    attention: AttentionChoice = ATTENTION,
    sampling: SamplingChoice = SAMPLING,
    mhz: Annotated[float | None, typer.Option(
        min=0.001, max=10_000, help="Clock for tokens per second; that of the machine's board if "
                                    f"left out, {OTHERS_MHZ:g} for others.")] = None,
    as_json: Json = False,
) -> None:
    """Continue a prompt with a mapped decoder, token by token.

    Exit status 1 if the backend's bits or cycles differ from the models'.
    """
    one_of("--backend", backend, BACKENDS)
    form, image = attention.form, open_image(folder)
    clock = float(clock_mhz(image.machine.name)) if mhz is None else mhz
    with Launches(image.machine, backend, image.options.memory, say) as launches:
        found = generate(image, prompt, tokens, launches, form,
                         functions=attention.chosen_functions,
                         sampling=Sampling(sampling.temperature, sampling.seed),
                         emit=(lambda text: None) if as_json else _stream)
    if as_json:
        print(json.dumps(found.to_dict(launches, clock)))
    else:
        print(flush=True)
        out, later = terminal(), found.seconds[1:] or found.seconds
        print_launches(out, launches)
        if found.cycles:
            if programs := found.programs:
                out.print(f"programs    {image.options.tokens} tokens in {programs['prefill']:,} "
                          f"cycles of the linear layers, one in {programs['decode']:,}")
            out.print(f"prompt      {found.prompt_tokens} tokens in {found.cycles[0]:,} cycles, "
                      f"{found.prompt_tokens_per_second(clock):.2f} per second; then "
                      f"{found.tokens_per_second(clock):.2f} tokens per second at {clock:g} MHz, "
                      "the host's time left out")
        out.print(f"wall time   {sum(found.seconds):.1f} s, {sum(later) / len(later):.2f} s per "
                  "token after the prompt")
    if not launches.good:
        sys.exit(1)
