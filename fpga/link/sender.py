"""Replies to bytes on the wire."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from fpga.link.frames import CRC_START, ESCAPE, FLAG, FLIP
from fpga.link.intake import crc_step

__all__ = ["Sender"]

WORDS = 128


class Sender(wiring.Component):
    """Sends one reply per ``start``; the fields and the payload stay until ``done``.

    Members
    -------
    start, done : one cycle each
    sequence, command, status : of the reply
    has_payload, last : whether there is a payload, and its last word's number
    index, word : word number asked for, and the word, at most 4 cycles later
    byte, valid, ready : to the UART transmitter
    """
    start: In(1)
    done: Out(1)
    sequence: In(8)
    command: In(8)
    status: In(2)
    has_payload: In(1)
    last: In(range(WORDS))
    index: Out(range(WORDS))
    word: In(16)
    byte: Out(8)
    valid: Out(1)
    ready: In(1)

    def elaborate(self, platform):
        m = Module()
        crc, value = Signal(16, init=CRC_START), Signal(8)
        border, escaped, half = Signal(), Signal(), Signal()
        special = ~border & ~escaped & ((value == FLAG) | (value == ESCAPE))
        sent = Signal()    # ``value`` is taken, after its escape
        m.d.comb += [
            sent.eq(self.valid & self.ready & ~special),
            self.byte.eq(Mux(special, ESCAPE, value ^ Mux(escaped, FLIP, 0))),
        ]
        with m.If(self.valid & self.ready):
            m.d.sync += escaped.eq(special)

        def part(name, byte, after):
            with m.State(name):
                m.d.comb += [self.valid.eq(1), value.eq(byte)]
                with m.If(sent):
                    m.next = after

        with m.FSM() as state:
            with m.State("IDLE"):
                m.d.sync += [self.index.eq(0), half.eq(0), crc.eq(CRC_START)]
                with m.If(self.start):
                    m.next = "OPEN"
            part("OPEN", FLAG, "SEQUENCE")
            part("SEQUENCE", self.sequence, "COMMAND")
            part("COMMAND", self.command, "STATUS")
            with m.State("STATUS"):
                m.d.comb += [self.valid.eq(1), value.eq(self.status)]
                with m.If(sent):
                    m.next = "CRC_HIGH"
                    with m.If(self.has_payload):
                        m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += [self.valid.eq(1), value.eq(self.word.word_select(half, 8))]
                with m.If(sent):
                    m.d.sync += half.eq(~half)
                    with m.If(half):
                        m.d.sync += self.index.eq(self.index + 1)
                        with m.If(self.index == self.last):
                            m.next = "CRC_HIGH"
            part("CRC_HIGH", crc[8:], "CRC_LOW")
            part("CRC_LOW", crc[:8], "CLOSE")
            part("CLOSE", FLAG, "IDLE")
        m.d.comb += [border.eq(state.ongoing("OPEN") | state.ongoing("CLOSE")),
                     self.done.eq(state.ongoing("CLOSE") & sent)]
        checksum = state.ongoing("CRC_HIGH") | state.ongoing("CRC_LOW")
        with m.If(sent & ~border & ~checksum):
            m.d.sync += crc.eq(crc_step(crc, value))
        return m
