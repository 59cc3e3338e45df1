"""Joins what every board holds: the core, its memory and the link, in one clock domain."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.fpga.link.arbiter import MemoryArbiter
from bitwright.fpga.link.endpoint import LinkEndpoint
from bitwright.fpga.soc.axi_register_slice import RegisterSlice
from bitwright.hw.rtl.core.core import Core
from bitwright.hw.rtl.primitives.axi_ports import AXI4_LITE_PORTS, AXI4_PORTS

__all__ = ["System"]


class System(wiring.Component):
    """Core and link share ``memory``, an AXI4 subordinate; the link also reaches the core's
    registers. With ``wraps`` the core's addresses are taken modulo ``link.memory_bytes``, which
    saves the logic for the bits above; the link's are always checked. With ``sliced`` a register
    slice stands in front of the memory, and one behind the link: the chip is large, and paths from
    one of the three to another are long.

    Members
    -------
    rx, tx : UART pins
    """

    def __init__(self, machine, memory, link, *, wraps=False, sliced=False):
        self._machine, self._memory, self._link = machine, memory, link
        self._wraps, self._sliced = wraps, sliced
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        bits = self._machine.memory_bits
        m.submodules.core = core = Core(self._machine)
        m.submodules.memory = memory = self._memory
        m.submodules.link = link = LinkEndpoint(self._link)
        m.submodules.arbiter = arbiter = MemoryArbiter(
            memory_bits=bits, outstanding=self._machine.outstanding)
        m.d.comb += [link.rx.eq(self.rx), self.tx.eq(link.tx)]
        self._connect(m, AXI4_PORTS(bits), core, "m_axi_", arbiter, "core_")
        self._connect_memory(m, "link_slice", link, "m_axi_", arbiter, "link_")
        if self._wraps:
            size = self._link.memory_bytes
            m.d.comb += [arbiter.core_araddr.eq(core.m_axi_araddr % size),
                         arbiter.core_awaddr.eq(core.m_axi_awaddr % size)]
        self._connect_memory(m, "memory_slice", arbiter, "m_axi_", memory, "")
        ports = {name: port.flip() for name, port in AXI4_LITE_PORTS.items()}
        self._connect(m, ports, link, "m_axil_", core, "s_axil_")
        return m

    def _connect_memory(self, m, name, manager, of_manager, subordinate, of_subordinate):
        ports = AXI4_PORTS(self._machine.memory_bits)
        if self._sliced:
            m.submodules[name] = between = RegisterSlice(self._machine.memory_bits)
            self._connect(m, ports, manager, of_manager, between, "s_axi_")
            manager, of_manager = between, "m_axi_"
        self._connect(m, ports, manager, of_manager, subordinate, of_subordinate)

    @staticmethod
    def _connect(m, ports, manager, of_manager, subordinate, of_subordinate):
        """Wire a bus whose manager side has ``ports``."""
        for name, port in ports.items():
            one = getattr(manager, of_manager + name)
            other = getattr(subordinate, of_subordinate + name, None)
            if other is not None:
                m.d.comb += other.eq(one) if port.flow is Out else one.eq(other)
