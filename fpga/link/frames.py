"""Frames between host and board: every constant of the protocol, and their Python form.

A frame is FLAG, a body, the body's CRC (high byte first), FLAG; inside, FLAG and ESCAPE are sent as
ESCAPE and the byte with one bit flipped. Numbers are little-endian.
``docs/reference/link.md`` has the rest.
"""

import binascii
import struct
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["CRC_START", "ESCAPE", "FLAG", "FLIP", "HEADER_BYTES", "INFO_WORDS", "MAX_PAYLOAD",
           "VERSION", "Command", "Deframer", "Info", "Reply", "Request", "Status", "crc16", "frame"]

FLAG, ESCAPE, FLIP = 0x7E, 0x7D, 0x20
CRC_START = 0xFFFF     # CRC-16-CCITT, polynomial 0x1021, not reflected
VERSION = 1
MAX_PAYLOAD = 256      # bytes; payloads are whole words of 2 bytes
HEADER_BYTES = 7       # of a request: sequence number, command, address (4), words - 1
REPLY_BYTES = 3        # before the payload: sequence number, command, status

_HEADER = struct.Struct("<BBIB")
_INFO = struct.Struct("<HHIII")
INFO_WORDS = _INFO.size // 2


class Command(IntEnum):
    """Bit 0: the request has a payload. Bit 1: registers, not memory."""
    READ, WRITE, READ_REGISTER, WRITE_REGISTER, INFO = range(5)


class Status(IntEnum):
    """The result of a request. MEMORY is SLVERR; ADDRESS is DECERR, or outside of the memory."""
    OK, BAD_REQUEST, MEMORY, ADDRESS = range(4)


@dataclass(frozen=True, kw_only=True)
class Info:
    """The facts that a board reports of itself."""
    version: int = VERSION
    max_payload: int = MAX_PAYLOAD
    clock_khz: int
    memory_bytes: int
    identity: int

    def pack(self) -> bytes:
        return _INFO.pack(self.version, self.max_payload, self.clock_khz, self.memory_bytes,
                          self.identity)

    @classmethod
    def unpack(cls, payload: bytes) -> "Info":
        version, max_payload, clock_khz, memory_bytes, identity = _INFO.unpack(payload)
        return cls(version=version, max_payload=max_payload, clock_khz=clock_khz,
                   memory_bytes=memory_bytes, identity=identity)


@dataclass(frozen=True, kw_only=True)
class Request:
    """``words`` of 2 bytes are asked for, or are in ``payload``."""
    sequence: int
    command: Command
    address: int = 0
    words: int = 1
    payload: bytes = b""

    def pack(self) -> bytes:
        return frame(_HEADER.pack(self.sequence, self.command, self.address, self.words - 1)
                     + self.payload)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The payload of a request that reads is there if the status is OK."""
    sequence: int
    command: int
    status: int
    payload: bytes = b""

    def pack(self) -> bytes:
        return frame(bytes([self.sequence, self.command, self.status]) + self.payload)

    @classmethod
    def unpack(cls, body: bytes) -> "Reply | None":
        """The reply in the body of a frame, or None if it is none."""
        if len(body) < REPLY_BYTES:
            return None
        return cls(sequence=body[0], command=body[1], status=body[2], payload=body[REPLY_BYTES:])


def crc16(data: bytes) -> int:
    """CRC-16-CCITT; zero over a body followed by its CRC."""
    return binascii.crc_hqx(data, CRC_START)


def frame(body: bytes) -> bytes:
    """The bytes on the wire."""
    checked = body + crc16(body).to_bytes(2, "big")
    stuffed = checked.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e")
    return b"\x7e" + stuffed + b"\x7e"


class Deframer:
    """Bytes from the wire to the bodies of good frames; ``dropped`` counts the others."""

    def __init__(self) -> None:
        self._rest = b""
        self.dropped = 0

    def feed(self, data: bytes) -> list[bytes]:
        *frames, self._rest = (self._rest + data).split(b"\x7e")
        # Of noise without a FLAG, no more is kept than shows that it is not a frame.
        self._rest = self._rest[:4 * MAX_PAYLOAD]
        return [body for body in map(self._body, filter(None, frames)) if body is not None]

    def _body(self, stuffed: bytes) -> bytes | None:
        checked = stuffed.replace(b"\x7d\x5e", b"\x7e").replace(b"\x7d\x5d", b"\x7d")
        if len(checked) < 3 or crc16(checked):
            self.dropped += 1
            return None
        return checked[:-2]
