"""Proves the table entries, and the activations, that the filler writes."""

from typing import Any

from amaranth.hdl import Array, Assert, Module, Value

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.array.table_builders import FILL_LATENCY
from bitwright.hw.rtl.array.table_filler import TableFiller
from bitwright.sim.formal.harness import after, free, no_reset, past, total

__all__ = ["filler_entries", "filler_tokens"]


def _signed_sum(weights: list[int], acts: list[Any]) -> Any:
    """``Σ weight · a``, weights −1, 0 and 1."""
    terms = [a if weight > 0 else -a for weight, a in zip(weights, acts, strict=True) if weight]
    return total(terms) if terms else 0


def _entries(config: Machine) -> list[list[int]]:
    """The weight of each activation in entry x of a table, in the order a3, a2, a1, a0 (a0, a1,
    a2 for ``tl2``)."""
    def sign(x: int, bit: int) -> int:
        return 1 if x >> bit & 1 else -1
    if config.tl2:
        found = {9 * w0 + 3 * w1 + w2: [w0, w1, w2]
                 for w0 in (-1, 0, 1) for w1 in (-1, 0, 1) for w2 in (-1, 0, 1)}
        return [found[x] for x in range(14)]
    if config.table == "mux":
        return 2 * [[1, -1, 0, 0], [1, 1, 0, 0], [0, 0, 1, -1], [0, 0, 1, 1]]
    return [[1, sign(x, 2), sign(x, 1), sign(x, 0)] for x in range(8)]


def filler_entries(config: Machine) -> Module:
    """Any activation word in every cycle, any instructions; a write shows the word that was there
    one cycle after its address, two before the write."""
    m = Module()
    no_reset(m)
    m.submodules.dut = dut = TableFiller(config)
    free(m, dut.instr, dut.instr_valid, dut.ready_w, dut.ready_a, dut.ready_out, dut.job_ready,
         dut.read_data, dut.full)
    word = past(m, dut.read_data, FILL_LATENCY - 1)
    (step, *steps), (address, *addresses) = list(dut.w_step), list(dut.w_addr)
    writing = step.any() & after(m, FILL_LATENCY)
    values = [word.word_select(i, config.act_bits).as_signed()
              for i in range(len(word) // config.act_bits)]
    if config.decodes:
        written = [value for row in range(config.rows) for value in dut.w_data[row]]
        for value, out in zip(values, written, strict=True):
            m.d.comb += Assert(~writing | (out == value), "an activation written wrong")
    else:
        weights = _entries(config)
        for i in range(config.rows * config.builders):
            acts = values[4 * i:4 * i + 4]
            acts = acts[:3] if config.tl2 else acts[::-1]
            entries = Array(_signed_sum(row, acts) for row in weights)
            x = address if config.tl2 else address[:3]
            out = dut.w_data[i // config.builders][i % config.builders]
            m.d.comb += Assert(~writing | (out == entries[x]), "a table entry is wrong")
    m.d.comb += Assert((step & (step - 1)) == 0, "two steps written at once")
    for other, first in ((steps, step), (addresses, address)):
        m.d.comb += [Assert(value == first, "a row is written elsewhere") for value in other]
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
