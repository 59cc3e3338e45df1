"""The host's end of the link."""

import errno
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import serial

from bitwright.fpga.link.frames import (
    INFO_WORDS,
    VERSION,
    Command,
    Deframer,
    Info,
    Reply,
    Request,
    Status,
)
from bitwright.models.errors import Error

__all__ = ["Board", "LinkError", "Port", "Progress"]

WINDOW = 8           # requests under way
Progress = Callable[[int, int], None]


class LinkError(Error, RuntimeError):
    """The board cannot be reached, or refuses. One line, for people."""


class Port(Protocol):
    """The methods of ``serial.Serial`` that the driver uses."""
    timeout: float | None

    def read(self, size: int = 1) -> bytes: ...
    def write(self, data: bytes) -> int | None: ...
    def reset_input_buffer(self) -> None: ...
    def close(self) -> None: ...
    @property
    def in_waiting(self) -> int: ...


@dataclass
class _Pending:
    """A request that is not answered yet; ``index`` is its place in the transfer."""
    index: int
    request: Request
    tries: int = 1


class Board:
    """A board behind a serial port.

    Memory addresses and lengths are in bytes and even. Every call raises :class:`LinkError` if the
    board does not answer, or answers with an error; it may then have executed a part of the call.
    The next call starts afresh.

    Parameters
    ----------
    port : an open ``serial.Serial``, or what behaves like one
    name : of the port, for messages
    timeout : seconds without a byte after which requests are sent again
    tries : how often a request is sent

    Members
    -------
    rate : bytes per second of the last :meth:`read` or :meth:`write`
    resent : requests that were sent again so far
    """

    def __init__(self, port: Port, *, name: str = "the serial port", timeout: float = 0.5,
                 tries: int = 8):
        self._port, self._name, self._tries = port, name, tries
        self._sequence = 0
        self._max_payload = 0
        self._deframer = Deframer()
        self.rate = 0.0
        self.resent = 0
        port.timeout = timeout

    @classmethod
    def open(cls, port: str, baud: int, *, timeout: float = 0.5, tries: int = 8) -> "Board":
        """The board at ``port``: a device, or a URL that pyserial knows. It has answered."""
        try:
            opened = serial.serial_for_url(port, baudrate=baud, timeout=timeout)
        except (OSError, ValueError) as error:
            raise LinkError(_open_failure(port, baud, error)) from None
        board = cls(opened, name=port, timeout=timeout, tries=tries)
        try:
            board.info()
        except LinkError:
            opened.close()
            raise
        return board

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        self._port.close()

    def info(self) -> Info:
        """Start a session: what came before is forgotten at both ends."""
        self._guard(self._port.reset_input_buffer)
        self._deframer = Deframer()
        request = self._request(Command.INFO, words=INFO_WORDS)
        found = Info.unpack(self._single(request, "asked what it is"))
        if found.version != VERSION:
            raise LinkError(f"the board on {self._name} speaks version {found.version} of the link "
                            f"and this driver version {VERSION}: load a bitstream of this release")
        self._max_payload = found.max_payload
        return found

    # ---- memory and registers ---------------------------------------------------------------
    def read(self, address: int, length: int, progress: Progress | None = None) -> bytes:
        """``length`` bytes of memory from ``address``."""
        _even(address, length)
        parts = self._transfer(
            [self._request(Command.READ, address=address + at, words=size // 2)
             for at, size in self._parts(length)], f"read of {length:,} bytes at {address:#x}",
            progress)
        return b"".join(parts)

    def write(self, address: int, data: bytes, progress: Progress | None = None) -> None:
        """Write ``data`` to memory from ``address``."""
        _even(address, len(data))
        self._transfer(
            [self._request(Command.WRITE, address=address + at, words=size // 2,
                           payload=bytes(data[at:at + size]))
             for at, size in self._parts(len(data))],
            f"write of {len(data):,} bytes at {address:#x}", progress)

    def read_register(self, address: int) -> int:
        """The 32-bit register at byte address ``address``."""
        request = self._request(Command.READ_REGISTER, address=address, words=2)
        return struct.unpack("<I", self._single(request, f"read of register {address:#04x}"))[0]

    def write_register(self, address: int, value: int) -> None:
        """Write a 32-bit register, once."""
        request = self._request(Command.WRITE_REGISTER, address=address, words=2,
                                payload=struct.pack("<I", value))
        self._single(request, f"write of register {address:#04x}")

    # ---- requests ---------------------------------------------------------------------------
    def _request(self, command: Command, **fields: Any) -> Request:
        self._sequence = (self._sequence + 1) % 256
        return Request(sequence=self._sequence, command=command, **fields)

    def _parts(self, length: int) -> Iterator[tuple[int, int]]:
        if not self._max_payload:
            self.info()
        step = self._max_payload
        return ((at, min(step, length - at)) for at in range(0, length, step))

    def _transfer(self, requests: Sequence[Request], what: str, progress: Progress | None
                  ) -> list[bytes]:
        started = time.perf_counter()
        total = 2 * sum(request.words for request in requests)
        found = self._exchange(requests, what, progress or _nobody, total)
        self.rate = total / max(time.perf_counter() - started, 1e-9)
        return found

    def _single(self, request: Request, what: str) -> bytes:
        return self._exchange([request], what, _nobody, 2 * request.words)[0]

    def _exchange(self, requests: Sequence[Request], what: str, progress: Progress, total: int
                  ) -> list[bytes]:
        """Payloads of the replies, in the order of ``requests``."""
        found: list[bytes] = [b""] * len(requests)
        pending: list[_Pending] = []       # in the order they were sent last
        waiting = iter(enumerate(requests))
        done = 0
        while True:
            while len(pending) < WINDOW and (following := next(waiting, None)) is not None:
                pending.append(_Pending(*following))
                self._send(following[1])
            if not pending:
                return found
            replies = self._replies()
            if replies is None:
                self._resend(pending, len(pending), what, done, total)
                continue
            for reply in replies:
                place = _place(pending, reply)
                if place is None:
                    continue       # of a request that was answered already, or of another session
                request, index = pending[place].request, pending[place].index
                if reply.status != Status.OK:
                    raise LinkError(f"{what}: {_reason(reply.status)} (at "
                                    f"{request.address:#x})")
                del pending[place]
                found[index] = reply.payload
                done += 2 * request.words
                progress(done, total)
                # Replies come in order: those sent before this one are lost.
                self._resend(pending, place, what, done, total)

    def _resend(self, pending: list[_Pending], count: int, what: str, done: int, total: int
                ) -> None:
        lost, pending[:count] = pending[:count], []
        for item in lost:
            if item.tries == self._tries:
                raise LinkError(f"no answer from the board on {self._name} in {self._tries} tries, "
                                + self._hint(what, done, total))
            item.tries += 1
            self.resent += 1
            pending.append(item)
            self._send(item.request)

    def _hint(self, what: str, done: int, total: int) -> str:
        if done or self._max_payload:
            return f"after {done:,} of {total:,} bytes ({what}): check the cable and the power"
        return "check that its bitstream is loaded, the port and the baud rate"

    def _send(self, request: Request) -> None:
        self._guard(lambda: self._port.write(request.pack()))

    def _replies(self) -> list[Reply] | None:
        """Replies in the bytes that have come, or None if none came in time."""
        data = self._guard(lambda: self._port.read(1))
        if not data:
            return None
        data += self._guard(lambda: self._port.read(self._port.in_waiting))
        replies = map(Reply.unpack, self._deframer.feed(data))
        return [reply for reply in replies if reply is not None]

    def _guard(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError as error:       # serial.SerialException is one
            raise LinkError(f"the link on {self._name} was cut: {error}; check the cable and the "
                            "power, then start again") from None


def _nobody(done: int, total: int) -> None:
    """Progress that nobody watches."""


def _place(pending: Sequence[_Pending], reply: Reply) -> int | None:
    """Return where the request of ``reply`` is."""
    for place, item in enumerate(pending):
        request = item.request
        if (request.sequence, request.command) == (reply.sequence, reply.command):
            payload = 0 if request.command & 1 or reply.status else 2 * request.words
            return place if len(reply.payload) == payload else None
    return None


def _reason(status: int) -> str:
    return {Status.BAD_REQUEST.value: "the board does not know the request",
            Status.MEMORY.value: "answered with an error",
            Status.ADDRESS.value: "there is nothing at this address",
            }.get(status, f"status {status}")


def _even(address: int, length: int) -> None:
    if address < 0 or address & 1 or length & 1:
        raise ValueError(f"addresses and lengths on the link must be even, not {address:#x} and "
                         f"{length}")


def _open_failure(port: str, baud: int, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return f"there is no serial port {port}: check that the board is plugged in"
    if number in (errno.EACCES, errno.EPERM):
        return (f"no permission for serial port {port}: add yourself to the group that owns it "
                "(often dialout), then log in again")
    if number == errno.EBUSY:
        return f"serial port {port} is in use: close the other program"
    return f"cannot open serial port {port} at {baud} baud: {error}"
