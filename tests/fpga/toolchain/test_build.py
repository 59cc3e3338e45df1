"""A whole bitstream, against the one on record."""

import json
from pathlib import Path

import pytest

import bitwright.fpga
from bitwright.fpga.benchmarks.resource_samples import machines, measure
from bitwright.fpga.boards.registry import board
from bitwright.fpga.toolchain.bitstream_build import build
from bitwright.hw.machine.chip_resources import samples

RECORDS = Path(bitwright.fpga.__file__).parent / "results"


def test_the_small_board_is_as_recorded():
    """The same cells at the same speed, and the same bytes: the tools are deterministic. After a
    change of the hardware the record is made again by ``python -m fpga build --board icebreaker``
    (report.json)."""
    target = board("icebreaker")
    built = build(target, target.preset())
    record = json.loads((RECORDS / "icebreaker.json").read_text())
    assert built.report["met"] and built.report["fmax_mhz"] >= 24
    for name in ("identity", "usage", "blocks", "available", "machine", "seed", "sha256"):
        assert built.report[name] == record[name], name
    assert built.report["fmax_mhz"] == record["fmax_mhz"]
    # An iCE40 bitstream begins with a comment's marker and holds the synchronization word.
    assert built.bitstream[:2] == b"\xff\x00" and b"\x7e\xaa\x99\x7e" in built.bitstream[:64]


def test_a_small_synthesis_for_the_large_chip_is_as_recorded():
    """The first small ECP5 machine of the resource model, synthesized anew."""
    every = [*machines()]
    index = next(index for index, (name, machine) in enumerate(every)
                 if name == "ulx3s-85f" and machine.rows * machine.cols == 2)
    (found,) = measure(lambda text: None, every[index:index + 1])
    assert found == samples()[index]


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_records_are_of_the_machines_that_boards_have(path):
    record, target = json.loads(path.read_text()), board(path.stem)
    assert record["board"] == target.name and record["chip"] == target.chip
    assert record["machine"] == target.preset().to_dict()
    assert record["identity"] == f"{target.preset().identity():08x}"
    assert record["met"] == (record["fmax_mhz"] >= record["clock_mhz"])
    usage, said = record["usage"], record["predicted"]
    assert usage["total"] <= target.size.luts and usage["ebr"] <= target.size.rams
    assert said["luts"] == pytest.approx(
        usage["total"], rel=0.03 if said["measured"] else said["error"])
    assert usage["ebr"] - said["rams"] in ((0,) if said["measured"] else (0, 1))
    assert said["dsps"] == usage["dsp"]
