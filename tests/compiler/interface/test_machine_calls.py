"""Machines through the interface: choose, estimate, sweep, export."""

import csv
import io
import time
from xml.etree import ElementTree

import pytest

import bitwright
from bitwright.compiler.interface.machine_sweeps import COLUMNS
from bitwright.compiler.ir.program import Options
from bitwright.compiler.mapping.map_shapes import map_shapes
from bitwright.hw.machine.chip_resources import estimate as chip_estimate
from bitwright.hw.machine.presets import PRESETS
from bitwright.hw.rtl.core.core import core_verilog
from bitwright.models.architectures.families import read_config
from bitwright.models.datatypes.catalog import datatype
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.performance.gemm_estimate import estimate_gemm, shape_spec


def test_a_machine_is_a_preset_with_fields_changed(tmp_path):
    assert bitwright.machine("tiny") is PRESETS["tiny"]
    assert repr(PRESETS["tiny"]) == "Machine(tiny: 2 x 2 lut elements of 16 activations)"
    found = bitwright.machine("tiny", pe="mac", name="own", rows=4)
    assert found == PRESETS["tiny"].with_pe("mac").replace(name="own", rows=4)
    (tmp_path / "own.toml").write_text(found.to_toml())
    assert bitwright.machine(tmp_path / "own.toml") == found


@pytest.mark.parametrize("spec, fields, said", [
    ("large", {}, "unknown machine 'large'"), ("tiny", {"lanes": 4}, "lanes"),
    ("tiny", {"rows": 3}, "rows")])
def test_a_machine_that_cannot_be_is_an_error(spec, fields, said):
    with pytest.raises(bitwright.Error, match=said):
        bitwright.machine(spec, **fields)


@pytest.mark.parametrize("name", ["tiny", "ulx3s-12f", "ulx3s-85f"])
def test_a_gemm_costs_what_the_models_say(name):
    found = bitwright.estimate((16, 256, 96), name)
    config = PRESETS[name]
    known = estimate_gemm(config, shape_spec(config, 16, 256, 96, datatype("int4"), 64, False),
                          Memory())
    assert (found.cycles, found.dram_bytes) == (known["cycles"], known["dram_bytes"])
    assert found.luts == chip_estimate("ecp5", config).use.luts
    assert found == bitwright.estimate("16x256x96", name)
    assert repr(found) == (f"Estimate(16x256x96 int4 on {name}: {found.cycles:,} cycles, "
                           f"{found.luts:,} LUTs)")


@pytest.mark.parametrize("weights", ["int2", "mxfp4", "bitmod4_mse", "int4_o8", "bcq2"])
def test_every_kind_of_scheme_has_an_estimate(weights):
    assert bitwright.estimate((4, 256, 64), "ulx3s-85f", weights=weights).cycles > 0


def test_a_model_costs_what_its_report_says():
    found = bitwright.estimate("opt-125m", "ulx3s-85f", tokens=16)
    known = map_shapes(read_config("opt-125m"), PRESETS["ulx3s-85f"], Options(), tokens=16)
    assert found.cycles == known["totals"]["cycles"]
    assert found.luts == known["chips"]["ecp5"]["luts"]
    assert sum(layer.cycles for layer in found.report.layers) == found.cycles
    assert bitwright.estimate(read_config("opt-125m"), tokens=16).workload == "opt"


@pytest.mark.parametrize("workload, said", [
    ((1, 2), "three positive integers"), ((0, 1, 1), "three positive integers"),
    ("no-model", "no-model")])
def test_what_is_no_workload_is_an_error(workload, said):
    with pytest.raises(bitwright.Error, match=said):
        bitwright.estimate(workload)


def test_a_sweep_holds_every_pair_in_order(tmp_path):
    found = bitwright.sweep([(1, 64, 64), "2x64x64"], ["tiny", bitwright.machine("ulx3s-12f")])
    assert [(each.workload, each.machine.name) for each in found] == [
        (work, name) for work in ("1x64x64", "2x64x64") for name in ("tiny", "ulx3s-12f")]
    assert found.estimates[0] == bitwright.estimate((1, 64, 64), "tiny")
    assert repr(found) == "Sweep(4 estimates, 0 refused)"
    found.write_csv(tmp_path / "sweep.csv")
    with pytest.raises(bitwright.Error, match="no such folder"):
        found.write_csv(tmp_path / "none" / "sweep.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "sweep.csv").read_text())))
    assert tuple(rows[0]) == COLUMNS
    for row, each in zip(rows, found, strict=True):
        assert (int(row["cycles"]), int(row["luts"])) == (each.cycles, each.luts)
        assert row["refused"] == ""


def test_processes_give_what_one_gives():
    shapes = [(m, 64, n) for m in (1, 2, 4) for n in (16, 32, 48)]
    pair = ["tiny", "ulx3s-12f"]
    assert bitwright.sweep(shapes, pair, jobs=2) == bitwright.sweep(shapes, pair, jobs=1)


def test_what_a_machine_refuses_is_kept_with_the_reason():
    found = bitwright.sweep([(1, 64, 64)], ["tiny", "ulx3s-12f"], weights="int8", group_size=64)
    small = bitwright.machine("tiny", program_depth=8, name="small")
    refused = bitwright.sweep([(64, 512, 512)], [small])
    assert len(found) == 2 and len(refused) == 0
    assert refused.refusals[0].machine == "small" and "program_depth" in refused.refusals[0].reason
    assert refused.rows()[0]["refused"] == refused.refusals[0].reason
    with pytest.raises(bitwright.Error, match="nothing to plot"):
        refused.to_svg()


@pytest.mark.parametrize("machines, more, said", [
    (["tiny", "large"], {}, "large"), (["tiny"], {"weights": "int44"}, "int44")])
def test_a_sweep_of_unknown_names_is_an_error(machines, more, said):
    with pytest.raises(bitwright.Error, match=said):
        bitwright.sweep([(1, 64, 64)], machines, **more)


def test_the_plot_has_a_point_per_estimate_and_a_line_per_workload(tmp_path):
    found = bitwright.sweep(["1x64x64", "64x64x64"], ["tiny", "ulx3s-12f", "ulx3s-85f"])
    found.write_svg(tmp_path / "sweep.svg")
    root = ElementTree.fromstring((tmp_path / "sweep.svg").read_text())
    svg = "{http://www.w3.org/2000/svg}"
    titles = [title.text for title in root.iter(f"{svg}title")]
    assert titles == [f"{each.workload} on {each.machine.name}: {each.cycles:,} cycles, "
                      f"{each.luts:,} LUTs" for each in found]
    assert len(list(root.iter(f"{svg}path"))) == 2
    xs = [float(group.find(f"{svg}circle").get("cx")) for group in root.iter(f"{svg}g")]
    ys = [float(group.find(f"{svg}circle").get("cy")) for group in root.iter(f"{svg}g")]
    luts, cycles = [each.luts for each in found], [each.cycles for each in found]
    assert sorted(range(6), key=xs.__getitem__) == sorted(range(6), key=luts.__getitem__)
    assert sorted(range(6), key=ys.__getitem__) == sorted(range(6), key=lambda i: -cycles[i])


def test_a_hundred_shapes_on_five_machines_take_seconds():
    machines = ["tiny", "ulx3s-12f", "ulx3s-85f",
                bitwright.machine("ulx3s-85f", pe="mac", name="mac"),
                bitwright.machine("ulx3s-85f", pe="serial", name="serial")]
    shapes = [(m, k, n) for m in (1, 8, 32, 128) for k in (128, 256, 384, 512, 768)
              for n in (128, 256, 384, 512, 768)]
    started = time.process_time()
    found = bitwright.sweep(shapes, machines, jobs=1)
    assert len(found) == 500
    assert time.process_time() - started < 20


def test_exported_verilog_is_that_of_the_core(tmp_path):
    found = bitwright.export_verilog("tiny", tmp_path / "core.v")
    assert found.text == core_verilog(PRESETS["tiny"]) == (tmp_path / "core.v").read_text()
    names = [port.name for port in found.ports]
    assert names[:2] == ["clk", "rst"] and all(name in found.text for name in names)
    assert repr(found).startswith("Verilog(tiny: ")
