"""The checking model of the SDRAM: what it drives, and that each rule is found by its name."""

import subprocess
from pathlib import Path

import pytest

import bitwright.fpga.verification.board_models

HERE = Path(__file__).parent
MODE, REFRESH, PRECHARGE, ACTIVATE, WRITE, READ, NOP = 0, 1, 2, 3, 4, 5, 7
ALL = 1 << 10
START = 20_000      # cycles of 10 ns: the pause after power-up
T = START + 100     # the chip has started


@pytest.fixture(scope="module")
def player(tmp_path_factory):
    program = tmp_path_factory.mktemp("sdram") / "script"
    subprocess.run(["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-I",
                    Path(bitwright.fpga.verification.board_models.__file__).parent,
                    HERE / "sdram_script.cpp", "-o", program],
                   check=True)

    def play(*commands, period=10_000):
        """Commands are (cycle, order, bank, address[, dqm[, dq]])."""
        rows = [(*command, 0, -1)[:5] + (command[5] if len(command) > 5 else -1,)
                for command in sorted(commands)]
        text = "\n".join(" ".join(map(str, row)) for row in rows)
        done = subprocess.run([program, str(period)], input=text, capture_output=True, text=True,
                              check=True)
        lines = done.stdout.splitlines()
        driven = {int(cycle): (int(mask), int(value)) for _, cycle, mask, value in
                  (line.split() for line in lines if line.startswith("dq "))}
        return driven, [line for line in lines if not line.startswith("dq ")]
    return play


def start(mode=0x20, pause=START, refreshes=2):
    """Commands that start the chip; ``mode`` is CAS latency 2 and bursts of one beat."""
    return [(pause, PRECHARGE, 0, ALL),
            *((pause + 2 + 7 * index, REFRESH, 0, 0) for index in range(refreshes)),
            (pause + 2 + 7 * refreshes, MODE, 0, mode)]


def end(cycle):
    return (cycle, NOP, 0, 0)


@pytest.mark.parametrize("cas", [2, 3])
def test_a_written_word_comes_back_after_the_cas_latency(player, cas):
    driven, wrong = player(
        *start(cas << 4), (T, ACTIVATE, 1, 77), (T + 2, WRITE, 1, 5, 0, 0xbeef),
        (T + 3, WRITE, 1, 6, 0b01, 0x1234), (T + 4, READ, 1, 5), (T + 5, READ, 1, 6),
        (T + 8, PRECHARGE, 1, 0), end(T + 20))
    assert wrong == []
    assert driven[T + 4 + cas] == (3, 0xbeef) and driven[T + 5 + cas][1] >> 8 == 0x12
    assert set(driven) == {T + 4 + cas, T + 5 + cas}


def test_bursts_wrap_and_dqm_takes_beats_back(player):
    driven, wrong = player(
        *start(0x22), (T, ACTIVATE, 0, 0), (T + 2, WRITE, 0, 6, 0, 10), (T + 3, NOP, 0, 0, 0, 11),
        (T + 4, NOP, 0, 0, 0, 12), (T + 5, NOP, 0, 0, 0, 13), (T + 6, READ, 0, 4),
        (T + 7, NOP, 0, 0, 0b10), end(T + 20))
    assert wrong == []
    assert driven == {T + 8: (3, 12), T + 9: (1, 13), T + 10: (3, 10), T + 11: (3, 11)}


ROW = (T, ACTIVATE, 0, 1)


@pytest.mark.parametrize("rule, commands", [
    ("tRCD", [ROW, (T + 1, READ, 0, 0)]),
    ("tRAS", [ROW, (T + 4, PRECHARGE, 0, 0)]),
    ("tRP", [ROW, (T + 6, PRECHARGE, 0, 0), (T + 7, ACTIVATE, 0, 2)]),
    ("tRRD", [ROW, (T + 1, ACTIVATE, 1, 1)]),
    ("tWR", [ROW, (T + 5, WRITE, 0, 0, 0, 1), (T + 6, PRECHARGE, 0, 0)]),
    ("tRFC", [(T, REFRESH, 0, 0), (T + 6, ACTIVATE, 0, 0)]),
    ("tMRD", [(T, MODE, 0, 0x20), (T + 1, ACTIVATE, 0, 0)]),
    ("bank open", [ROW, (T + 20, ACTIVATE, 0, 2)]),
    ("bank open", [ROW, (T + 20, REFRESH, 0, 0)]),
    ("bank closed", [ROW, (T + 6, PRECHARGE, 0, 0), (T + 20, READ, 0, 0)]),
    ("bus", [ROW, (T + 2, READ, 0, 0), (T + 4, WRITE, 0, 1, 0, 1)]),
    ("bus", [ROW, (T + 2, READ, 0, 0), (T + 5, WRITE, 0, 1, 0, 1)]),
    ("bus", [ROW, (T + 2, WRITE, 0, 1)]),
    ("mode", [(T, MODE, 0, 0x27)]),
    ("mode", [(T, MODE, 0, 0x10)]),
    ("unsupported", [ROW, (T + 2, READ, 0, ALL)]),
    ("refresh", [(T + 7100, NOP, 0, 0)]),
])
def test_a_broken_rule_is_named(player, rule, commands):
    _, wrong = player(*start(), *commands, end(max(command[0] for command in commands) + 10))
    assert len(wrong) == 1 and wrong[0].startswith(f"{rule} at cycle "), wrong


def test_rules_met_to_the_cycle(player):
    _, wrong = player(
        *start(), ROW, (T + 2, READ, 0, 0), (T + 6, WRITE, 0, 1, 0, 1), (T + 8, PRECHARGE, 0, 0),
        (T + 10, ACTIVATE, 0, 2), (T + 12, ACTIVATE, 1, 2), (T + 17, PRECHARGE, 0, ALL),
        (T + 19, REFRESH, 0, 0), (T + 26, ACTIVATE, 2, 0), end(T + 6900))
    assert wrong == []


def test_a_row_may_not_stay_open(player):
    _, wrong = player(*start(), ROW, end(T + 10_100))
    assert [line.split(" at ")[0] for line in wrong if line.startswith("tRAS")] == ["tRAS"]
    assert "open for 100.010 us, at most 100.000 us" in " ".join(wrong)


def test_trc_is_more_than_tras_and_trp(player):
    _, wrong = player(*start(0x30), ROW, (T + 6, PRECHARGE, 0, 0), (T + 9, ACTIVATE, 0, 2),
                      end(T + 20), period=7_600)
    assert [line for line in wrong if line.startswith("tRC ")] == [
        f"tRC at cycle {T + 9}: bank 0: 68.400 ns since the last activate, needs 70.000 ns"]


@pytest.mark.parametrize("text, options", [
    ("first command after 199.990 us, needs 200.000 us", {"pause": START - 1}),
    ("1 refreshes before the mode register is set, needs 2", {"refreshes": 1})])
def test_the_start_is_checked(player, text, options):
    _, wrong = player(*start(**options), end(T + 10))
    assert len(wrong) == 1 and wrong[0].startswith("power-up at") and text in wrong[0]


def test_a_fast_clock_needs_cas_latency_3(player):
    _, wrong = player(*start(pause=27_000), end(27_050), period=7_500)
    assert any(line.startswith("mode at") and "CAS latency 2" in line for line in wrong)
