"""Registers in an AXI4 bus, so that no path crosses it."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.primitives.axi_ports import AXI4_PORTS

__all__ = ["RegisterSlice"]


class Skid(wiring.Component):
    """A register in a valid/ready stream of ``width`` bits, with a second one for the word that
    comes before the first is seen to be held up. Latency: 1 cycle; throughput: a word per cycle."""

    def __init__(self, width):
        super().__init__({"w_data": In(width), "w_en": In(1), "w_rdy": Out(1, init=1),
                          "r_data": Out(width), "r_en": In(1), "r_rdy": Out(1)})

    def elaborate(self, platform):
        m = Module()
        spare = Signal.like(self.w_data)
        with m.If(self.r_en | ~self.r_rdy):
            m.d.sync += [self.r_data.eq(Mux(self.w_rdy, self.w_data, spare)),
                         self.r_rdy.eq(self.w_en | ~self.w_rdy), self.w_rdy.eq(1)]
        with m.Elif(self.w_en & self.w_rdy):
            m.d.sync += self.w_rdy.eq(0)
        with m.If(self.w_rdy):
            m.d.sync += spare.eq(self.w_data)
        return m


class RegisterSlice(wiring.Component):
    """A bus with ports as :func:`AXI4_PORTS`, one cycle longer in either direction.

    Addresses and written data wait for the memory. Answers do not: ``rready`` and ``bready`` of the
    manager must be 1 whenever an answer of the memory can be there.

    Members
    -------
    s_axi_* : to the manager; m_axi_* : to the memory
    """

    def __init__(self, memory_bits):
        self._ports = AXI4_PORTS(memory_bits)
        super().__init__({
            **{f"s_axi_{name}": port.flip() for name, port in self._ports.items()},
            **{f"m_axi_{name}": port for name, port in self._ports.items()},
        })

    def elaborate(self, platform):
        m = Module()
        for channel in ("ar", "aw", "w", "r", "b"):
            names = [name for name in self._ports if name.startswith(channel)
                     and name not in (channel + "valid", channel + "ready")]
            manager, memory = ([getattr(self, f"{side}_axi_{name}") for name in names]
                               for side in "sm")
            valids, readies = ([getattr(self, f"{side}_axi_{channel}{name}") for side in "sm"]
                               for name in ("valid", "ready"))
            if channel in ("r", "b"):
                m.d.comb += readies[1].eq(1)
                m.d.sync += [Cat(manager).eq(Cat(memory)), valids[0].eq(valids[1])]
                continue
            m.submodules[channel] = skid = Skid(len(Cat(memory)))
            m.d.comb += [
                skid.w_data.eq(Cat(manager)), skid.w_en.eq(valids[0]), readies[0].eq(skid.w_rdy),
                Cat(memory).eq(skid.r_data), valids[1].eq(skid.r_rdy), skid.r_en.eq(readies[1]),
            ]
        return m
