"""What is on the chip of a board: clocks, reset, pins, and the system between them."""

from amaranth import *
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

from bitwright.fpga.soc.on_chip_memory import OnChipMemory
from bitwright.fpga.soc.pll import Ecp5Clock, Ice40Clock, ecp5_pll, ice40_pll
from bitwright.fpga.soc.sdram_controller import SdramController
from bitwright.fpga.soc.sdram_timing import ULX3S
from bitwright.fpga.soc.system import System

__all__ = ["Top"]

HOLD_BITS = 12          # the reset is held for 2^12 cycles: iCE40 block RAM starts late
PIN_REGISTERS = 2       # one on the way to the SDRAM, one on the way back


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
        (self._ecp5_clock if board.family == "ecp5" else self._ice40_clock)(m, platform)
        chip = board.sdram_phase is None
        if chip:
            memory = OnChipMemory(board.memory_bytes, board.family)
        else:
            cas = ULX3S.cycles(board.clock_mhz).cas
            memory = SdramController(clock_mhz=board.clock_mhz, read_delay=cas + PIN_REGISTERS)
        m.submodules.system = system = System(self._machine, memory, link,
                                              wraps=chip,
                                              sliced=not chip)
        if not chip:
            self._sdram(m, platform.request("sdram", dir={name: "-" for name in (
                "clk", "clk_en", "cs", "we", "ras", "cas", "ba", "a", "dq", "dqm")}), memory)
        uart = platform.request("uart", dir={
            line.name: "-" for line in platform.lookup("uart").ios})
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.FFBuffer("o", uart.tx)
        m.d.comb += [system.rx.eq(rx.i), tx.o.eq(system.tx)]
        return m

    def _ecp5_clock(self, m, platform):
        board = self._board
        pll = ecp5_pll(board.oscillator_mhz, board.clock_mhz, board.sdram_phase or 0)
        m.submodules.pll = clock = Ecp5Clock(pll)
        m.submodules.pin = pin = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        m.d.comb += clock.pin.eq(pin.i)
        m.domains.chip = ClockDomain(reset_less=True, local=True)
        m.d.comb += ClockSignal("chip").eq(clock.shifted)
        self._reset(m, clock, platform.request(board.button, 0, dir="-"))

    def _ice40_clock(self, m, platform):
        board = self._board
        m.submodules.pll = clock = Ice40Clock(
            ice40_pll(board.oscillator_mhz, board.clock_mhz),
            platform.request(platform.default_clk, dir="-"))
        self._reset(m, clock, platform.request(board.button, 0, dir="-"))

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

    @staticmethod
    def _sdram(m, pins, memory):
        """Pins of the chip, registered; its clock comes from the PLL by way of a DDR cell."""
        m.submodules.chip_clock = clock = io.DDRBuffer("o", pins.clk, o_domain="chip")
        m.d.comb += [clock.o[0].eq(1), clock.o[1].eq(0)]
        for name, value in (("clk_en", memory.cke), ("cs", ~memory.cs_n), ("we", ~memory.we_n),
                            ("ras", ~memory.ras_n), ("cas", ~memory.cas_n), ("ba", memory.ba),
                            ("a", memory.a), ("dqm", memory.dqm)):
            m.submodules[name] = buffer = io.FFBuffer("o", getattr(pins, name))
            m.d.comb += buffer.o.eq(value)
        m.submodules.dq = data = io.FFBuffer("io", pins.dq)
        m.d.comb += [data.o.eq(memory.dq_o), data.oe.eq(memory.dq_oe), memory.dq_i.eq(data.i)]
