"""Writes the quality survey's results as Markdown tables and as a plot."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["markdown", "plot", "text_rows"]

Results = Mapping[str, Any]
SHIPPED = "SmolLM2-135M"  # unless another decoder is measured


def _rows(results: Results, *kinds: str) -> list[dict[str, Any]]:
    return [row for key, row in results.items() if key.startswith(kinds)]


def text_rows(results: Results) -> list[dict[str, Any]]:
    """Variants the text was read with, by bits per weight, then by perplexity."""
    return sorted(_rows(results, "text/"), key=lambda r: (r["bits"], r["float"], r["weights"]))


def _group(size: int) -> str:
    return str(size) if size else "channel"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |",
             "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _number(value: float | None, form: str = ".2f") -> str:
    if value is None:
        return "exact"
    return f"{value:.3g}" if form == ".2f" and value >= 1000 else f"{value:{form}}"


def perplexity_table(results: Results) -> str:
    """One row per variant, the model as shipped first."""
    rows = []
    if shipped := results.get("shipped/smollm2"):
        rows.append(["as in the file", "", "", _number(shipped["float"], ".3f"),
                     _number(shipped["int8"], ".3f"), ""])
    rows += [[f"`{r['weights']}`", _group(r["group_size"]), f"{r['bits']:.3f}",
              _number(r["float"]), "" if r["int8"] is None else _number(r["int8"]),
              _number(r["total_db"])]
             for r in text_rows(results)]
    return _table(["weights", "group size", "bits per weight", "perplexity",
                   "INT8 activations", "weight SQNR, dB"], rows)


def error_table(results: Results, model: str, field: str) -> str:
    """``field`` of every variant at every group size."""
    cells: dict[str, dict[int, dict[str, Any]]] = {}
    for row in _rows(results, f"error/{model}/", f"text/{model}/"):
        cells.setdefault(row["weights"], {})[row["group_size"]] = row
    sizes = sorted({size for row in cells.values() for size in row}, key=lambda s: (s == 0, s))
    order = sorted(cells, key=lambda n: (min(r["bits"] for r in cells[n].values()), n))
    return _table(["weights", *map(_group, sizes)], [
        [f"`{name}`", *(_number(cells[name][size][field]) if size in cells[name] else ""
                        for size in sizes)] for name in order])


def mixture_table(results: Results) -> str:
    """Ratios of squared errors, mixture to part, one row for each of both."""
    rows = []
    for key in sorted(k for k in results if k.startswith("mixture/")):
        model = key.split("/")[1]
        rows += [[f"`{mixture}` to `{part}`", model, f"{ratio['mean']:.4f}",
                  f"{ratio['worst']:.4f}", ratio["worst_layer"]]
                 for mixture, parts in results[key].items() for part, ratio in parts.items()]
    return _table(["mixture to part", "model", "mean ratio", "worst ratio", "of layer"], rows)


def markdown(results: Results, scored: int, command: str, decoder: str = SHIPPED,
             missing: int = 0) -> str:
    """The whole report. ``scored`` tokens were read by ``decoder``; ``missing`` jobs were not done.
    """
    parts = [
        "# What each weight datatype loses", f"Made by `{command}`; every figure, matrix by "
        "matrix, is in [quality.json](quality.json)."
        + (f" Interrupted: {missing} measurements are missing; the same command makes them."
           if missing else ""),
        "Weights are quantized as the compiler does it (`models/quantization/schemes.py`), without "
        "data, "
        "then multiplied in float32. `rtn…` is for comparison only: round to nearest with "
        "unrounded float scales max|w| / (2^(bits-1) - 1), the figures papers call RTN. `intN` "
        "takes max|w| / 2^(bits-1): a positive maximum is clipped by up to one step, every step "
        "is finer. `:asym` has an offset per group, `:clip` a range chosen by squared error.",
        f"## Perplexity of {decoder}",
        f"{scored:,} tokens of the text (the Lee background corpus) are scored: the first "
        f"{scored // 511} windows of 512 tokens, each read on its own, without a start token, the "
        "first token of each not scored. The embedding, which is also the head, stays as shipped "
        "(Q8_0). With INT8 activations the input of every linear layer, the head's too, is "
        "rounded per token. Weights come from the file, where they have 4 bits already (Q4_1 in "
        "SmolLM2's): what is lost is lost by quantizing again.",
        "Bits per weight count codes, group scales of 8 bits, offsets of 16, selects of 2 and one "
        "32-bit scale per channel (per matrix for MX and NVFP4; `rtn…`: 32 bits per group); "
        "padding is not counted.",
        perplexity_table(results), "![perplexity against bits per weight](perplexity.png)"]
    if any(key.startswith("mixture/") for key in results):
        parts += ["## Mixtures and their parts",
                  "Squared error of the mixture over that of a single datatype, group size 128, on "
                  "every matrix. At most 1: never worse. `bitmod…` chooses before scales are "
                  "rounded (the published algorithm), `bitmod…_mse` after.",
                  mixture_table(results)]
    for model, title in (("minilm", "MiniLM-L6"), ("smollm2", decoder)):
        if rows := _rows(results, f"error/{model}/", f"text/{model}/"):
            parts += [f"## Weight errors: {title} ({len(rows[0]['db'])} matrices)",
                      "Mean over the matrices of the signal to quantization noise ratio, dB, by "
                      "group size.",
                      error_table(results, model, "mean_db"),
                      "Squared error, summed over all matrices.",
                      error_table(results, model, "squared_error")]
    return "\n\n".join(parts) + "\n"


def plot(results: Results, folder: Path, decoder: str = SHIPPED) -> None:
    """``perplexity.png`` and ``.svg``: a labelled point per variant; the same bytes every time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    rows = [r for r in text_rows(results) if r["float"] < 200]
    with plt.rc_context({"svg.hashsalt": "bitwright", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(10, 6.5))
        axes.set_yscale("log")
        for chosen, mark, colour, label in (
                ([r for r in rows if not r["weights"].startswith("rtn")], "o", "#1f5fa8",
                 "quantized as the compiler does it"),
                ([r for r in rows if r["weights"].startswith("rtn")], "x", "#999999",
                 "textbook round to nearest, float scales")):
            if chosen:
                axes.scatter([r["bits"] for r in chosen], [r["float"] for r in chosen],
                             marker=mark, color=colour, label=label, s=28, zorder=3)
        shipped = results.get("shipped/smollm2", {}).get("float")
        if shipped:
            axes.axhline(shipped, color="#444444", linewidth=0.8, linestyle="--",
                         label=f"as in the file, {shipped:.3f}")
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_yticks([30, 32, 35, 40, 50, 60, 80, 100, 150, 200])
        axes.set_xlabel("bits per weight, scales included")
        axes.set_ylabel(f"perplexity of {decoder} (log scale)")
        axes.grid(True, color="#e5e5e5", linewidth=0.6)
        axes.legend(loc="upper right")
        figure.tight_layout()
        _label(axes, rows, shipped)
        figure.savefig(folder / "perplexity.png", dpi=130, metadata={"Software": None})
        figure.savefig(folder / "perplexity.svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


def _label(axes: Any, rows: Sequence[dict[str, Any]], line: float | None) -> None:
    """Names near their points, with a thin line where there is no room beside them; clear of the
    points, of each other, and of a horizontal line at ``line``."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    axes.figure.canvas.draw()
    renderer, inside = axes.figure.canvas.get_renderer(), axes.get_window_extent()
    points = [axes.transData.transform((row["bits"], row["float"])) for row in rows]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in points]
    taken.append(axes.get_legend().get_window_extent(renderer))
    if line is not None:
        y = axes.transData.transform((0, line))[1]
        taken.append(Bbox.from_bounds(inside.x0, y - 1, inside.width, 2))
    places = [(radius * math.cos(math.radians(angle)), radius * math.sin(math.radians(angle)))
              for radius in (6, *range(18, 140, 9))
              for angle in (0, 180, 30, 150, -30, -150, 55, 125, -55, -125, 80, 100, -80, -100)]
    left = sorted(rows, key=lambda r: (r["bits"], r["float"]))
    for right, up in places:  # nearest places first, for all: who is alone gets the one beside it
        for row in list(left):
            note = axes.annotate(
                row["weights"], (row["bits"], row["float"]), (right, up), fontsize=8,
                textcoords="offset points", ha="left" if right > 0 else "right", va="center",
                arrowprops={"arrowstyle": "-", "color": "#aaaaaa", "linewidth": 0.6,
                            "shrinkA": 0, "shrinkB": 3} if math.hypot(right, up) > 10 else None)
            note.update_positions(renderer)
            box = Text.get_window_extent(note, renderer)  # the name without its line
            if inside.containsx(box.x0) and inside.containsx(box.x1) and inside.containsy(
                    box.y0) and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                left.remove(row)
            else:
                note.remove()
