"""A chip family and a board with such a chip, from one file: from synthesis to the bitstream."""

import json

import pytest

PLUGIN = "toy_chip_family.py"


@pytest.mark.slow
def test_a_bitstream(bitwright, tmp_path):
    done = bitwright(PLUGIN, "build", "--board", "orangecrab-plain", "--out", "out", "--json")
    report = json.loads(done.stdout)
    assert (report["chip"], report["board"]) == ("25F-plain", "orangecrab-plain") and report["met"]
    assert report["available"] == {"luts": 24288, "ebr": 56, "dsp": 0}
    assert report["usage"]["dsp"] == 0 and 8 <= report["usage"]["ebr"] <= 56
    assert "not known" in done.stderr and report["predicted"] is None
    bitstream = (tmp_path / "out" / "top.bit").read_bytes()
    assert bitstream.startswith(b"\xff\x00") and b"LFE5U-25F" in bitstream[:200]


def test_its_netlist_computes(bitwright):
    found = json.loads(bitwright(PLUGIN, "netlist", "--machine", "tiny", "--family",
                                 "ecp5plain", "--programs", 2, "--json").stdout)
    assert found["family"] == "ecp5plain" and found["programs"] == 2 and found["failures"] == []
    assert "MULT18X18D" not in found["cells"] and found["cells"]["LUT4"] > 1000


def test_it_cannot_be_simulated_without_its_pins(bitwright):
    done = bitwright(PLUGIN, "board-sim", "--board", "orangecrab-plain", status=1)
    assert "orangecrab-plain cannot be simulated" in done.stderr


@pytest.mark.parametrize("fabric", ["ecp5", "ice40"])
def test_machines_in_cells_of_others_are_refused(bitwright, fabric):
    done = bitwright(PLUGIN, "netlist", "--set", f"fabric={fabric}", "--family", "ecp5plain",
                     status=1)
    assert f"written in cells of {fabric}, which ecp5plain does not have" in done.stderr


def test_a_machine_in_cells_of_another_is_told_the_way_out(bitwright):
    done = bitwright(PLUGIN, "build", "--board", "orangecrab-plain", "--machine", "icebreaker",
                     status=1)
    assert "orangecrab-plain has 25F-plain; --set fabric=generic" in done.stderr
