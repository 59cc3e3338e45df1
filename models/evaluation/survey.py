"""Runs a quality survey from start to end: jobs, progress, tables and plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bitwright.models.evaluation.survey_jobs import plan
from bitwright.models.evaluation.survey_measure import Source
from bitwright.models.evaluation.survey_pool import Store, run
from bitwright.models.evaluation.survey_report import markdown, plot
from bitwright.models.inference.perplexity import WINDOW

__all__ = ["survey"]


def survey(source: Source, weights: Sequence[str], sizes: Sequence[int], out: Path, *, quick: bool,
           processes: int, command: str, decoder: str) -> dict[str, Any]:
    """Do what is missing of a survey and write ``quality.json``, ``quality.md`` and the plot to
    ``out``; the results of this survey's jobs, by key. Progress is on standard error. Interrupted,
    it reports what there is. ``command`` and ``decoder``, its name, are for the report.

    ``ValueError`` or ``OSError`` for a model or text that cannot be read, an unknown variant, and
    weights that are not finite, with the layer's name.
    """
    jobs = plan(weights, sizes, quick=quick)
    store = Store(out / "quality.json", source)
    with Progress(TextColumn("{task.description:30}"), BarColumn(), MofNCompleteColumn(),
                  TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading the models", total=len(jobs),
                                 completed=sum(job.key in store.results for job in jobs))
        try:
            for done in run(source, jobs, store, processes):
                progress.update(task, advance=1, description=done.key)
        except KeyboardInterrupt:
            pass  # what is there is reported; the same command does the rest
    results = {job.key: store.results[job.key] for job in jobs if job.key in store.results}
    if not results:
        raise KeyboardInterrupt
    scored = source.windows * (WINDOW - 1)
    text = markdown(results, scored, command, decoder, missing=len(jobs) - len(results))
    (out / "quality.md").write_text(text, encoding="utf-8")
    plot(results, out, decoder)
    return results
