"""The board's end of the link."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from bitwright.fpga.link.frames import HEADER_BYTES, MAX_PAYLOAD, Info, Status
from bitwright.fpga.link.reply_sender import Sender
from bitwright.fpga.link.request_receiver import Intake
from bitwright.fpga.link.uart import Receiver, Transmitter, bit_rate
from bitwright.hw.rtl.primitives.axi_ports import AXI4_LITE_PORTS, AXI4_PORTS

__all__ = ["LinkConfig", "LinkEndpoint"]

BURST_BITS = 4            # bursts of up to 16 beats
WORDS = MAX_PAYLOAD // 2


@dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """The settings that an endpoint is built for.

    Parameters
    ----------
    divisor : clock over baud, at least 4, whole or not
    memory_bytes : a power of two
    clock_khz, identity : for INFO
    memory_bits : width of the memory port, 16
    """
    divisor: float
    memory_bytes: int
    clock_khz: int
    identity: int
    memory_bits: int = 16

    def __post_init__(self) -> None:
        bit_rate(self.divisor)
        if self.memory_bits != 16:
            raise ValueError(f"the link needs a memory port of 16 bits, not {self.memory_bits!r}: "
                             "set memory_bits=16 in the machine")
        size = self.memory_bytes
        if size & (size - 1) or not MAX_PAYLOAD <= size < 1 << 32:
            raise ValueError("memory_bytes must be a power of two within 256…2^31, "
                             f"not {size!r}")

    @property
    def info(self) -> Info:
        return Info(clock_khz=self.clock_khz, memory_bytes=self.memory_bytes,
                    identity=self.identity)


class LinkEndpoint(wiring.Component):
    """Executes the requests that come over a UART, one after the other.

    AXI4 manager ``m_axi_*`` to memory: bursts of up to 16 beats of 16 bits, none across 32 bytes,
    one at a time; ``rready`` and ``bready`` are high whenever an answer can come. AXI4-Lite manager
    ``m_axil_*`` to the registers. Addresses from ``memory_bytes`` on never reach the bus.

    Members
    -------
    rx, tx : UART pins
    """

    def __init__(self, config):
        self._config = config
        self._info = config.info
        super().__init__({
            "rx": In(1, init=1), "tx": Out(1, init=1),
            **{"m_axi_" + name: port for name, port in AXI4_PORTS(config.memory_bits).items()},
            **{"m_axil_" + name: port.flip() for name, port in AXI4_LITE_PORTS.items()},
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = Receiver(self._config.divisor)
        m.submodules.transmitter = transmitter = Transmitter(self._config.divisor)
        m.submodules.intake = intake = Intake()
        m.submodules.sender = sender = Sender()
        # A reply's payload in the lower half, what INFO answers in the upper one; last word first.
        info = self._info.pack()
        m.submodules.buffer = buffer = Memory(shape=16, depth=2 * WORDS, init=[0] * WORDS + [
            int.from_bytes(info[at:at + 2], "little") for at in reversed(range(0, len(info), 2))])
        self._write, read = buffer.write_port(), buffer.read_port()

        self._sequence, self._command = Signal(8), Signal(8)
        self._left = Signal(8)                  # words of the payload after this one
        self._half = Signal()                   # byte of the word
        self._status = Signal(2)
        self._address = Signal((self._info.memory_bytes // 2 - 1).bit_length())   # in words
        self._outside = Signal()
        self._shift = Signal(24)                # payload bytes before the one at hand
        self._intake, self._sender = intake, sender
        m.d.comb += [
            receiver.pin.eq(self.rx), self.tx.eq(transmitter.pin),
            transmitter.data.eq(sender.byte), transmitter.valid.eq(sender.valid),
            sender.ready.eq(transmitter.ready),
            sender.sequence.eq(self._sequence), sender.command.eq(self._command),
            sender.status.eq(self._status), sender.words.eq(intake.data),
            sender.has_payload.eq(~self._command[0] & (self._status == Status.OK)),
            sender.word.eq(read.data), read.addr.eq(Cat(sender.left, self._command[2])),
            self._write.addr.eq(self._left[:WORDS.bit_length() - 1]),
        ]
        m.d.sync += [intake.byte.eq(receiver.data), intake.valid.eq(receiver.valid),
                     intake.error.eq(receiver.error)]
        with m.FSM():
            self._requests(m)
            self._memory(m)
            self._registers(m)
        return m

    def _requests(self, m):
        """Header, choice, what is left over, reply."""
        intake, command, left, half = self._intake, self._command, self._left, self._half
        reads, registers = ~command[0], command[1]
        wrong = ((command[3:] != 0) | (command[2] & (command[:2] != 0)) | left[7]
                 | (registers & (left != 1)))
        final = left == 0
        self._repeated, self._before = Signal(), Signal(2)
        self._known, self._executed = Signal(), Signal(8)   # the last register write
        m.d.comb += self._repeated.eq(self._known & (self._executed == self._sequence))
        with m.State("IDLE"):
            m.d.sync += [left.eq(HEADER_BYTES - 1), self._outside.eq(0),
                         self._status.eq(Status.OK)]
            with m.If(intake.available):
                m.next = "HEADER"
        with m.State("HEADER"):
            with m.If(intake.fresh):
                m.d.comb += intake.pop.eq(1)
                m.d.sync += left.eq(left - 1)
                with m.Switch(left[:3]):
                    with m.Case(6):
                        m.d.sync += self._sequence.eq(intake.data)
                    with m.Case(5):
                        m.d.sync += command.eq(intake.data)
                    for number in range(4):
                        with m.Case(4 - number):
                            self._load_address(m, number)
                    with m.Case(0):
                        m.d.comb += self._sender.load.eq(1)
                        m.d.sync += left.eq(intake.data)
                        m.next = "CHOOSE"
        with m.State("CHOOSE"):
            m.next = "BURST"
            with m.If(wrong):
                m.d.sync += self._status.eq(Status.BAD_REQUEST)
                m.next = "SKIP"
                with m.If(reads):
                    m.next = "CRC"
            with m.Elif(command[2]):
                m.d.sync += self._known.eq(0)
                m.next = "CRC"
            with m.Elif(registers):
                m.next = "COLLECT"
                with m.If(reads):
                    m.next = "REGISTER_ADDRESS"
                with m.Elif(self._repeated):
                    m.d.sync += self._status.eq(self._before)
                    m.next = "SKIP"
        with m.State("COLLECT"):
            with m.If(intake.fresh):
                m.d.comb += intake.pop.eq(1)
                m.d.sync += [self._shift.eq(Cat(self._shift[8:], intake.data)), half.eq(~half)]
                with m.If(half):
                    m.d.sync += left.eq(left - 1)
                with m.Elif(~registers):
                    m.next = "BEAT"
                with m.Elif(final):
                    m.next = "REGISTER_WRITE"
        with m.State("SKIP"):
            with m.If(intake.fresh):
                m.d.comb += intake.pop.eq(1)
                m.d.sync += half.eq(~half)
                with m.If(half):
                    m.d.sync += left.eq(left - 1)
                    with m.If(final):
                        m.next = "CRC"
        with m.State("CRC"):
            with m.If(intake.fresh):
                m.d.comb += [intake.pop.eq(1), self._sender.start.eq(half)]
                m.d.sync += half.eq(~half)
                with m.If(half):
                    m.next = "SEND"
        with m.State("SEND"):
            with m.If(self._sender.done):
                m.next = "IDLE"

    def _load_address(self, m, number):
        """Byte ``number`` of the address; bit 0 of the address is not kept."""
        bits = [None, *self._address] + [None] * (31 - len(self._address))
        byte = list(zip(bits[8 * number:8 * number + 8], self._intake.data, strict=True))
        m.d.sync += [bit.eq(value) for bit, value in byte if bit is not None]
        beyond = [value for bit, value in byte if bit is None][0 if number else 1:]
        if beyond:
            m.d.sync += self._outside.eq(self._outside | Cat(beyond).any())

    def _memory(self, m):
        """Bursts; one ends at a multiple of 16 words or with the payload."""
        command, left, address = self._command, self._left, self._address
        room = ~address[:BURST_BITS]
        length = Mux(left < room, left, room)[:BURST_BITS]
        final, ended = left == 0, Signal()
        end = final | (room == 0)
        ahead = address + 1
        step = [left.eq(left - 1), ended.eq(final), address.eq(ahead),
                self._outside.eq(ahead[len(address)])]
        m.d.comb += [
            *(port.eq(address << 1) for port in (self.m_axi_araddr, self.m_axi_awaddr)),
            *(port.eq(length) for port in (self.m_axi_arlen, self.m_axi_awlen)),
            self.m_axi_wdata.eq(Cat(self._shift[16:], self._intake.data)),
            self.m_axi_wlast.eq(end),
        ]
        with m.State("BURST"):
            with m.If(self._outside):
                m.d.sync += self._status.eq(Status.ADDRESS)
                m.next = "CRC"
                with m.If(command[0]):
                    m.next = "SKIP"
            with m.Elif(command[0]):
                m.d.comb += self.m_axi_awvalid.eq(1)
                with m.If(self.m_axi_awready):
                    m.next = "COLLECT"
            with m.Else():
                m.d.comb += self.m_axi_arvalid.eq(1)
                with m.If(self.m_axi_arready):
                    m.next = "READ"
        with m.State("READ"):
            m.d.comb += [self.m_axi_rready.eq(1), self._write.data.eq(self.m_axi_rdata),
                         self._write.en.eq(self.m_axi_rvalid)]
            with m.If(self.m_axi_rvalid):
                self._answer(m, self.m_axi_rresp)
                m.d.sync += step
                with m.If(end):
                    m.next = "BURST"
                    with m.If(final):
                        m.next = "CRC"
        with m.State("BEAT"):
            m.d.comb += self.m_axi_wvalid.eq(self._intake.fresh)
            with m.If(self.m_axi_wvalid & self.m_axi_wready):
                m.d.comb += self._intake.pop.eq(1)
                m.d.sync += [*step, self._half.eq(0)]
                m.next = "COLLECT"
                with m.If(end):
                    m.next = "WRITTEN"
        with m.State("WRITTEN"):
            m.d.comb += self.m_axi_bready.eq(1)
            with m.If(self.m_axi_bvalid):
                self._answer(m, self.m_axi_bresp)
                m.next = "BURST"
                with m.If(ended):
                    m.next = "CRC"

    def _answer(self, m, response):
        """Keep an error response (2, 3); the status codes are the same numbers."""
        with m.If(response[1]):
            m.d.sync += self._status.eq(self._status | response)

    def _registers(self, m):
        first = self._left[0]       # of the register's two words
        address_taken, data_taken = Signal(), Signal()
        register = Cat(Const(0, 1), self._address[:7])
        m.d.comb += [port.eq(register) for port in (self.m_axil_araddr, self.m_axil_awaddr)]
        m.d.comb += [self.m_axil_wdata.eq(Cat(self._shift, self._intake.data)),
                     self.m_axil_wstrb.eq(15)]
        with m.State("REGISTER_ADDRESS"):
            m.d.comb += self.m_axil_arvalid.eq(1)
            with m.If(self.m_axil_arready):
                m.next = "REGISTER_READ"
        with m.State("REGISTER_READ"):
            m.d.comb += [self.m_axil_rready.eq(~first),
                         self._write.data.eq(self.m_axil_rdata.word_select(~first, 16)),
                         self._write.en.eq(self.m_axil_rvalid)]
            with m.If(self.m_axil_rvalid):
                m.d.sync += self._left.eq(0)
                with m.If(~first):
                    self._answer(m, self.m_axil_rresp)
                    m.next = "CRC"
        with m.State("REGISTER_WRITE"):
            fresh = self._intake.fresh
            m.d.comb += [self.m_axil_awvalid.eq(fresh & ~address_taken),
                         self.m_axil_wvalid.eq(fresh & ~data_taken)]
            taken = (address_taken | self.m_axil_awready) & (data_taken | self.m_axil_wready)
            with m.If(fresh):
                m.d.sync += [address_taken.eq(address_taken | self.m_axil_awready),
                             data_taken.eq(data_taken | self.m_axil_wready)]
            with m.If(fresh & taken):
                m.d.comb += self._intake.pop.eq(1)
                m.d.sync += [address_taken.eq(0), data_taken.eq(0), self._half.eq(0)]
                m.next = "REGISTER_WRITTEN"
        with m.State("REGISTER_WRITTEN"):
            m.d.comb += self.m_axil_bready.eq(1)
            with m.If(self.m_axil_bvalid):
                status = Mux(self.m_axil_bresp[1], self.m_axil_bresp, 0)
                m.d.sync += [self._status.eq(status), self._before.eq(status),
                             self._known.eq(1), self._executed.eq(self._sequence)]
                m.next = "CRC"
