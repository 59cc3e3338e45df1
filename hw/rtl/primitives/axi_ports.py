"""Port lists of the two AXI buses, and the burst splitter both DMA engines share."""

from amaranth import *
from amaranth.lib.wiring import In, Out

__all__ = ["AXI4_PORTS", "AXI4_LITE_PORTS", "burst_length", "instruction_layout"]


def AXI4_PORTS(memory_bits):
    """AXI4 manager ports of ``memory_bits`` data: INCR bursts, one ID, full-width beats."""
    beat = memory_bits // 8
    address = {"addr": Out(32), "len": Out(8), "size": Out(3, init=(beat - 1).bit_length()),
               "burst": Out(2, init=1), "id": Out(1), "prot": Out(3), "valid": Out(1),
               "ready": In(1)}
    ports = {channel + name: member for channel in ("ar", "aw")
             for name, member in address.items()}
    return ports | {
        "rdata": In(memory_bits), "rresp": In(2), "rlast": In(1), "rid": In(1), "rvalid": In(1),
        "rready": Out(1),
        "wdata": Out(memory_bits), "wstrb": Out(beat, init=(1 << beat) - 1), "wlast": Out(1),
        "wvalid": Out(1), "wready": In(1),
        "bresp": In(2), "bid": In(1), "bvalid": In(1), "bready": Out(1),
    }


AXI4_LITE_PORTS = {
    "awaddr": In(8), "awprot": In(3), "awvalid": In(1), "awready": Out(1),
    "wdata": In(32), "wstrb": In(4), "wvalid": In(1), "wready": Out(1),
    "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
    "araddr": In(8), "arprot": In(3), "arvalid": In(1), "arready": Out(1),
    "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1),
}


def burst_length(config, address, remaining):
    """Beats of the next burst: up to the next multiple of the longest burst, or what remains; and
    whether that is all."""
    offset = address[config.beat_bytes.bit_length() - 1:][:(config.burst_beats - 1).bit_length()]
    room = config.burst_beats - offset
    return Mux(remaining <= room, remaining, room), remaining <= room
