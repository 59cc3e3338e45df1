"""Places the multipliers and block RAMs of a large array.

nextpnr's placers know no array: with nothing but pins to hold on to, they lay the elements of a
large one over each other, with their multipliers half a chip away. Here every element gets a
square of a grid, rows from the bottom, where there are more block RAMs, and columns from the left,
what a row shares its middle, and the multipliers and block RAMs of each the free sites of least
squared distance. They hold the rest in place, which the placer still places.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from bitwright.fpga.chips.chip_family import ChipFamily

__all__ = ["floorplan"]

TILE_LUTS = 8
FILL = 0.45         # of an element's square that its LUTs take
ELEMENT = re.compile(r"system\.core\.execute\.row(\d+)\.pe(\d+)\.")
OUTPUT = re.compile(r"system\.core\.execute\.row(\d+)\.buffer\.")
BUFFER = re.compile(r"system\.core\.execute\.(acts|weights|scales)\.0\.(\d+)$")
PROGRAM = re.compile(r"system\.core\.dispatch\.program\.")

Places = dict[str, tuple[float, float]]     # of cells by name: column and row


def floorplan(netlist: bytes, family: ChipFamily, chip: str) -> bytes:
    """``netlist`` (Yosys JSON of a board's top) with a ``BEL`` at the multipliers and block RAMs of
    the array and of the program; unchanged where the family does not list the chip's sites."""
    if chip not in family.sites:
        return netlist
    design = json.loads(netlist)
    cells: dict[str, Any] = design["modules"]["top"]["cells"]
    names = sorted(cells)
    elements = {name: (int(found[2]), int(found[1])) for name in names
                if (found := ELEMENT.match(name))}
    luts = sum(family.lut4s.get(cells[name]["type"], 0) for name in elements)
    if not luts:
        return netlist
    side = math.sqrt(luts / len(set(elements.values())) / TILE_LUTS / FILL)
    known = family.sites[chip]
    free = {kind: list(sites) for kind, sites in known.places.items()}
    for squares in _squares(elements, names):
        for kind, sites in free.items():
            _assign(cells, sites, {name: (side * column, known.height - side * row)
                                   for name, (column, row) in squares.items()
                                   if family.kind(cells[name]["type"]) == kind})
    return json.dumps(design).encode()


def _squares(elements: Mapping[str, tuple[int, int]], names: list[str]) -> Iterator[Places]:
    """Return where cells should be, in squares from the lower left corner. First come the cells of
    elements, then what rows and columns share, then the program, at the right."""
    yield {name: (column + 0.5, row + 0.5) for name, (column, row) in elements.items()}
    columns, rows = (1 + max(place[i] for place in elements.values()) for i in range(2))
    shared: Places = {name: (columns / 2, int(found[1]) + 0.5) for name in names
                      if (found := OUTPUT.match(name))}
    blocks = {name: found for name in names if (found := BUFFER.match(name))}
    for name, found in blocks.items():
        part = (int(found[2]) + 0.5) / sum(other[1] == found[1] for other in blocks.values())
        shared[name] = (columns / 2, rows * part) if found[1] == "acts" else (columns * part, 0)
    yield shared
    yield {name: (columns + 1, rows / 2) for name in names if PROGRAM.match(name)}


def _assign(cells: Mapping[str, Any], sites: list[tuple[int, int, str]], places: Places) -> None:
    """Gives each cell one of ``sites``, which are taken out, if there are as many."""
    if not 0 < len(places) <= len(sites):
        return
    distance = np.array([[(x - column) ** 2 + (y - row) ** 2 for x, y, _ in sites]
                         for column, row in places.values()])
    taken = linear_sum_assignment(distance)[1]
    for name, site in zip(places, taken, strict=True):
        x, y, bel = sites[site]
        cells[name]["attributes"]["BEL"] = f"X{x}/Y{y}/{bel}"
    for site in sorted(taken, reverse=True):
        del sites[site]
