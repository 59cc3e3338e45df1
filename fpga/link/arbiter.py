"""The core and the link on one memory port."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.primitives.axi_ports import AXI4_PORTS

__all__ = ["MemoryArbiter"]

class Turn(wiring.Component):
    """Whose the next answer is, where answers come in the order of requests and the link has one
    request under way at most and the core ``most``.

    Members
    -------
    core, link : a request of theirs was taken; end : an answer ended
    mine : the next answer is the link's
    """
    core: In(1)
    link: In(1)
    end: In(1)
    mine: Out(1)

    def __init__(self, most):
        self._most = most
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        waiting = Signal()                      # the link's request is under way
        before = Signal(range(self._most + 1))  # answers of the core ahead of it
        after = Signal(range(self._most + 1))   # requests of the core behind it; all, if none
        m.d.comb += self.mine.eq(waiting & (before == 0))
        ended = self.end & ~self.mine
        with m.If(waiting):
            m.d.sync += [before.eq(before - ended), after.eq(after + self.core)]
            with m.If(self.end & self.mine):
                m.d.sync += waiting.eq(0)
        with m.Else():
            m.d.sync += after.eq(after + self.core - ended)
        with m.If(self.link):
            m.d.sync += [waiting.eq(1), before.eq(after - ended), after.eq(0)]
        return m


class MemoryArbiter(wiring.Component):
    """Two AXI4 managers on one port of ``memory_bits``; the core has at most ``outstanding`` bursts
    of each direction under way.

    Everything passes combinationally: while the link is idle the core sees the memory as if it
    were alone, and bursts are never cut. The link goes first when both have an address, but never
    takes the place of one that was already offered.

    The memory must answer in the order of addresses. The link must have at most one read and one
    write burst under way; neither manager may offer write data ahead of their address.

    Members
    -------
    core_*, link_* : from the managers
    m_axi_* : to the memory
    """

    def __init__(self, *, memory_bits, outstanding):
        self._outstanding = outstanding
        self._ports = AXI4_PORTS(memory_bits)
        super().__init__({
            **{f"{who}_{name}": port.flip() for who in ("core", "link")
               for name, port in self._ports.items()},
            **{f"m_axi_{name}": port for name, port in self._ports.items()},
        })

    def elaborate(self, platform):
        m = Module()
        read, data, written = (Turn(self._outstanding) for _ in range(3))
        m.submodules.read, m.submodules.data, m.submodules.written = read, data, written
        bus = self._bus("m_axi")
        address = {channel: self._address(m, channel) for channel in ("ar", "aw")}
        for turn, channel in ((read, "ar"), (data, "aw"), (written, "aw")):
            m.d.comb += [turn.core.eq(address[channel][0]), turn.link.eq(address[channel][1])]
        m.d.comb += [
            read.end.eq(bus["rvalid"] & bus["rready"] & bus["rlast"]),
            data.end.eq(bus["wvalid"] & bus["wready"] & bus["wlast"]),
            written.end.eq(bus["bvalid"] & bus["bready"]),
        ]
        for channel, turn in (("r", read), ("w", data), ("b", written)):
            self._route(m, channel, turn.mine)
        return m

    def _bus(self, prefix):
        return {name: getattr(self, f"{prefix}_{name}") for name in self._ports}

    def _route(self, m, channel, mine):
        """Pass a channel whose manager side is the link's if ``mine``, else the core's."""
        bus, core, link = map(self._bus, ("m_axi", "core", "link"))
        for name in ("data", "strb", "last", "resp", "id"):
            name = channel + name
            if name not in bus:
                continue
            if self._ports[name].flow is Out:
                m.d.comb += bus[name].eq(Mux(mine, link[name], core[name]))
            else:
                m.d.comb += [core[name].eq(bus[name]), link[name].eq(bus[name])]
        one, other = (channel + name for name in (
            ("valid", "ready") if channel == "w" else ("ready", "valid")))
        m.d.comb += [bus[one].eq(Mux(mine, link[one], core[one])),
                     core[other].eq(bus[other] & ~mine), link[other].eq(bus[other] & mine)]

    def _address(self, m, channel):
        """Pass addresses; returns whether the core's, or the link's, is taken now."""
        bus, core, link = map(self._bus, ("m_axi", "core", "link"))
        valid, ready = channel + "valid", channel + "ready"
        offered = Signal(name=f"{channel}_offered")     # by the core, not yet taken
        mine = Signal(name=f"{channel}_mine")
        m.d.comb += mine.eq(link[valid] & ~offered)
        m.d.sync += offered.eq(core[valid] & ~mine & ~bus[ready])
        for name in self._ports:
            if name.startswith(channel) and name != ready:
                m.d.comb += bus[name].eq(Mux(mine, link[name], core[name]))
        m.d.comb += [core[ready].eq(bus[ready] & ~mine), link[ready].eq(bus[ready] & mine)]
        return (core[valid] & core[ready], link[valid] & link[ready])
