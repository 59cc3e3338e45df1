"""A chip family and a board with such a chip, from one file: from synthesis to the bitstream."""

import json

import pytest

PLUGIN = "toy_chip_family.py"


def test_a_bitstream(bitwright, tmp_path):
    done = bitwright(PLUGIN, "build", "--board", "hx8k-evn", "--out", "out", "--json")
    report = json.loads(done.stdout)
    assert (report["chip"], report["board"]) == ("iCE40HX8K", "hx8k-evn") and report["met"]
    assert report["available"] == {"luts": 7680, "ebr": 32, "dsp": 0}
    assert report["usage"]["dsp"] == 0 and 8 <= report["usage"]["ebr"] <= 32
    assert "not known" in done.stderr and report["predicted"] is None
    bitstream = (tmp_path / "out" / "top.bin").read_bytes()
    assert bitstream[:4] == b"\xff\x00\x00\xff" and len(bitstream) == 135_100


def test_its_netlist_computes(bitwright):
    found = json.loads(bitwright(PLUGIN, "netlist", "--machine", "icebreaker", "--set",
                                 "fabric=generic", "--set", "dequant=serial", "--family",
                                 "ice40hx", "--programs", 2, "--json").stdout)
    assert found["family"] == "ice40hx" and found["programs"] == 2 and found["failures"] == []
    assert "SB_MAC16" not in found["cells"] and found["cells"]["SB_RAM40_4K"] > 10


def test_it_cannot_be_simulated_without_its_pins(bitwright):
    done = bitwright(PLUGIN, "board-sim", "--board", "hx8k-evn", status=1)
    assert "hx8k-evn cannot be simulated" in done.stderr


@pytest.mark.parametrize("fabric", ["ecp5", "ice40"])
def test_machines_in_cells_of_others_are_refused(bitwright, fabric):
    done = bitwright(PLUGIN, "netlist", "--set", f"fabric={fabric}", "--family", "ice40hx",
                     status=1)
    assert f"written in cells of {fabric}, which ice40hx does not have" in done.stderr
