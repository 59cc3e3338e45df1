"""``python -m models``: what the models know, on the command line."""

import json
import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bitwright.models.assets.fetch import model_path
from bitwright.models.command_line.program import run_program
from bitwright.models.commands.command_table import MODELS
from bitwright.models.commands.effects import effects
from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES, datatype
from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture
from bitwright.models.evaluation.weight_errors import measure, summary
from bitwright.models.quantization.schemes import SCHEMES, Scheme

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  rich_markup_mode=None)


@app.callback()
def models() -> None:
    """Number formats and models."""


def describe(dt: Datatype | Mixture) -> dict[str, Any]:
    """One datatype or mixture as JSON values. ``values`` are integers by code, null for an unused
    code; of a mixture, a list of them per candidate."""
    def values(one: Datatype) -> list[int | None]:
        return [v if c in one.codes else None for c, v in enumerate(one.values)]

    return {
        "name": dt.name,
        "kind": "mixture" if isinstance(dt, Mixture) else "datatype",
        "bits": dt.bits,
        "planes": dt.planes,
        "digits": len(dt.digits),
        "terms": dt.max_terms,
        "min": dt.wmin * 2.0 ** dt.exponent,
        "max": dt.wmax * 2.0 ** dt.exponent,
        "symmetric": dt.symmetric,
        "exponent": dt.exponent,
        "coefs": list(dt.coefs),
        "constant": dt.constant,
        "correction": dt.correction,
        "candidates": [d.name for d in dt.datatypes] if isinstance(dt, Mixture) else None,
        "values": ([values(d) for d in dt.datatypes] if isinstance(dt, Mixture) else values(dt)),
    }


def describe_scheme(found: Scheme) -> dict[str, Any]:
    """One scheme as JSON values. ``group_size`` is the default, or the only one if ``block``."""
    return {"name": found.name, "kind": "scheme", "datatype": found.datatype.name,
            "group_size": found.block or found.group_size, "block": found.block > 0,
            "summary": found.summary}


def _rows(names: list[str] | None) -> list[dict[str, Any]]:
    known: dict[str, Datatype | Mixture] = {**DATATYPES, **MIXTURES}
    rows = [describe(known.get(name) or datatype(name)) for name in names or known
            if name in known or name not in SCHEMES]
    return rows + [describe_scheme(SCHEMES[name]) for name in names or SCHEMES if name in SCHEMES]


def _table(title: str, rows: list[dict[str, Any]], *columns: str) -> Table:
    def text(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, list):
            return ", ".join(value)
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    table = Table(title=title, title_justify="left")
    for column in columns:
        number = column in ("bits", "planes", "digits", "terms", "min", "max", "group_size",
                            "sqnr_db", "least_ratio", "greatest_ratio", "float", "int8")
        table.add_column(column.replace("_", " "), justify="right" if number else "left",
                         no_wrap=column == "name")
    for row in rows:
        table.add_row(*(text(row[column]) for column in columns))
    return table


@app.command()
def formats(
    names: Annotated[list[str] | None, typer.Argument(
        help="Datatypes, mixtures, schemes or .toml files; all if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the weight datatypes and mixtures: bits, bit-planes, terms, range. And the schemes."""
    rows = _rows(names)
    if as_json:
        print(json.dumps(rows))
        return
    widths = ("name", "bits", "planes", "digits", "terms", "min", "max")
    for kind, title, columns in (
            ("datatype", "Datatypes", (*widths, "symmetric")),
            ("mixture", "Mixtures", (*widths, "candidates")),
            ("scheme", "Schemes", ("name", "datatype", "group_size", "summary"))):
        if chosen := [row for row in rows if row["kind"] == kind]:
            Console().print(_table(title, chosen, *columns))


@app.command()
def error(
    checkpoint: Annotated[Path, typer.Argument(help="A safetensors file of floating point.")],
    weights: Annotated[list[str], typer.Option(
        help="Datatype, mixture, scheme or .toml file; repeatable.")],
    base: Annotated[str | None, typer.Option(
        help="Compare with this one; the first of --weights if left out.")] = None,
    group_size: Annotated[int | None, typer.Option(
        min=0, help="Input features per scale, 0 for the whole channel; each its own if left out."
    )] = None,
    clip_search: Annotated[bool, typer.Option(
        "--clip-search", help="Choose every group's range by squared error.")] = False,
    only: Annotated[str, typer.Option(help="Only matrices whose name contains this.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, matrix by matrix.")] = False,
) -> None:
    """Squared errors of a checkpoint's matrices, and their ratios to those of a base."""
    against = weights[0] if base is None else base
    names = list(dict.fromkeys((*weights, against)))
    found = list(measure(checkpoint, names, group_size, clip_search, only))
    if as_json:
        print(json.dumps([asdict(errors) for errors in found]))
        return
    rows = [summary(found, name, against) for name in names]
    Console().print(_table(f"{len(found)} matrices; ratios of squared errors to {against}", rows,
                           "name", "sqnr_db", "least_ratio", "greatest_ratio", "worst_matrix"))


@app.command()
def quality(
    weights: Annotated[list[str] | None, typer.Option(
        help="Datatype, mixture, scheme or .toml file, with :asym or :clip if wanted; repeatable."
    )] = None,
    group_size: Annotated[list[int] | None, typer.Option(
        min=0, help="Input features per scale, 0 for the whole channel; repeatable.")] = None,
    quick: Annotated[bool, typer.Option(
        "--quick", help="A handful of datatypes and one window of text: about a minute.")] = False,
    windows: Annotated[int, typer.Option(
        min=1, help="Windows of 512 tokens to read.")] = 4,
    model: Annotated[Path | None, typer.Option(
        help="A Llama in a GGUF file; SmolLM2-135M if left out.")] = None,
    text: Annotated[Path | None, typer.Option(
        help="A text file; the Lee background corpus if left out.")] = None,
    out: Annotated[Path, typer.Option(
        help="Folder for quality.json, quality.md, perplexity.png and .svg. Results that are "
        "there already are used again.")] = Path("build/quality"),
    jobs: Annotated[int | None, typer.Option(
        min=1, help="Processes, about 1.2 GB each; one per core if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, matrix by matrix.")] = False,
) -> None:
    """What each weight datatype loses: perplexity and weight errors of real models."""
    from bitwright.models.evaluation.survey import survey
    from bitwright.models.evaluation.survey_measure import Source
    from bitwright.models.evaluation.survey_report import SHIPPED, text_rows

    source = Source(model or model_path("smollm2") / "model.gguf",
                    text or model_path("lee-background") / "lee_background.cor",
                    1 if quick else windows)
    results = survey(source, weights or (), group_size or (), out, quick=quick,
                     processes=jobs or os.cpu_count() or 1,
                     command=f"python -m models {shlex.join(sys.argv[1:])}",
                     decoder=model.stem if model else SHIPPED)
    if as_json:
        print(json.dumps(results))
        return
    rows = [{"weights": "as in the file", "group_size": "", "bits": "", **found}
            for key, found in results.items() if key == "shipped/smollm2"]
    rows += [{**row, "int8": "" if row["int8"] is None else row["int8"]}
             for row in text_rows(results)]
    Console().print(_table("Perplexity", rows, "weights", "group_size", "bits", "float", "int8"))
    Console(soft_wrap=True).print(f"tables: {out / 'quality.md'}; plot: {out / 'perplexity.png'}")


app.command()(effects)


def main() -> None:
    """Run the commands of models."""
    run_program(MODELS, "python -m models")


if __name__ == "__main__":
    main()
