"""A chip family and a board with such a chip, from one file: from synthesis to the bitstream."""

import json

import pytest

PLUGIN = "toy_chip_family.py"


@pytest.mark.slow
def test_a_bitstream(bitwright, tmp_path):
    done = bitwright(PLUGIN, "build", "--board", "icesugar-plain", "--out", "out", "--json")
    report = json.loads(done.stdout)
    assert (report["chip"], report["board"]) == ("UP5K-plain", "icesugar-plain") and report["met"]
    assert report["available"] == {"luts": 5280, "ebr": 30, "dsp": 0}
    assert report["usage"]["dsp"] == 0 and 8 <= report["usage"]["ebr"] <= 30
    assert "not known" in done.stderr and report["predicted"] is None
    bitstream = (tmp_path / "out" / "top.bin").read_bytes()
    assert bitstream[:4] == b"\xff\x00\x00\xff" and len(bitstream) > 100_000


def test_its_netlist_computes(bitwright):
    found = json.loads(bitwright(PLUGIN, "netlist", "--machine", "icebreaker", "--set",
                                 "fabric=generic", "--set", "dequant=serial", "--family",
                                 "ice40plain", "--programs", 2, "--json").stdout)
    assert found["family"] == "ice40plain" and found["programs"] == 2 and found["failures"] == []
    assert "SB_MAC16" not in found["cells"] and found["cells"]["SB_RAM40_4K"] > 10


def test_it_cannot_be_simulated_without_its_pins(bitwright):
    done = bitwright(PLUGIN, "board-sim", "--board", "icesugar-plain", status=1)
    assert "icesugar-plain cannot be simulated" in done.stderr


@pytest.mark.parametrize("fabric", ["ecp5", "ice40"])
def test_machines_in_cells_of_others_are_refused(bitwright, fabric):
    done = bitwright(PLUGIN, "netlist", "--set", f"fabric={fabric}", "--family", "ice40plain",
                     status=1)
    assert f"written in cells of {fabric}, which ice40plain does not have" in done.stderr


def test_a_machine_in_cells_of_another_is_told_the_way_out(bitwright):
    done = bitwright(PLUGIN, "build", "--board", "icesugar-plain", "--machine", "icebreaker",
                     status=1)
    assert "icesugar-plain has UP5K-plain; --set fabric=generic" in done.stderr
