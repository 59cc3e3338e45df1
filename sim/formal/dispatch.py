"""Handshakes from the dispatcher to the engines."""

from amaranth.hdl import Assert, Assume, Module, Value

from hw.config import Machine
from hw.dispatch import ENGINES, Dispatcher
from sim.formal.harness import free, holds, no_reset, past

__all__ = ["dispatcher"]


def dispatcher(config: Machine) -> Module:
    """Any program, engines that take what they are offered at any time."""
    m = Module()
    no_reset(m)
    m.submodules.dut = dut = Dispatcher(config)
    free(m, dut.start, dut.address, dut.length, dut.stop, dut.write_en, dut.write_addr,
         dut.write_data, dut.program_done, dut.engines_idle,
         *(getattr(dut, f"{name}_ready") for name in ENGINES))
    # The control registers are not written between start and the fetch that takes them.
    fetching = past(m, dut.load_valid & ~dut.load_ready & ~dut.running)
    m.d.comb += [Assume(~fetching | (signal == past(m, signal)))
                 for signal in (dut.address, dut.length)]
    valids = [getattr(dut, f"{name}_valid") for name in ENGINES]
    taken = [valid & getattr(dut, f"{name}_ready") for name, valid in
             zip(ENGINES, valids, strict=True)]
    for name, valid in zip(ENGINES, valids, strict=True):
        payload = Value.cast(getattr(dut, name))
        ready = getattr(dut, f"{name}_ready")
        holds(m, valid, ready, payload, name=name, unless=dut.stop)
    m.d.comb += [
        Assert(~(valids[0] & valids[1] | valids[0] & valids[2] | valids[1] & valids[2]),
               "one instruction offered to two engines"),
        Assert(~past(m, taken[0] | taken[1] | taken[2])
               | ~(valids[0] | valids[1] | valids[2] | dut.credit_valid),
               "an instruction taken is offered again"),
    ]
    return m

