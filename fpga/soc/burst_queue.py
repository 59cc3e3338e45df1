"""The order in which a memory serves the bursts of its AXI4 port."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.primitives.axi_ports import AXI4_PORTS

__all__ = ["BurstQueue", "SUBORDINATE", "burst_layout"]

ADDRESS = ("addr", "len", "valid", "ready")
DECERR = 3


def SUBORDINATE(memory_bits):
    """AXI4 subordinate ports: those of the manager with their directions turned."""
    return {name: member.flip() for name, member in AXI4_PORTS(memory_bits).items()}


def burst_layout(beats):
    """One burst of a memory of ``beats`` beats: address of its first beat, beats less one."""
    return data.StructLayout({"address": range(beats), "left": 8, "write": 1, "error": 1})


class BurstQueue(wiring.Component):
    """Takes one read and one write address ahead, and hands their bursts on in turn.

    A write is handed on once its first beat is offered (``wvalid``), so that a manager that is
    slow with its data does not keep reads waiting. A burst that does not lie within ``size_bytes``
    is marked with ``error``. Latency: 1 cycle from an address to ``valid``.

    Members
    -------
    araddr … arready, awaddr … awready, wvalid : of the AXI4 port
    burst, valid : the next burst, of :func:`burst_layout`; it may change until it is taken
    take : the burst is taken in this cycle
    """

    def __init__(self, *, size_bytes, memory_bits=16):
        self._size = size_bytes
        self._beat_bits = (memory_bits // 8).bit_length() - 1
        ports = SUBORDINATE(memory_bits)
        super().__init__({
            **{channel + name: ports[channel + name] for channel in ("ar", "aw")
               for name in ADDRESS},
            "wvalid": In(1),
            "burst": Out(burst_layout(size_bytes >> self._beat_bits)), "valid": Out(1),
            "take": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        held, bursts = {}, {}
        write_next = Signal()
        for channel in ("ar", "aw"):
            address = getattr(self, channel + "addr")
            held[channel] = Signal(name=channel + "_held")
            bursts[channel] = burst = Signal(self.burst.shape(), name=channel + "_burst")
            ready = getattr(self, channel + "ready")
            m.d.comb += ready.eq(~held[channel])
            with m.If(ready):
                m.d.sync += [
                    held[channel].eq(getattr(self, channel + "valid")),
                    burst.address.eq(address >> self._beat_bits),
                    burst.left.eq(getattr(self, channel + "len")), burst.write.eq(channel == "aw"),
                    # No burst crosses 4 KiB, and the size is a multiple of that.
                    burst.error.eq(address[12:] >= self._size >> 12),
                ]
        write_ready = held["aw"] & self.wvalid
        write = write_ready & (write_next | ~held["ar"])
        m.d.comb += [self.valid.eq(held["ar"] | write_ready),
                     self.burst.eq(Mux(write, bursts["aw"], bursts["ar"]))]
        with m.If(self.take & self.valid):
            m.d.sync += write_next.eq(~write)
            with m.If(write):
                m.d.sync += held["aw"].eq(0)
            with m.Else():
                m.d.sync += held["ar"].eq(0)
        return m
