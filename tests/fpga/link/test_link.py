"""The driver against the simulated endpoint: what works, and what recovers."""

import random
import time

import pytest
import serial

from bitwright.fpga.link.driver import Board, LinkError
from bitwright.fpga.link.frames import Command, Deframer, Info, Reply, Request, Status, frame
from tests.fpga.link.link_bench import (
    CLOCK_KHZ,
    FAULT,
    IDENTITY,
    KINDS,
    MEMORY,
    FaultyPort,
    SimulatedBoard,
    fault,
)

BAUD = 3_000_000
SEED = 20
CONTROL, STARTS, SCRATCH, BROKEN = 0x08, 0x0C, 0x10, 0x3C


@pytest.fixture
def simulated(tmp_path):
    board = SimulatedBoard(tmp_path)
    yield board
    board.kill()


def raw(simulated):
    return serial.serial_for_url(simulated.path, baudrate=BAUD, timeout=0.2)


def faulty(simulated, timeout=0.05, **faults):
    port = FaultyPort(raw(simulated), **faults)
    return port, Board(port, name=simulated.path, timeout=timeout, tries=20)


def replies(port, count):
    """The next replies on a raw port, fewer if no more come."""
    found, deframer = [], Deframer()
    while len(found) < count and (data := port.read(1)):
        found += map(Reply.unpack, deframer.feed(data + port.read(port.in_waiting)))
    return found


def test_memory_registers_and_info(simulated):
    data = random.Random(SEED).randbytes(6000) + b"\x7e\x7d" * 200
    seen = []
    with Board.open(simulated.path, BAUD) as board:
        assert board.info() == Info(clock_khz=CLOCK_KHZ, memory_bytes=MEMORY, identity=IDENTITY)
        board.write(0x1E, data, lambda *progress: seen.append(progress))
        assert board.read(0x1E, len(data)) == data
        assert board.read(0x20, 2) == data[2:4]
        assert board.rate > 0 and board.read(0, 0) == b""
        board.write_register(SCRATCH, 0xDEADBEEF)
        assert board.read_register(SCRATCH) == 0xDEADBEEF
        assert board.resent == 0
    assert seen[-1] == (len(data), len(data)) and seen == sorted(seen) and len(seen) == 25
    _, memory = simulated.stop()
    assert memory[0x1E:0x1E + len(data)] == data
    assert not any(memory[:0x1E]) and not any(memory[0x1E + len(data):])


def test_core_is_served_meanwhile(tmp_path):
    simulated = SimulatedBoard(tmp_path, seed=SEED, traffic=True)
    try:
        data = random.Random(SEED).randbytes(8192)
        with Board.open(simulated.path, BAUD) as board:
            board.write(0, data)
            assert board.read(0, len(data)) == data
        report, _ = simulated.stop()
    finally:
        simulated.kill()
    assert report["core_errors"] == 0 and report["core_bursts"] > 10_000
    assert report["link_bursts"] == 2 * 8192 // 32


def test_errors_have_a_status_and_do_no_harm(simulated):
    with Board.open(simulated.path, BAUD) as board:
        board.write(MEMORY - 16, bytes(range(16)))
        for action, reason in (
                (lambda: board.read(MEMORY - 4, 8), "nothing at this address"),
                (lambda: board.write(MEMORY - 4, bytes(300)), "nothing at this address"),
                (lambda: board.read(MEMORY, 2), "nothing at this address"),
                (lambda: board.read(0x8000_0000, 2), "nothing at this address"),
                (lambda: board.read(FAULT & ~0xFF, 256), "answered with an error"),
                (lambda: board.write(FAULT, b"ab"), "answered with an error"),
                (lambda: board.read_register(BROKEN), "answered with an error"),
                (lambda: board.write_register(BROKEN, 1), "answered with an error")):
            with pytest.raises(LinkError, match=reason):
                action()
        assert board.read(MEMORY - 16, 12) == bytes(range(12)) and board.resent == 0
        for address, length in ((1, 2), (0, 3)):
            with pytest.raises(ValueError, match="even"):
                board.read(address, length)


def test_one_fault_of_each_kind(simulated):
    rng = random.Random(SEED)
    for kind in KINDS:
        for at in (0, 1, 2, 5, 7, 8, 100, -4, -3, -2, -1):
            for where in ("requests", "replies"):
                port, board = faulty(simulated)
                board.info()
                getattr(port, f"_{where}").append(fault(kind, at))
                data, address = rng.randbytes(600), 2 * rng.randrange(1000)
                board.write(address, data)
                getattr(port, f"_{where}").append(fault(kind, at))
                assert board.read(address, len(data)) == data, (kind, at, where)
                assert port.injected == 2
                port.close()


def test_lost_requests_are_found_by_later_replies(simulated):
    """Without waiting for the time-out."""
    port, board = faulty(simulated, timeout=10)
    board.info()
    port._requests += [fault("corrupted", 20), lambda data: data, fault("all lost", 0)]
    data = random.Random(SEED).randbytes(4096)
    started = time.monotonic()
    board.write(0, data)
    assert board.resent == 2 and time.monotonic() - started < 8
    assert board.read(0, len(data)) == data
    port.close()


@pytest.mark.parametrize("kind", ["all lost", "corrupted", "cut"])
def test_start_is_executed_once(simulated, kind):
    port, board = faulty(simulated)
    board.info()
    port._replies += [fault(kind, 3), fault(kind, 4)]
    board.write_register(CONTROL, 1)
    assert board.resent >= 1 and board.read_register(STARTS) == 1
    port._requests += [fault(kind, 3)]
    board.write_register(CONTROL, 1)
    assert board.read_register(STARTS) == 2
    port.close()
    # A new session uses the same sequence numbers for its own requests.
    for started in (3, 4):
        with Board.open(simulated.path, BAUD) as again:
            again.write_register(CONTROL, 1)
            assert again.read_register(STARTS) == started


def test_repeated_register_write_repeats_its_error(simulated):
    port, board = faulty(simulated)
    board.info()
    port._replies += [fault("all lost", 0)]
    with pytest.raises(LinkError, match="answered with an error"):
        board.write_register(BROKEN, 1)
    assert board.resent >= 1
    port.close()


@pytest.mark.parametrize("end", [1, 9, 100, -2])
def test_host_restarts_in_the_middle_of_a_write(simulated, end):
    payload = b"\x7d" * 256     # so that cuts lie within escapes, too
    killed = raw(simulated)
    for sequence in range(3):   # replies that nobody fetches
        killed.write(Request(sequence=sequence, command=Command.READ, words=128).pack())
    write = Request(sequence=9, command=Command.WRITE, words=128, payload=payload)
    killed.write(write.pack()[:end])
    killed.close()
    with Board.open(simulated.path, BAUD) as board:
        assert board.read(0, 256) == bytes(256)
        board.write(0, payload)
        assert board.read(0, 256) == payload


def test_cut_frame_then_silence(simulated):
    port = raw(simulated)
    whole = Request(sequence=1, command=Command.READ_REGISTER, words=2).pack()
    port.write(whole[:-4])
    assert replies(port, 1) == []
    port.write(whole)
    assert [reply.sequence for reply in replies(port, 1)] == [1]
    port.close()


@pytest.mark.parametrize("noise", ["random", "no border", "borders"])
def test_noise_before_the_first_frame(simulated, noise):
    rng = random.Random(SEED)
    data = {"random": rng.randbytes(20_000), "borders": b"\x7e" * 5000,
            "no border": bytes(rng.randrange(0x7D) for _ in range(5000))}[noise]
    port = raw(simulated)
    port.write(data)
    port.flush()
    port.close()
    with Board.open(simulated.path, BAUD, timeout=0.2) as board:
        board.write(0x100, b"clean!")
        assert board.read(0x100, 6) == b"clean!"


def test_break(simulated):
    port, board = faulty(simulated)
    board.info()
    data = random.Random(SEED).randbytes(16_384)
    simulated.send_break()
    time.sleep(0.05)
    breaks = iter(range(16))
    def progress(done, total):
        if done % 4096 == 0 and next(breaks, None) is not None:
            simulated.send_break()
    board.write(0, data, progress)
    assert board.read(0, len(data), progress) == data
    assert board.resent >= 1
    port.close()


def test_more_requests_than_fit(simulated):
    port = raw(simulated)
    burst = b"".join(Request(sequence=number, command=Command.READ, address=2 * number,
                             words=128).pack() for number in range(200))
    port.write(burst)
    answered = [reply.sequence for reply in replies(port, 200)]
    assert answered == sorted(answered) and 50 <= len(answered) < 200
    port.close()
    with Board.open(simulated.path, BAUD) as board:
        board.write(0, b"ok")
        assert board.read(0, 2) == b"ok"


def test_malformed_requests(simulated):
    port = raw(simulated)

    def answer(body):
        port.write(frame(body))
        return [(reply.command, Status(reply.status), reply.payload) for reply in replies(port, 1)]

    header = bytes([1, Command.WRITE, 0, 0, 0, 0, 1])
    assert answer(header + b"abcd") == [(Command.WRITE, Status.OK, b"")]
    assert answer(header + b"ab") == [] and answer(header + b"abcdef") == []
    assert answer(header[:5]) == [] and answer(b"") == []
    for command, words, payload in ((5, 0, b"ab"), (6, 0, b""), (0x80, 0, b""), (9, 2, b"abcdef"),
                                    (Command.READ, 128, b""), (Command.WRITE, 128, bytes(258)),
                                    (Command.READ_REGISTER, 0, b""),
                                    (Command.WRITE_REGISTER, 2, b"abcdef")):
        body = bytes([1, command, 0, 0, 0, 0, words]) + payload
        assert answer(body) == [(command, Status.BAD_REQUEST, b"")], command
    assert answer(bytes([1, Command.READ, 0, 0, 0, 0, 2])) == [(Command.READ, Status.OK,
                                                               b"abcd\0\0")]
    # Nothing of them changed what INFO answers.
    info = Info(clock_khz=CLOCK_KHZ, memory_bytes=MEMORY, identity=IDENTITY)
    assert answer(bytes([2, Command.INFO, 0, 0, 0, 0, 7])) == [(Command.INFO, Status.OK,
                                                               info.pack())]
    port.close()


@pytest.mark.parametrize("traffic", [False, True], ids=["alone", "beside the core"])
def test_random_faults(tmp_path, traffic):
    print("seed", SEED)
    rng = random.Random(SEED)
    simulated = SimulatedBoard(tmp_path, seed=SEED, traffic=traffic)
    try:
        port, board = faulty(simulated, rate=0.04, seed=SEED)
        reference, starts = bytearray(MEMORY), 0
        for _ in range(300):
            length = 2 * int(rng.triangular(1, 700, 40))
            address = 2 * rng.randrange((0x7F00 - length) // 2)
            choice = rng.random()
            if choice < 0.45:
                data = rng.randbytes(length)
                board.write(address, data)
                reference[address:address + length] = data
            elif choice < 0.9:
                assert board.read(address, length) == reference[address:address + length]
            elif choice < 0.95:
                board.write_register(CONTROL, 1)
                starts += 1
            else:
                assert board.read_register(STARTS) == starts
            if rng.random() < 0.02:
                board.info()
        assert port.injected > 30 and board.resent > 15
        port.close()
        report, memory = simulated.stop()
    finally:
        simulated.kill()
    assert report["starts"] == starts and report["core_errors"] == 0
    half = MEMORY // 2 if traffic else MEMORY
    assert memory[:half] == reference[:half]
