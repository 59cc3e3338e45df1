"""Proves the AXI4-Lite side of the control registers."""

from amaranth.hdl import Assert, Assume, Module, Signal

from bitwright.hw.machine.control_interface import MAGIC, Registers
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.control_registers import Control
from bitwright.sim.formal.harness import after, free, holds, no_reset, past

__all__ = ["control"]

INPUTS = ("awaddr", "awvalid", "wdata", "wvalid", "bready", "araddr", "arvalid", "rready", "quiet",
          "done", "running", "error_unknown", "error_read", "error_write", "events")


def control(config: Machine) -> Module:
    """A manager that keeps the rules, and any events from the engines; assumed: what is quiet while
    all is stopped stays so (``load-ar``, ``store-aw``)."""
    m = Module()
    no_reset(m)
    m.submodules.dut = dut = Control(config)
    free(m, *(getattr(dut, name) for name in INPUTS))
    for valid, ready, payload in ((dut.awvalid, dut.awready, dut.awaddr),
                                  (dut.wvalid, dut.wready, dut.wdata),
                                  (dut.arvalid, dut.arready, dut.araddr)):
        waiting = past(m, valid & ~ready)
        m.d.comb += Assume(~waiting | (valid & (payload == past(m, payload))))

    m.d.comb += Assume(~past(m, dut.quiet & dut.stop) | dut.quiet)

    write, read = dut.awvalid & dut.awready, dut.arvalid & dut.arready
    holds(m, dut.bvalid, dut.bready, dut.bresp, name="B")
    holds(m, dut.rvalid, dut.rready, dut.rdata, dut.rresp, name="R")
    m.d.comb += [
        Assert(~dut.awready | dut.awvalid, "AW taken without valid"),
        Assert((dut.awvalid & dut.awready) == (dut.wvalid & dut.wready),
               "an address taken without its data"),
        Assert(~dut.arready | dut.arvalid, "AR taken without valid"),
    ]
    for valid, ready, request, name in ((dut.bvalid, dut.bready, write, "write"),
                                        (dut.rvalid, dut.rready, read, "read")):
        owed = Signal(2, name=f"{name}s_owed")
        m.d.sync += owed.eq(owed + request - (valid & ready))
        m.d.comb += Assert(owed == valid, f"a {name} not answered in the next cycle, or twice")

    program = Signal(32)   # as last written
    with m.If(write & (dut.awaddr == Registers.PROGRAM)):
        m.d.sync += program.eq(dut.wdata)
    address = past(m, dut.araddr)
    answered = past(m, read) & after(m, 1)
    for register, value in ((Registers.MAGIC, MAGIC), (Registers.PROGRAM, past(m, program)),
                            (Registers.IDENTITY, config.identity())):
        m.d.comb += Assert(~answered | (address != register) | (dut.rdata == value),
                           f"register {register:#x} read wrong")
    m.d.comb += [
        Assert(dut.program == program, "program address differs from what was written"),
        Assert(~dut.start | past(m, write & (dut.awaddr == Registers.CONTROL) & dut.wdata[0]),
               "start without a write that asks for it"),
        Assert(~dut.start | ~dut.stop, "start while stopped"),
        Assert(~dut.clear | (dut.quiet & dut.stop), "clear while a burst is in flight"),
        Assert(~past(m, dut.clear) | dut.stop, "not stopped while the engines are reset"),
    ]
    return m
