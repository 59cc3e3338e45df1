"""Builds the chip of a board: clocks, reset, pins, and the system between them."""

from amaranth import *
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

from bitwright.fpga.soc.system import System

__all__ = ["Top"]

HOLD_BITS = 12          # the reset is held for 2^12 cycles: iCE40 block RAM starts late


class Top(Elaboratable):
    """``machine`` on ``board``.

    Domain ``sync`` comes from the PLL and is in reset until 2^12 cycles after the PLL has locked,
    and while the board's first button is pressed. All pins of the SDRAM are registered in their
    I/O cells. Where memory is on the chip the core's addresses wrap at its end.
    """

    def __init__(self, board, machine):
        board.check(machine)
        self._board, self._machine = board, machine

    def elaborate(self, platform):
        m = Module()
        board, link = self._board, self._board.link(self._machine)
        memory, family = board.memory, board.chip_family
        clock = family.clock(m, platform, board.oscillator_mhz, board.clock_mhz, memory.phase or 0)
        self._reset(m, clock, platform.request(board.button, 0, dir="-"))
        controller = memory.controller(family, board.clock_mhz)
        m.submodules.system = system = System(self._machine, controller, link,
                                              wraps=memory.on_chip, sliced=not memory.on_chip)
        memory.connect(m, platform, controller)
        uart = platform.request("uart", dir={
            line.name: "-" for line in platform.lookup("uart").ios})
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.FFBuffer("o", uart.tx)
        m.d.comb += [system.rx.eq(rx.i), tx.o.eq(system.tx)]
        return m

    @staticmethod
    def _reset(m, clock, button):
        m.domains.raw = ClockDomain(reset_less=True, local=True)
        m.domains.sync = ClockDomain()
        m.submodules.button = pressed = io.Buffer("i", button)
        again, hold = Signal(), Signal(HOLD_BITS + 1)
        m.submodules.again = FFSynchronizer(~clock.locked | pressed.i, again, o_domain="raw")
        reset = Signal(init=1)
        with m.If(again):
            m.d.raw += hold.eq(0)
        with m.Elif(~hold[-1]):
            m.d.raw += hold.eq(hold + 1)
        m.d.raw += reset.eq(~hold[-1])
        m.d.comb += [ClockSignal("raw").eq(clock.clock), ClockSignal("sync").eq(clock.clock),
                     ResetSignal("sync").eq(reset)]
