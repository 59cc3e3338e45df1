"""Control registers behind AXI4-Lite."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.machine.control_interface import (
    COUNTER_NAMES,
    EVENT_NAMES,
    MAGIC,
    VERSION,
    Registers,
)
from bitwright.hw.rtl.primitives.axi_ports import AXI4_LITE_PORTS
from bitwright.hw.rtl.primitives.counter_bank import Counters
from bitwright.hw.rtl.primitives.delay_line import delay

__all__ = ["Control"]

class Control(wiring.Component):
    """Registers, start, reset, error latch and counters.

    An error stops the machine: ``stop`` stays high, bursts in flight end, then STATUS shows it.
    A reset request is kept until ``quiet``; then ``clear`` pulses, and one cycle later, with all
    stopped to the end of it, the engines are reset: the next run starts clean.

    Members
    -------
    start, program, length : to the dispatcher
    stop, clear : to all engines
    quiet : no burst in flight; done : the program has ended
    running : after the fetch
    error_unknown, error_read, error_write : events
    events : one bit per counter of an engine, in the order of ``EVENT_NAMES``
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            **AXI4_LITE_PORTS,
            "start": Out(1), "program": Out(32), "length": Out(16), "stop": Out(1),
            "clear": Out(1), "quiet": In(1), "done": In(1), "running": In(1),
            "error_unknown": In(1), "error_read": In(1), "error_write": In(1),
            "events": In(len(EVENT_NAMES)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        busy, done, error = Signal(), Signal(), Signal(4)
        begin, resetting = Signal(), Signal()
        program, length = Signal(32), Signal(16)
        m.submodules.counters = counters = Counters(len(COUNTER_NAMES))

        write, address, value = Signal(), Signal(8), Signal(32)
        m.d.comb += [
            write.eq(self.awvalid & self.wvalid & ~self.bvalid),
            self.awready.eq(write), self.wready.eq(write),
            address.eq(self.awaddr), value.eq(self.wdata),
            self.program.eq(program), self.length.eq(length),
        ]
        cleared = Signal()  # the engines' reset, which is a register of its own
        m.d.sync += [cleared.eq(self.clear), self.stop.eq(((error != 0) | resetting) & ~cleared)]
        with m.If(self.bready):
            m.d.sync += self.bvalid.eq(0)
        bad_length = Signal()
        m.d.sync += bad_length.eq((length == 0) | (length > config.program_depth))
        with m.If(write):
            m.d.sync += self.bvalid.eq(1)
            with m.Switch(address):
                with m.Case(Registers.PROGRAM):
                    m.d.sync += program.eq(value)
                with m.Case(Registers.LENGTH):
                    m.d.sync += length.eq(Mux(value[16:].any(), 0, value))
                with m.Case(Registers.CONTROL):
                    with m.If(value[1]):
                        m.d.sync += resetting.eq(1)
                    with m.Elif(value[0] & ~busy & ~resetting & (error == 0)):
                        m.d.sync += begin.eq(1)
        with m.If(begin):
            m.d.comb += [counters.clear.eq(1), self.start.eq(~bad_length)]
            m.d.sync += [begin.eq(0), done.eq(0), busy.eq(~bad_length)]
            with m.If(bad_length):
                m.d.sync += error.eq(4)
        # Events come from far; STATUS is busy until the last are counted.
        counting, events, held = (delay(m, value, config.far, name) for name, value in (
            ("counting", busy & (error == 0)), ("events", Cat(1, self.running, self.events)),
            ("held", busy)))
        m.d.sync += counters.events.eq(Mux(counting, events, 0))
        with m.If(self.done):
            m.d.sync += [busy.eq(0), done.eq(1)]
        errors = Signal(3)
        m.d.sync += errors.eq(Cat(self.error_unknown, self.error_read, self.error_write))
        for code, event in enumerate(errors, 1):
            with m.If(event & (error == 0)):
                m.d.sync += error.eq(code)
        with m.If((error != 0) & self.quiet):
            m.d.sync += busy.eq(0)
        m.d.sync += self.clear.eq(
            resetting & self.stop & self.quiet & ~self.clear & ~cleared)
        with m.If(cleared):
            m.d.sync += [resetting.eq(0), busy.eq(0), done.eq(0), error.eq(0), errors.eq(0)]

        status = Cat(busy | held, done, (error != 0) & ~busy, Const(0, 5), error)
        self._read(m, counters, {
            Registers.MAGIC: Const(MAGIC, 32), Registers.IDENTITY: Const(config.identity(), 32),
            Registers.STATUS: status, Registers.PROGRAM: program, Registers.LENGTH: length,
            Registers.VERSION: Const(VERSION, 32),
        })
        return m

    def _read(self, m, counters, values):
        """A register is read in the next cycle; a counter waits for its turn."""
        number = self.araddr[2:6]
        counter, known = Signal(), Signal()
        m.d.comb += [
            counter.eq(self.araddr[6:] == Registers.COUNTERS >> 6),
            known.eq((self.araddr[:2] == 0) & (number < len(COUNTER_NAMES))),
            self.arready.eq(self.arvalid & ~self.rvalid
                            & (~counter | ~known | (counters.index == number))),
        ]
        with m.If(self.rready):
            m.d.sync += self.rvalid.eq(0)
        with m.If(self.arready):
            m.d.sync += [self.rvalid.eq(1), self.rdata.eq(0)]
            with m.If(counter & known):
                m.d.sync += self.rdata.eq(counters.value)
            with m.Switch(self.araddr):
                for address, value in values.items():
                    with m.Case(address):
                        m.d.sync += self.rdata.eq(value)
