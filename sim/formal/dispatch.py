"""Handshakes from the dispatcher to the engines, and of the two stages of ``exec``."""

from amaranth.hdl import Assert, Assume, Module, Value

from hw.config import Machine
from hw.dispatch import ENGINES, Dispatcher
from hw.tables import TableFiller
from sim.formal.harness import free, holds, no_reset, past

__all__ = ["dispatcher", "filler_tokens"]


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


def filler_tokens(config: Machine) -> Module:
    """First stage of ``exec``, any instructions and tokens."""
    m = Module()
    no_reset(m)
    m.submodules.dut = dut = TableFiller(config)
    free(m, dut.instr, dut.instr_valid, dut.ready_w, dut.ready_a, dut.ready_out, dut.job_ready,
         dut.read_data, dut.full)
    m.d.comb += [
        Assert(~dut.instr_take | dut.instr_valid, "taken without valid"),
        Assert(dut.instr_take == dut.job_valid, "an instruction lost or made up on its way"),
        Assert(~dut.job_valid | dut.job_ready, "passed on without room"),
        Assert(Value.cast(dut.job) == Value.cast(dut.instr), "changed on its way"),
        *(Assert(~dut.instr_take | ~dut.instr[f"wait_{name}"] | getattr(dut, f"ready_{name}"),
                 f"token {name} taken where there is none") for name in ("w", "a", "out")),
    ]
    return m
