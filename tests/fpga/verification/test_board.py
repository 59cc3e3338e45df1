"""Whole boards in simulation, through their pins: SDRAM on its pins, and memory of the chip."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from bitwright.fpga.link.driver import Board, LinkError
from bitwright.fpga.verification.simulated_board import SimulatedBoard
from bitwright.hw.machine.control_interface import MAGIC, Registers
from bitwright.sim.verilator.verilator_build import SimulationError
from tests.compiler.tiny import QUERY
from tests.fpga.host.host_bench import (
    ICEBREAKER,
    MACHINE,
    ORANGECRAB,
    SMALL,
    ULX3S,
    map_model,
)

BAUD, SEED = 3_000_000, 40


@pytest.mark.parametrize("kind,machine", [(ULX3S, MACHINE), (ICEBREAKER, SMALL),
                                          (ORANGECRAB, MACHINE)], ids=lambda value: value.name)
def test_board_answers_and_keeps_memory(kind, machine):
    rng = random.Random(SEED)
    with SimulatedBoard(kind, machine) as simulated:
        with Board.open(simulated.port, BAUD, timeout=5) as board:
            info = board.info()
            assert (info.identity, info.memory_bytes, info.clock_khz) == (
                machine.identity(), kind.memory.bytes, 1000 * kind.clock_mhz)
            assert board.read_register(Registers.MAGIC) == MAGIC
            assert board.read_register(Registers.IDENTITY) == machine.identity()
            assert board.read_register(Registers.STATUS) == 0
            places = [0, kind.memory.bytes // 2 - 512, kind.memory.bytes - 1024]
            data = {place: rng.randbytes(1024) for place in places}
            for place in places:
                board.write(place, data[place])
            assert {place: board.read(place, 1024) for place in places} == data
            with pytest.raises(LinkError, match="nothing at this address"):
                board.read(kind.memory.bytes, 2)
        report = simulated.stop()
    assert report["violations"] == [] and board.resent == 0
    # 6 frames of 1 KiB at least, at four clocks per bit and ten bits per byte
    assert report["cycles"] > 6 * 1024 * 40
    assert report["seconds"] == pytest.approx(report["cycles"] / kind.clock_mhz / 1e6, rel=1e-3)
    if not kind.memory.on_chip:      # 8192 rows in 64 ms, from 200 us after power-up on
        assert report["refreshes"] == pytest.approx(
            (report["seconds"] - 200e-6) / 7.8125e-6, rel=0.03)


def test_broken_sdram_rule_fails_the_run(capfd):
    with SimulatedBoard(ULX3S, MACHINE, rules={"t_rcd": 60_000}) as simulated:
        with Board.open(simulated.port, BAUD, timeout=5) as board:
            board.write(0, b"abcd")
        with pytest.raises(SimulationError, match=r"SDRAM were broken \d+ times, first: tRCD at"):
            simulated.stop()
    assert "SDRAM: tRCD at cycle" in capfd.readouterr().err


def test_board_that_ended_is_reported():
    simulated = SimulatedBoard(ULX3S, MACHINE)
    with Board.open(simulated.port, BAUD, timeout=0.5, tries=2) as board:
        simulated.kill()
        with pytest.raises(LinkError, match="was cut|no answer"):
            board.write(0, b"ab")
    with pytest.raises(SimulationError, match="ended by itself"):
        simulated.stop()
    with pytest.raises(SimulationError, match="did not start"):
        SimulatedBoard(ULX3S, MACHINE, rules={"t_none": 1})


def test_board_sim_runs_a_layer(command, tmp_path):
    image = map_model(tmp_path)
    arguments = ("board-sim", "--machine", "tiny", "--set", "memory_bits=16", "--image", image,
                 "--layer", QUERY)
    code, out, err = command(*arguments)
    assert code == 0 and "mismatches  0 in 120 accumulators" in out and "no rule broken" in out
    assert "loading" in err and "bytes/s" in err
    code, out, _ = command(*arguments, "--json", "--seed", 3, "--out", tmp_path / "found.json")
    found = json.loads(out)
    assert code == 0 and json.loads((tmp_path / "found.json").read_text()) == found
    assert found["board"] == "ulx3s-12f" and found["mismatches"] == 0
    assert found["simulated_cycles"] > found["counters"]["total"] > 0


def test_a_layer_from_block_ram(command, tmp_path):
    code, out, _ = command("board-sim", "--board", "orangecrab-25f", "--machine", "tiny", "--set",
                           "memory_bits=16", "--image", map_model(tmp_path), "--layer", QUERY,
                           "--json")
    found = json.loads(out)
    assert code == 0 and found["board"] == "orangecrab-25f" and found["mismatches"] == 0
    assert found["simulated_cycles"] > found["counters"]["total"] > 0


def test_board_sim_refuses_what_it_cannot_build(command):
    code, out, err = command("board-sim", "--machine", "tiny")
    assert code == 1 and not out and err == (
        "error: the memory of ulx3s-12f is 16 bits wide, and machine tiny has memory_bits=32; "
        "--set memory_bits=16\n")
    code, _, err = command("board-sim", "--board", "none")
    assert code == 2 and err.startswith("error: unknown board 'none'; known: ulx3s-85f")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_served_board_ends_with_its_program(end):
    served = subprocess.Popen(
        [sys.executable, "-m", "fpga", "board-sim", "--serve", "--machine", "tiny", "--set",
         "memory_bits=16"], stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # as from a terminal
    found = json.loads(served.stdout.readline())
    assert found["identity"] == MACHINE.identity()
    with Board.open(found["port"], BAUD, timeout=5) as board:
        assert board.info().identity == MACHINE.identity()
    served.send_signal(end)
    out, _ = served.communicate(timeout=120)
    if end == signal.SIGINT:
        assert served.returncode == 0 and json.loads(out)["violations"] == []
    deadline = time.monotonic() + 10
    while os.path.exists(found["port"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(found["port"])
