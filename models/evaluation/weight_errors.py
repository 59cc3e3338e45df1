"""Measures the squared errors of a checkpoint's matrices, scheme by scheme."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitwright.models.quantization.schemes import quantize


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Squared errors of one matrix: ``squared_error[name]``, beside its sum of squares."""
    matrix: str
    shape: tuple[int, int]
    power: float
    squared_error: dict[str, float]


def matrices(path: Path, only: str = "") -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Name and values of every two-dimensional ``….weight`` of a safetensors file whose name
    contains ``only``, in the order of their names. ``ValueError`` if there is none, or no file."""
    from safetensors import SafetensorError, safe_open

    found = False
    try:
        with safe_open(path, framework="numpy") as file:
            for name in sorted(file.keys()):
                if name.endswith(".weight") and only in name and len(
                        file.get_slice(name).get_shape()) == 2:
                    found = True
                    yield name, file.get_tensor(name).astype(np.float64)
    except (SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"checkpoint {path} cannot be read: {error}") from None
    if not found:
        raise ValueError(f"checkpoint {path} must hold a matrix called …{only}….weight")


def measure(path: Path, names: Sequence[str], group_size: int | None = None,
            clip_search: bool = False, only: str = "") -> Iterator[Errors]:
    """Quantize every matrix of :func:`matrices` by every name (:func:`quantize`)
    and compare; ``group_size`` None takes each scheme's own."""
    for matrix, w in matrices(path, only):
        yield Errors(
            matrix=matrix, shape=(w.shape[0], w.shape[1]), power=float(np.square(w).sum()),
            squared_error={
                name: float(np.square(quantize(w, name, group_size, clip_search=clip_search)
                                      .dequantize() - w).sum()) for name in names})


def summary(found: Sequence[Errors], name: str, base: str) -> dict[str, str | float]:
    """Decibels over all matrices; the least and the greatest ratio of a matrix's squared errors by
    ``name`` to those by ``base``, and the matrix of the greatest. Equal errors, 0 too, have 1."""
    def ratio(errors: Errors) -> float:
        mine, other = errors.squared_error[name], errors.squared_error[base]
        if mine == other:
            return 1.0
        return mine / other if other else float("inf")

    noise = sum(errors.squared_error[name] for errors in found)
    signal = sum(errors.power for errors in found)
    ratios = [ratio(errors) for errors in found]
    return {"name": name,
            "sqnr_db": float(10 * np.log10(signal / noise)) if noise else float("inf"),
            "least_ratio": min(ratios), "greatest_ratio": max(ratios),
            "worst_matrix": found[int(np.argmax(ratios))].matrix}
