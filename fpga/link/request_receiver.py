"""Received bytes to whole, checked requests."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from bitwright.fpga.link.frames import CRC_START, ESCAPE, FLAG, FLIP, HEADER_BYTES, MAX_PAYLOAD

__all__ = ["Intake", "crc_step"]


def crc_step(crc, byte):
    """CRC-16-CCITT after one more byte."""
    folded = crc[8:] ^ byte
    folded = (folded ^ (folded >> 4))[:8]
    return (Cat(Const(0, 8), crc[:8]) ^ (folded << 12) ^ (folded << 5) ^ folded)[:16]


class Part:
    """The parts of a frame; END is after its last byte."""
    HEADER, PAYLOAD, CRC, END = range(4)


class Intake(wiring.Component):
    """Ring buffer of requests. A frame appears in it as a whole, CRC included, once its closing
    FLAG has come and its length and CRC are right; every other is dropped, as is one for which
    there is no room.

    Members
    -------
    byte, valid, error : from the UART receiver
    available : there is at least one request
    data, fresh, pop : its next byte, when that is there; ``pop`` only then
    """
    byte: In(8)
    valid: In(1)
    error: In(1)
    available: Out(1)
    data: Out(8)
    fresh: Out(1, init=1)
    pop: In(1)

    depth = 2 * MAX_PAYLOAD

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = Memory(shape=8, depth=self.depth, init=[])
        write, read = ring.write_port(), ring.read_port()
        tail, checked, head = (Signal(range(self.depth)) for _ in range(3))
        crc = Signal(16, init=CRC_START)
        escaped, bad, has_payload = Signal(), Signal(), Signal()
        left = Signal(9, init=HEADER_BYTES - 1)   # bytes of this part still to come, minus one
        last = left == 0
        value = self.byte ^ Mux(escaped, FLIP, 0)
        part, take = Signal(2), Signal()
        m.d.comb += [
            self.available.eq(head != checked),
            read.addr.eq(head + self.pop),
            write.addr.eq(tail), write.data.eq(value), write.en.eq(take & ~bad),
        ]
        m.d.sync += [head.eq(read.addr), self.data.eq(read.data), self.fresh.eq(~self.pop)]
        with m.If(self.error):
            m.d.sync += bad.eq(1)
        with m.If(take):
            m.d.sync += [escaped.eq(0), crc.eq(crc_step(crc, value)), left.eq(left - 1)]
            with m.If((tail + 1)[:len(tail)] == head):
                m.d.sync += bad.eq(1)
            with m.Elif(~bad):
                m.d.sync += tail.eq(tail + 1)
        with m.If(take):
            with m.Switch(part):
                with m.Case(Part.HEADER):
                    with m.If(left == HEADER_BYTES - 2):
                        m.d.sync += has_payload.eq(value[0])
                    with m.If(last):
                        m.d.sync += [part.eq(Mux(has_payload, Part.PAYLOAD, Part.CRC)),
                                     left.eq(Mux(has_payload, Cat(1, value), 1))]
                with m.Case(Part.PAYLOAD):
                    with m.If(last):
                        m.d.sync += [part.eq(Part.CRC), left.eq(1)]
                with m.Case(Part.CRC):
                    with m.If(last):
                        m.d.sync += part.eq(Part.END)
                with m.Case(Part.END):
                    m.d.sync += bad.eq(1)
        with m.If(self.valid):
            with m.If(self.byte == FLAG):
                m.d.sync += [part.eq(Part.HEADER), left.eq(HEADER_BYTES - 1), bad.eq(0),
                             crc.eq(CRC_START), escaped.eq(0)]
                with m.If((part == Part.END) & ~bad & (crc == 0)):
                    m.d.sync += checked.eq(tail)
                with m.Else():
                    m.d.sync += tail.eq(checked)
            with m.Elif(self.byte == ESCAPE):
                m.d.sync += escaped.eq(1)
            with m.Else():
                m.d.comb += take.eq(1)
        return m
