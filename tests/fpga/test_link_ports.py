"""What people are told when a board cannot be reached."""

import os

import pytest
import serial

from fpga.link.driver import Board, LinkError
from tests.fpga.link_bench import SimulatedBoard

BAUD = 3_000_000


def test_board_that_dies(tmp_path):
    simulated = SimulatedBoard(tmp_path)
    board = Board.open(simulated.path, BAUD, timeout=0.05)

    def progress(done, total):
        if done >= 2048:
            simulated.kill()
    with pytest.raises(LinkError) as error:
        board.write(0, bytes(60_000), progress)
    assert "\n" not in str(error.value) and simulated.path in str(error.value)
    board.close()


def test_board_that_is_silent():
    manager, host = os.openpty()
    try:
        with pytest.raises(LinkError, match="check that its bitstream is loaded"):
            Board.open(os.ttyname(host), BAUD, timeout=0.01, tries=3)
    finally:
        os.close(manager)
        os.close(host)


@pytest.mark.parametrize("number, reason", [(13, "no permission"), (16, "in use"),
                                            (5, "cannot open")])
def test_port_that_cannot_be_opened(monkeypatch, number, reason):
    def refuse(*arguments, **options):
        raise serial.SerialException(number, "no")
    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(LinkError, match=reason):
        Board.open("/dev/ttyUSB0", BAUD)


def test_port_that_is_absent(tmp_path):
    with pytest.raises(LinkError, match="there is no serial port"):
        Board.open(str(tmp_path / "tty"), BAUD)
