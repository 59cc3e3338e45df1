"""Solves schedule, allocation and replacement of one GEMM's tiles as one integer linear program
(COSMA, arXiv 2311.18246).

Time runs in steps; a step multiplies one tile of activations with one tile of weights. Binary
variables say which operation a step runs and which tiles each scratchpad holds during it. What is
held and was not held before is loaded, and has its place already in the step before, while the
machine works (double buffering). Partial sums of an output that is begun and not finished occupy
their scratchpad, and are never spilled: the machine cannot read them back.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from bitwright.models.errors import Error

__all__ = ["Grid", "Model", "Scheduled", "SolverError", "schedule"]

Operation = tuple[int, int, int]  # block of tokens, output tile, chunk of K


class SolverError(Error, RuntimeError):
    """The integer program has no solution, or none was found in time. One line, for people."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Tiles of a GEMM. Sizes and capacities in words of the scratchpad that they belong to.

    act_words, weight_words : of a tile, by chunk of K
    act_bytes, weight_bytes : moved to load it
    """
    blocks: int
    tiles: int
    chunks: int
    act_words: tuple[int, ...]
    weight_words: tuple[int, ...]
    act_bytes: tuple[int, ...]
    weight_bytes: tuple[int, ...]
    act_depth: int
    weight_depth: int
    open_outputs: int      # whose partial sums fit at a time

    @property
    def operations(self) -> list[Operation]:
        """In the order of the program generator."""
        return list(product(range(self.blocks), range(self.tiles), range(self.chunks)))


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """``bytes`` and ``loads`` of operands; ``order`` of operations; ``held`` activations, as
    (block, chunk), at every step. ``gap``: relative, to the best bound proved."""
    bytes: int
    loads: int
    order: tuple[Operation, ...]
    held: tuple[frozenset[tuple[int, int]], ...]
    gap: float


class Model:
    """An integer linear program, row by row. Variables are binary unless said otherwise."""

    def __init__(self) -> None:
        self.costs: list[float] = []
        self.upper: list[float] = []
        self.rows: list[tuple[dict[int, float], float, float]] = []

    def variable(self, cost: float = 0, upper: float = 1) -> int:
        self.costs.append(cost)
        self.upper.append(upper)
        return len(self.costs) - 1

    def row(self, terms: Sequence[tuple[int, float]], low: float, high: float) -> None:
        """``low <= Σ factor · variable <= high``."""
        sums: dict[int, float] = {}
        for variable, factor in terms:
            sums[variable] = sums.get(variable, 0) + factor
        self.rows.append((sums, low, high))

    def solve(self, seconds: float) -> tuple[list[int], float]:
        """Values and gap. Raises :class:`SolverError`."""
        entries = [(index, variable, factor) for index, (terms, _, _) in enumerate(self.rows)
                   for variable, factor in terms.items()]
        rows, columns, values = (zip(*entries, strict=True) if entries else ((), (), ()))
        matrix = coo_array((values, (rows, columns)), (len(self.rows), len(self.costs))).tocsr()
        with _quiet():
            found = milp(np.array(self.costs), integrality=np.ones(len(self.costs)),
                         bounds=Bounds(0, np.array(self.upper)),
                         constraints=LinearConstraint(matrix, [row[1] for row in self.rows],
                                                      [row[2] for row in self.rows]),
                         options={"time_limit": seconds, "mip_rel_gap": 0})
        if found.x is None:
            raise SolverError(f"the integer program has no solution: {found.message}")
        return [round(value) for value in found.x], float(found.mip_gap or 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """The solver writes some lines to the process's output whatever it is told."""
    sys.stdout.flush()
    saved, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)


def _held(model: Model, items: list[tuple[int, int]], bytes_: Sequence[int], words: Sequence[int],
          depth: int, steps: int, cost: float) -> dict[tuple[tuple[int, int], int], int]:
    """Variables of one scratchpad: what is held at each step, within its depth."""
    held = {(item, t): model.variable() for item in items for t in range(steps)}
    loads = {(item, t): model.variable(bytes_[item[1]] + cost) for item in items
             for t in range(steps)}
    for item, t in held:
        before = [(held[item, t - 1], -1.0)] if t else []
        model.row([(held[item, t], 1), (loads[item, t], -1), *before], -np.inf, 0)
    for t in range(steps):
        coming = [(loads[item, t + 1], words[item[1]]) for item in items if t + 1 < steps]
        model.row([*((held[item, t], words[item[1]]) for item in items), *coming], 0, depth)
    return held


def _outputs(grid: Grid) -> Iterator[list[Operation]]:
    """The operations of each output."""
    for block, tile in product(range(grid.blocks), range(grid.tiles)):
        yield [(block, tile, chunk) for chunk in range(grid.chunks)]


def schedule(grid: Grid, order: Sequence[Operation] | None = None, *,
             seconds: float = 60) -> Scheduled:
    """The fewest bytes of operands, and of those the fewest loads; in a given ``order`` of
    operations, or the best one. Raises :class:`SolverError`."""
    operations, steps = grid.operations, len(grid.operations)
    model = Model()
    if order is None:
        runs = {(op, t): model.variable() for op in operations for t in range(steps)}
        for t in range(steps):
            model.row([(runs[op, t], 1) for op in operations], 1, 1)
        for op in operations:
            model.row([(runs[op, t], 1) for t in range(steps)], 1, 1)
        _partial_sums(model, grid, runs, steps)
    else:
        one = model.variable()
        model.row([(one, 1)], 1, 1)
        runs = {(op, t): one for t, op in enumerate(order)}
        if _most_open(grid, order) > grid.open_outputs:
            raise SolverError(f"this order leaves more than {grid.open_outputs} outputs open")
    # A load costs less than the least difference of bytes, all loads together.
    cost = 1 / (4 * steps)
    acts = _held(model, list(product(range(grid.blocks), range(grid.chunks))), grid.act_bytes,
                 grid.act_words, grid.act_depth, steps, cost)
    weights = _held(model, list(product(range(grid.tiles), range(grid.chunks))),
                    grid.weight_bytes, grid.weight_words, grid.weight_depth, steps, cost)
    for t in range(steps):
        needed: dict[int, list[int]] = {}  # operations that need what is held
        for op in operations:
            if (op, t) in runs:
                block, tile, chunk = op
                for held in (acts[(block, chunk), t], weights[(tile, chunk), t]):
                    needed.setdefault(held, []).append(runs[op, t])
        for held, users in needed.items():
            model.row([(held, 1), *((user, -1.0) for user in users)], 0, 1)
    values, gap = model.solve(seconds)
    sequence = tuple(order) if order is not None else tuple(
        next(op for op in operations if values[runs[op, t]]) for t in range(steps))
    total = sum(cost * value for cost, value in zip(model.costs, values, strict=True))
    return Scheduled(
        bytes=int(total), loads=round((total - int(total)) / cost), order=sequence, gap=gap,
        held=tuple(frozenset(item for item, at in acts if at == t and values[acts[item, at]])
                   for t in range(steps)))


def _most_open(grid: Grid, order: Sequence[Operation]) -> int:
    """Outputs open at a time at most."""
    done: dict[tuple[int, int], int] = {}
    most = 0
    for block, tile, _ in order:
        done[block, tile] = done.get((block, tile), 0) + 1
        busy = {(block, tile)} | {out for out, count in done.items() if count < grid.chunks}
        most = max(most, len(busy))
    return most


def _partial_sums(model: Model, grid: Grid, runs: dict[tuple[Operation, int], int],
                  steps: int) -> None:
    """An output is open from its first operation to its last."""
    for t in range(steps):
        opened = []
        for ops in _outputs(grid):
            variable = model.variable()
            opened.append((variable, 1.0))
            for one, other in product(ops, ops):
                # begun by now, and something is not done before now
                model.row([*((runs[one, at], 1.0) for at in range(t + 1)),
                           *((runs[other, at], -1.0) for at in range(t)),
                           (variable, -1.0)], -np.inf, 0)
        model.row(opened, 0, grid.open_outputs)
