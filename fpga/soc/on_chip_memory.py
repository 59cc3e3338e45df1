"""A memory of the chip's own RAM behind an AXI4 port."""

from amaranth import *
from amaranth.lib import wiring

from bitwright.fpga.soc.burst_queue import ADDRESS, DECERR, SUBORDINATE, BurstQueue
from bitwright.hw.rtl.primitives.block_ram import block_ram

__all__ = ["OnChipMemory", "check_size"]

BLOCK_BYTES = 32768     # one SB_SPRAM256KA: 16,384 words of 16 bits
BLOCKS = 4              # in an iCE40 UP5K


def check_size(size_bytes, fabric):
    """``ValueError`` for a size that :class:`OnChipMemory` cannot have."""
    unit = BLOCK_BYTES if fabric == "ice40" else 4096
    if size_bytes < unit or size_bytes % unit:
        raise ValueError(f"size_bytes must be a multiple of {unit}, not {size_bytes!r}")
    if fabric == "ice40" and size_bytes > BLOCKS * BLOCK_BYTES:
        raise ValueError(f"size_bytes must be at most {BLOCKS * BLOCK_BYTES} on ice40, the "
                         f"four blocks of an UP5K, not {size_bytes!r}")


class _Block(wiring.Component):
    """One SPRAM: read or written when ``select``; ``read_data`` one cycle after a read."""
    select: wiring.In(1)
    write: wiring.In(1)
    address: wiring.In(14)
    mask: wiring.In(2)
    write_data: wiring.In(16)
    read_data: wiring.Out(16)

    def elaborate(self, platform):
        return Instance(
            "SB_SPRAM256KA", i_CLOCK=ClockSignal(), i_CHIPSELECT=self.select, i_WREN=self.write,
            i_ADDRESS=self.address, i_MASKWREN=Cat(bit.replicate(2) for bit in self.mask),
            i_DATAIN=self.write_data, o_DATAOUT=self.read_data, i_STANDBY=Const(0, 1),
            i_SLEEP=Const(0, 1), i_POWEROFF=Const(1, 1))


class OnChipMemory(wiring.Component):
    """AXI4 subordinate with 16-bit data and ``size_bytes`` of memory, a multiple of 4 KiB.

    Bursts of full-width beats, INCR, within 4 KiB; ``rready`` and ``bready`` must always be 1.
    One beat per cycle; bursts are served in turn, reads and writes share the cycles. Beats beyond
    the size are answered with DECERR and write nothing.

    ``fabric`` "ice40" takes SPRAM blocks, whose words hold no known value before they are written
    (one block per 32 KiB, up to four); any other takes a plain memory that starts with zeros.
    Latency from an address to its first beat: 3 cycles.
    """

    def __init__(self, size_bytes, fabric="generic"):
        check_size(size_bytes, fabric)
        self._size, self._fabric = size_bytes, fabric
        super().__init__(SUBORDINATE(16))

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = BurstQueue(size_bytes=self._size)
        for channel in ("ar", "aw"):
            for name in ADDRESS:
                outer, inner = getattr(self, channel + name), getattr(queue, channel + name)
                m.d.comb += outer.eq(inner) if name == "ready" else inner.eq(outer)
        burst = Signal(queue.burst.shape())
        active = Signal()
        last, moved = burst.left == 0, Signal()
        m.d.comb += [
            queue.wvalid.eq(self.wvalid),
            queue.take.eq(~active | (moved & last)),
            self.wready.eq(active & burst.write),
            moved.eq(active & (~burst.write | self.wvalid)),
        ]
        with m.If(queue.take):
            m.d.sync += [active.eq(queue.valid), burst.eq(queue.burst)]
        with m.Elif(moved):
            m.d.sync += [burst.address.eq(burst.address + 1), burst.left.eq(burst.left - 1)]
        response = Mux(burst.error, DECERR, 0)
        m.d.sync += [
            self.rvalid.eq(moved & ~burst.write), self.rlast.eq(last), self.rresp.eq(response),
            self.bvalid.eq(moved & burst.write & last), self.bresp.eq(response),
        ]
        access = moved & ~burst.error
        (self._spram if self._fabric == "ice40" else self._plain)(m, access, burst)
        return m

    def _plain(self, m, access, burst):
        m.submodules.memory = memory = block_ram(16, self._size // 2)
        write, read = memory.write_port(granularity=8), memory.read_port()
        m.d.comb += [
            write.addr.eq(burst.address), write.data.eq(self.wdata),
            write.en.eq(Mux(access & burst.write, self.wstrb, 0)),
            read.addr.eq(burst.address), read.en.eq(access & ~burst.write),
            self.rdata.eq(read.data),
        ]

    def _spram(self, m, access, burst):
        word, which = burst.address[:14], burst.address[14:]
        read_data = Array(Signal(16, name=f"read_{index}")
                          for index in range(self._size // BLOCK_BYTES))
        chosen = Signal.like(which)
        m.d.sync += chosen.eq(which)
        for index, data in enumerate(read_data):
            m.submodules[f"block_{index}"] = block = _Block()
            m.d.comb += [
                block.select.eq(access & (which == index)), block.write.eq(burst.write),
                block.address.eq(word), block.mask.eq(self.wstrb),
                block.write_data.eq(self.wdata), data.eq(block.read_data),
            ]
        m.d.comb += self.rdata.eq(read_data[chosen])
