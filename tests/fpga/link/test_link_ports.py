"""What people are told when a board cannot be reached."""

import os

import pytest
import serial

from bitwright.fpga.link.driver import Board, LinkError
from bitwright.fpga.link.frames import Command, Info, Reply
from tests.fpga.link.link_bench import SimulatedBoard

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


class Scripted:
    """A port that answers each request with the next of ``answers``."""
    timeout: float | None = None
    in_waiting = 4096

    def __init__(self, answers):
        self._answers, self._come = iter(answers), b""

    def write(self, data):
        self._come += next(self._answers)

    def read(self, size=1):
        data, self._come = self._come[:size], self._come[size:]
        return data

    def reset_input_buffer(self):
        self._come = b""

    def close(self):
        pass


def test_replies_that_do_not_fit_are_not_taken():
    info = Info(clock_khz=1, memory_bytes=1 << 17, identity=1)

    def reply(payload, sequence=2, command=Command.READ):
        return Reply(sequence=sequence, command=command, status=0, payload=payload).pack()

    board = Board(Scripted([
        reply(info.pack(), 1, Command.INFO), reply(b"short"), reply(b"four", 1),
        reply(b"four", command=Command.READ_REGISTER), reply(b"good")]))
    assert board.info() == info
    assert board.read(0, 4) == b"good" and board.resent == 3


def test_a_board_of_another_protocol_version():
    info = Info(version=9, clock_khz=1, memory_bytes=1 << 17, identity=1)
    board = Board(Scripted([Reply(sequence=1, command=4, status=0, payload=info.pack()).pack()]))
    with pytest.raises(LinkError, match="speaks version 9"):
        board.info()
