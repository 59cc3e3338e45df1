"""The command ``quality``."""

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bitwright.models.assets.fetch import model_path
from bitwright.models.command_line.option_groups import Json
from bitwright.models.commands.tables import row_table
from bitwright.models.evaluation.survey import survey
from bitwright.models.evaluation.survey_measure import Source
from bitwright.models.evaluation.survey_report import SHIPPED, text_rows

__all__ = ["TextChoice", "quality"]


@dataclass(frozen=True)
class TextChoice:
    """Which decoder reads which text, and how much of it."""
    windows: Annotated[int, typer.Option(
        "--windows", min=1, help="Windows of 512 tokens to read.")] = 4
    model: Annotated[Path | None, typer.Option(
        "--model", help="A Llama in a GGUF file; SmolLM2-135M if left out.")] = None
    text: Annotated[Path | None, typer.Option(
        "--text", help="A text file; the Lee background corpus if left out.")] = None

    def read(self, quick: bool) -> Source:
        """The model, the text and the number of windows; what is left out is fetched."""
        return Source(self.model or model_path("smollm2") / "model.gguf",
                      self.text or model_path("lee-background") / "lee_background.cor",
                      1 if quick else self.windows)


TEXT = TextChoice()


def _command() -> str:
    words = sys.argv[sys.argv.index("quality"):] if "quality" in sys.argv else ["quality"]
    return f"python -m models {shlex.join(words)}"


def quality(
    weights: Annotated[list[str] | None, typer.Option(
        help="Datatype, mixture, scheme or .toml file, with :asym or :clip if wanted; repeatable."
    )] = None,
    group_size: Annotated[list[int] | None, typer.Option(
        min=0, help="Input features per scale, 0 for the whole channel; repeatable.")] = None,
    quick: Annotated[bool, typer.Option(
        "--quick", help="Read one window with a handful of datatypes: about a minute.")] = False,
    reading: TextChoice = TEXT,
    out: Annotated[Path, typer.Option(
        help="Folder for quality.json, quality.md, perplexity.png and .svg. Results that are "
        "there already are used again.")] = Path("build/quality"),
    jobs: Annotated[int | None, typer.Option(
        min=1, help="Processes, about 1.2 GB each; one per core if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Measure perplexity and weight errors of real models by datatype."""
    results = survey(reading.read(quick), weights or (), group_size or (), out, quick=quick,
                     processes=jobs or os.cpu_count() or 1, command=_command(),
                     decoder=reading.model.stem if reading.model else SHIPPED)
    if as_json:
        print(json.dumps(results))
    else:
        _print(results, out)


def _print(results: dict[str, Any], out: Path) -> None:
    rows = [{"weights": "as in the file", "group_size": "", "bits": "", **found}
            for key, found in results.items() if key == "shipped/smollm2"]
    rows += [{**row, "int8": "" if row["int8"] is None else row["int8"]}
             for row in text_rows(results)]
    Console().print(row_table("Perplexity", rows, "weights", "group_size", "bits", "float",
                              "int8"))
    Console(soft_wrap=True).print(f"tables: {out / 'quality.md'}; plot: {out / 'perplexity.png'}")
