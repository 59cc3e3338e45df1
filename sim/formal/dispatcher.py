"""Proves the handshakes from the dispatcher to the engines."""

from amaranth.hdl import Assert, Assume, Cat, Module, Value

from bitwright.hw.isa.instruction_table import OPCODE_BITS, OPS
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.core.dispatcher import ENGINES, Dispatcher
from bitwright.sim.formal.harness import Probe, free, holds, no_reset, past

__all__ = ["dispatcher"]


def dispatcher(config: Machine) -> Module:
    """Any program, engines that take what they are offered at any time."""
    m = Module()
    no_reset(m)
    dut = Dispatcher(config)
    probe = Probe(m, dut)
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
    # What kind of instruction a word is, is kept beside it; of none after reset.
    kind, opcode = probe("kind"), probe("word")[:OPCODE_BITS]
    codes = [op.code for op in OPS.values()]
    m.d.comb += Assert((kind == 0) | (kind == Cat(
        *(opcode == code for code in codes), ~Cat(opcode == code for code in codes).any(),
        Cat(opcode == OPS[name].code for name in ENGINES).any())))
    m.d.comb += [
        Assert(~(valids[0] & valids[1] | valids[0] & valids[2] | valids[1] & valids[2]),
               "one instruction offered to two engines"),
        Assert(~past(m, taken[0] | taken[1] | taken[2])
               | ~(valids[0] | valids[1] | valids[2] | dut.credit_valid),
               "an instruction taken is offered again"),
    ]
    return m

