"""Replies to bytes on the wire."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.fpga.link.frames import CRC_START, ESCAPE, FLAG, FLIP
from bitwright.fpga.link.request_receiver import crc_step

__all__ = ["Sender"]

WORDS = 128


class Sender(wiring.Component):
    """Sends one reply per ``start``; the fields and the payload stay until ``done``.

    Members
    -------
    start, done : one cycle each
    sequence, command, status : of the reply
    has_payload : whether there is a payload
    words, load : words of the payload, minus one; before ``start``
    left, word : the word is asked for by how many come after it, and there at most 4 cycles later
    byte, valid, ready : to the UART transmitter
    """
    start: In(1)
    done: Out(1)
    sequence: In(8)
    command: In(8)
    status: In(2)
    has_payload: In(1)
    words: In(8)
    load: In(1)
    left: Out(range(WORDS))
    word: In(16)
    byte: Out(8)
    valid: Out(1)
    ready: In(1)

    def elaborate(self, platform):
        m = Module()
        crc, value, following = Signal(16, init=CRC_START), Signal(8), Signal(8)
        # A register behind the choice: what is chosen stays for several cycles before it is taken.
        m.d.sync += value.eq(following)
        border, escaped, half = Signal(), Signal(), Signal()
        special = ~border & ~escaped & ((value == FLAG) | (value == ESCAPE))
        sent = Signal()    # ``value`` is taken, after its escape
        m.d.comb += [
            sent.eq(self.valid & self.ready & ~special),
            self.byte.eq(Mux(border, FLAG, Mux(special, ESCAPE, value ^ Mux(escaped, FLIP, 0)))),
        ]
        with m.If(self.valid & self.ready):
            m.d.sync += escaped.eq(special)

        with m.If(self.load):
            m.d.sync += self.left.eq(self.words[:len(self.left)])

        def part(name, byte, after):
            with m.State(name):
                m.d.comb += [self.valid.eq(1), following.eq(byte)]
                with m.If(sent):
                    m.next = after

        with m.FSM() as state:
            with m.State("IDLE"):
                m.d.sync += [half.eq(0), crc.eq(CRC_START)]
                with m.If(self.start):
                    m.next = "OPEN"
            part("OPEN", FLAG, "SEQUENCE")
            part("SEQUENCE", self.sequence, "COMMAND")
            part("COMMAND", self.command, "STATUS")
            with m.State("STATUS"):
                m.d.comb += [self.valid.eq(1), following.eq(self.status)]
                with m.If(sent):
                    m.next = "CRC_HIGH"
                    with m.If(self.has_payload):
                        m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += [self.valid.eq(1), following.eq(self.word.word_select(half, 8))]
                with m.If(sent):
                    m.d.sync += half.eq(~half)
                    with m.If(half):
                        m.d.sync += self.left.eq(self.left - 1)
                        with m.If(self.left == 0):
                            m.next = "CRC_HIGH"
            part("CRC_HIGH", crc[8:], "CRC_LOW")
            part("CRC_LOW", crc[8:], "CLOSE")    # its own high byte shifted the CRC up
            part("CLOSE", FLAG, "IDLE")
        m.d.comb += [border.eq(state.ongoing("OPEN") | state.ongoing("CLOSE")),
                     self.done.eq(state.ongoing("CLOSE") & sent)]
        with m.If(sent & ~border):
            m.d.sync += crc.eq(crc_step(crc, value))
        return m
