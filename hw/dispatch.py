"""Dispatcher: fetches a program, runs its loops and address registers, feeds the engines."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.axi import instruction_layout
from hw.isa import (
    INSTRUCTION_BITS,
    INSTRUCTION_BYTES,
    LOOP_DEPTH,
    OPCODE_BITS,
    OPS,
    REGISTER_BITS,
    REGISTERS,
    Target,
)
from hw.load import PROGRAM_TARGET

__all__ = ["Dispatcher", "DISPATCH_CYCLES", "ENGINES"]

DISPATCH_CYCLES = 3   # read, operands, issue: cycles per instruction that finds its queue free
ENGINES = ("load", "exec", "store")


class Dispatcher(wiring.Component):
    """Runs one program from ``start`` to ``halt``.

    The program comes into the program buffer as one load of ``length`` instructions from
    ``address``. Then every instruction takes 3 cycles, longer while its engine's queue is full.
    After ``halt`` the dispatcher waits for ``engines_idle`` and raises ``done``.

    Members
    -------
    start, address, length : begin; byte address, instructions (checked by the caller)
    stop : dispatch nothing more
    write_en, write_addr, write_data : program buffer write, by beat
    program_done : the fetch has finished
    <engine>, <engine>_valid, <engine>_ready : instruction for ``load``, ``exec``, ``store``
    credit_queue, credit_count, credit_valid : token credits
    running : dispatching or waiting for engines after the fetch
    done : pulse; unknown : pulse, an opcode that does not exist
    """

    def __init__(self, config):
        self._config = config
        self._last_target = Target.TABLE if config.decodes else Target.SCALES
        ports = {
            "start": In(1), "address": In(32), "length": In(16), "stop": In(1),
            "write_en": In(1), "write_addr": In(24), "write_data": In(config.memory_bits),
            "program_done": In(1), "engines_idle": In(1),
            "credit_queue": Out(3), "credit_count": Out(8), "credit_valid": Out(1),
            "running": Out(1), "done": Out(1), "unknown": Out(1),
        }
        for name in ENGINES:
            ports |= {name: Out(instruction_layout(name)), f"{name}_valid": Out(1),
                      f"{name}_ready": In(1)}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.program = program = Memory(shape=INSTRUCTION_BITS, init=[],
                                                depth=config.program_depth)
        write = program.write_port(granularity=config.memory_bits)
        read = program.read_port()
        beats = INSTRUCTION_BITS // config.memory_bits
        lane_bits = beats.bit_length() - 1
        m.d.comb += [
            write.addr.eq(self.write_addr >> lane_bits),
            write.data.eq(self.write_data.replicate(beats)),
            write.en.eq(Mux(self.write_en, 1 << self.write_addr[:lane_bits], 0)),
        ]

        pc = Signal(range(config.program_depth))
        word = Signal(INSTRUCTION_BITS)
        m.d.comb += read.addr.eq(pc)
        registers = Array(Signal(32, name=f"r{i}") for i in range(REGISTERS))
        fetch = Signal(instruction_layout("load"))
        m.d.comb += [fetch.dram.eq(self.address), fetch.target.eq(PROGRAM_TARGET),
                     fetch.beats.eq(self.length * (INSTRUCTION_BYTES // config.beat_bytes))]
        resolved = {name: Signal(instruction_layout(name), name=f"{name}_resolved")
                    for name in ENGINES}
        fetching = Signal()
        m.d.comb += [self.load.eq(Mux(fetching, fetch, resolved["load"])),
                     self.exec.eq(resolved["exec"]), self.store.eq(resolved["store"])]

        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [pc.eq(0), *(register.eq(0) for register in registers)]
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += [fetching.eq(1), self.load_valid.eq(1)]
                with m.If(self.load_ready):
                    m.next = "FETCHING"
            with m.State("FETCHING"):
                with m.If(self.program_done):
                    m.next = "READ"
            with m.State("READ"):
                with m.If(~self.stop):
                    m.next = "OPERANDS"
            with m.State("OPERANDS"):
                self._resolve(m, read.data, registers, resolved)
                m.d.sync += word.eq(read.data)
                m.next = "ISSUE"
            with m.State("ISSUE"):
                self._issue(m, pc, word, registers)
            with m.State("DRAIN"):
                with m.If(self.engines_idle):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
            with m.State("STUCK"):
                pass  # after an unknown opcode, until reset
        m.d.comb += self.running.eq(fsm.ongoing("READ") | fsm.ongoing("OPERANDS")
                                    | fsm.ongoing("ISSUE") | fsm.ongoing("DRAIN"))
        return m

    def _resolve(self, m, raw, registers, resolved):
        """Add address registers to the fields that name one."""
        for name, target in resolved.items():
            layout = OPS[name].layout
            for field in OPS[name].fields:
                at, bits = layout[field.name]
                value = raw[at:at + bits]
                if field.base:
                    reg = layout[field.name + "_reg"][0]
                    value = value + registers[raw[reg:reg + REGISTER_BITS]]
                m.d.sync += target[field.name].eq(value)

    def _issue(self, m, pc, word, registers):
        def part(op, name):
            at, bits = OPS[op].layout[name]
            return word[at:at + bits]

        level = Signal(range(LOOP_DEPTH + 1))
        starts = Array(Signal.like(pc, name=f"loop_start{i}") for i in range(LOOP_DEPTH))
        counts = Array(Signal(16, name=f"loop_count{i}") for i in range(LOOP_DEPTH))
        top = Signal(range(LOOP_DEPTH))
        m.d.comb += top.eq(level - 1)

        def advance(to=None):
            m.d.sync += pc.eq(pc + 1 if to is None else to)
            m.next = "READ"

        with m.Switch(word[:OPCODE_BITS]):
            with m.Case(OPS["halt"].code):
                m.d.sync += level.eq(0)
                m.next = "DRAIN"
            with m.Case(OPS["loop"].code):
                m.d.sync += [starts[level].eq(pc + 1), counts[level].eq(part("loop", "count")),
                             level.eq(level + 1)]
                advance()
            with m.Case(OPS["end"].code):
                with m.If(counts[top] == 1):
                    m.d.sync += level.eq(top)
                    advance()
                with m.Else():
                    m.d.sync += counts[top].eq(counts[top] - 1)
                    advance(starts[top])
            with m.Case(OPS["add"].code):
                reg = part("add", "reg")
                with m.If(reg != 0):
                    m.d.sync += registers[reg].eq(registers[reg] + part("add", "value"))
                advance()
            with m.Case(OPS["credit"].code):
                m.d.comb += [self.credit_valid.eq(1),
                             self.credit_queue.eq(part("credit", "queue")),
                             self.credit_count.eq(part("credit", "count"))]
                advance()
            with m.Case(OPS["load"].code):
                with m.If(part("load", "target") > self._last_target):
                    m.d.comb += self.unknown.eq(1)
                    m.next = "STUCK"
                with m.Else():
                    m.d.comb += self.load_valid.eq(~self.stop)
                    with m.If(self.load_ready & ~self.stop):
                        advance()
            for name in ("exec", "store"):
                with m.Case(OPS[name].code):
                    valid, ready = getattr(self, f"{name}_valid"), getattr(self, f"{name}_ready")
                    m.d.comb += valid.eq(~self.stop)
                    with m.If(ready & ~self.stop):
                        advance()
            with m.Default():
                m.d.comb += self.unknown.eq(1)
                m.next = "STUCK"
