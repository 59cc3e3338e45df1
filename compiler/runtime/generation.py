"""Text from a mapped decoder, token by token."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from bitwright.compiler.image.host_files import read_tokenizer
from bitwright.compiler.image.manifest import ImageError
from bitwright.compiler.image.mapped_image import Image
from bitwright.compiler.ir.kv_format import KeyForm
from bitwright.compiler.ir.memory_map import DECODE, PREFILL
from bitwright.compiler.runtime.launcher import Launches
from bitwright.compiler.runtime.mapped_model import MappedModel
from bitwright.models.nonlinear.floating_point import FLOAT, Functions

__all__ = ["Generated", "Sampling", "generate", "sample"]

UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what a part of a character decodes to


@dataclass(kw_only=True)
class Generated:
    """``cycles`` and ``seconds`` are by pass: the first reads the prompt and gives the first token,
    each later one gives another. Cycles are the cycle model's, empty on the golden backend.
    ``programs`` are the cycles of all linear layers by program, of an image with those for one
    token."""
    prompt: str
    prompt_tokens: int
    ids: list[int] = field(default_factory=list)
    text: str = ""
    cycles: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    simulator_seconds: float = 0.0
    programs: dict[str, int] | None = None

    def tokens_per_second(self, mhz: float) -> float | None:
        """Return the tokens per second of one-token passes on an array at ``mhz``. The host's time
        is left out."""
        later = self.cycles[1:] if len(self.cycles) > 1 else self.cycles
        return len(later) * mhz * 1e6 / sum(later) if later else None

    def prompt_tokens_per_second(self, mhz: float) -> float | None:
        """Return the prompt's tokens per second, likewise."""
        return self.prompt_tokens * mhz * 1e6 / self.cycles[0] if self.cycles else None

    def to_dict(self, launches: Launches, mhz: float) -> dict[str, Any]:
        found = {**vars(self), **launches.to_dict()}
        if launches.reports.cycles:
            found |= {"mhz": mhz, "tokens_per_second": self.tokens_per_second(mhz),
                      "prompt_tokens_per_second": self.prompt_tokens_per_second(mhz)}
        return found


def sample(logits: NDArray[np.floating[Any]], temperature: float,
           rng: np.random.Generator) -> int:
    """The likeliest token for ``temperature`` 0, else one drawn from the softmax of ``logits`` over
    it."""
    if not temperature:
        return int(logits.argmax())
    weights = softmax(logits.astype(np.float64) / temperature)
    return int(rng.choice(len(weights), p=weights))


def _ends(config: dict[str, Any]) -> set[int]:
    """Tokens that end a text."""
    value = config.get("eos_token_id")
    return {token for token in (value if isinstance(value, list) else [value])
            if isinstance(token, int)}


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: the likeliest at temperature 0, else drawn with ``seed``."""
    temperature: float = 0.0
    seed: int = 0


LIKELIEST = Sampling()


def generate(image: Image, prompt: str, tokens: int, launches: Launches, form: KeyForm | None, *,
             functions: Functions = FLOAT, sampling: Sampling = LIKELIEST,
             emit: Callable[[str], None] = lambda text: None) -> Generated:
    """Up to ``tokens`` tokens after ``prompt``, fewer where the model ends its text. ``emit`` gets
    the text as it comes. Raises :class:`ImageError` for a model that gives no text."""
    tokenizer, mapped = read_tokenizer(image), MappedModel(image)
    if not mapped.model.causal:
        raise ImageError(f"{image.folder} holds a {mapped.model.family} model, which reads text "
                         "and writes none; use run --text")
    ids = tokenizer.encode(prompt)
    if not ids:
        raise ImageError("the prompt has no tokens; give --prompt some text")
    most = mapped.model.positions
    if most and (total := len(ids) + tokens) > most:
        raise ImageError(f"prompt and --tokens must be at most {most} tokens together, the "
                         f"positions of the model, not {total}")
    network, ends = mapped.on_array(launches, form, functions), _ends(mapped.config)
    cache, rng = network.arithmetic.cache(), np.random.default_rng(sampling.seed)
    found, reading = Generated(prompt=prompt, prompt_tokens=len(ids)), ids
    if image.options.decode and launches.reports.cycles:
        found.programs = {name: sum(launches.model(op.launches[name]).counters["run"]
                                    for op in image.layers.values())
                          for name in (PREFILL, DECODE)}
    while len(found.ids) < tokens:
        before, started = launches.totals.cycles, time.monotonic()
        logits = network(reading, cache, last_only=True)[-1]
        found.seconds.append(time.monotonic() - started)
        if launches.reports.cycles:
            found.cycles.append(launches.totals.cycles - before)
        token = sample(logits, sampling.temperature, rng)
        found.ids.append(token)
        if token in ends:
            break
        text = tokenizer.decode(found.ids)
        if not text.endswith(UNFINISHED):
            emit(text[len(found.text):])
            found.text = text
        reading = [token]
    started = time.monotonic()
    launches.finish()
    found.seconds[-1] += time.monotonic() - started
    found.simulator_seconds = launches.seconds
    return found
