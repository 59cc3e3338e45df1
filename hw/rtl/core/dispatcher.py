"""Dispatcher: fetches a program, runs its loops and address registers, feeds the engines."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.isa.instruction_table import (
    FIELDS_AT,
    INSTRUCTION_BITS,
    INSTRUCTION_BYTES,
    LOOP_DEPTH,
    OPCODE_BITS,
    OPS,
    REGISTER_BITS,
    REGISTERS,
    Target,
)
from bitwright.hw.rtl.core.load_engine import PROGRAM_TARGET
from bitwright.hw.rtl.primitives.block_ram import block_ram
from bitwright.hw.rtl.primitives.instruction_layout import instruction_layout

__all__ = ["Dispatcher", "ENGINES"]

ENGINES = ("load", "exec", "store")


class Dispatcher(wiring.Component):
    """Runs one program from ``start`` to ``halt``.

    The program comes into the program buffer as one load of ``length`` instructions from
    ``address``. Then every instruction takes the cycles of ``hw/isa/dispatch_timing.py``, longer
    while its engine's queue is full. After ``halt`` the dispatcher waits for ``engines_idle`` and
    raises ``done``.

    One adder serves all addresses: the instruction's address slots turn round once, and each
    passes the adder with its register. A register is looked up, and an instruction kept, before it
    is known which it is: the program buffer is slow.

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
        m.submodules.program = program = block_ram(INSTRUCTION_BITS,
                                                   config.program_depth)
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
        word = Signal(INSTRUCTION_BITS, reset_less=True)
        fresh = Signal()            # its addresses, if it has any, are to come
        left = Signal(range(8))     # of them
        kind = Signal(data.StructLayout({name: 1 for name in (*OPS, "unknown", "addressed")}))
        m.d.comb += read.addr.eq(pc)
        fetching, turning = Signal(), Signal()
        self._instructions(m, word, fetching)
        total, store = self._registers(m, word, read.data, turning)
        level, state, loop = self._loops(m)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += pc.eq(0)
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
                    m.next = "DECODE"
            with m.State("DECODE"):
                m.d.sync += [word.eq(read.data), fresh.eq(1)]
                self._classify(m, read.data[:OPCODE_BITS], kind)
                m.next = "ISSUE"
            with m.State("ISSUE"):
                m.d.sync += fresh.eq(0)
                with m.If(fresh & kind.addressed):
                    m.d.comb += turning.eq(1)
                    for name in ENGINES:
                        with m.If(kind[name]):
                            m.d.sync += left.eq(len(OPS[name].addresses) - 1)
                    m.next = "ADDRESS"
                with m.Else():
                    self._issue(m, pc, word, kind, level, state, loop, store)
            with m.State("ADDRESS"):
                m.d.comb += turning.eq(1)
                m.d.sync += left.eq(left - 1)
                with m.If(left == 1):
                    m.next = "ISSUE"
            with m.State("DRAIN"):
                with m.If(self.engines_idle):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
            with m.State("STUCK"):
                pass  # after an unknown opcode, until reset
        with m.If(turning):
            self._turn(m, word, kind, total)
        m.d.comb += self.running.eq(~(fsm.ongoing("IDLE") | fsm.ongoing("FETCH")
                                      | fsm.ongoing("FETCHING") | fsm.ongoing("STUCK")))
        return m

    def _instructions(self, m, word, fetching):
        """``word``, as each engine reads it; for ``load``, the fetch of the program instead."""
        fetch = {"dram": self.address, "target": PROGRAM_TARGET,
                 "beats": self.length * (INSTRUCTION_BYTES // self._config.beat_bytes)}
        fields = {name: {field: word[at:at + bits] for field, (at, bits) in
                         OPS[name].layout.items()} for name in ENGINES}
        for name in ENGINES:
            for field in OPS[name].fields:
                value = fields[name][field.name]
                if name == "load":
                    value = Mux(fetching, fetch.get(field.name, 0), value)
                m.d.comb += getattr(self, name)[field.name].eq(value)

    def _registers(self, m, word, raw, turning):
        """Address registers. Returns the sum of the first address slot and its register, and the
        enable of a write of that sum into the register."""
        m.submodules.registers = memory = block_ram(32, REGISTERS)
        write, read = memory.write_port(), memory.read_port()
        written = Signal(REGISTERS)     # since the start; others are zero, and so is register 0
        total, number = Signal(32), Signal(REGISTER_BITS)
        m.d.comb += [
            number.eq(word[OPCODE_BITS:]),
            read.addr.eq(Mux(turning, word[OPCODE_BITS + REGISTER_BITS:],
                             raw[OPCODE_BITS:])[:REGISTER_BITS]),
            total.eq(word[FIELDS_AT:FIELDS_AT + 32]
                     + Mux(written.bit_select(number, 1), read.data, 0)),
            write.addr.eq(number), write.data.eq(total),
        ]
        with m.If(self.start):
            m.d.sync += written.eq(0)
        with m.Elif(write.en & (number != 0)):
            m.d.sync += written.bit_select(number, 1).eq(1)
        return total, write.en

    def _loops(self, m):
        """A word {start, count} per open loop. Returns their number, the innermost one's word, and
        the write port."""
        m.submodules.loops = memory = block_ram(     # elsewhere there is LUT RAM
            32, LOOP_DEPTH, always=self._config.fabric == "ice40")
        level = Signal(range(LOOP_DEPTH + 1))
        read = memory.read_port()
        m.d.comb += read.addr.eq(level - 1)
        return level, read.data, memory.write_port()

    @staticmethod
    def _classify(m, opcode, kind):
        m.d.sync += [kind[name].eq(opcode == op.code) for name, op in OPS.items()]
        m.d.sync += [
            kind.unknown.eq(~Cat(opcode == op.code for op in OPS.values()).any()),
            kind.addressed.eq(Cat(opcode == OPS[name].code for name in ENGINES).any()),
        ]

    @staticmethod
    def _turn(m, word, kind, total):
        """The next register number and the next address slot come first; the sum goes last."""
        m.d.sync += word[OPCODE_BITS:FIELDS_AT - REGISTER_BITS].eq(
            word[OPCODE_BITS + REGISTER_BITS:FIELDS_AT])
        with m.Switch(Cat(kind[name] for name in ENGINES)):
            for index, name in enumerate(ENGINES):
                bits, count = OPS[name].slot_bits, len(OPS[name].addresses)
                slots = word[FIELDS_AT:FIELDS_AT + bits * count]
                with m.Case(1 << index):
                    m.d.sync += slots.eq(Cat(slots[bits:], total[:bits]))

    def _issue(self, m, pc, word, kind, level, state, loop, store):
        def part(op, name):
            at, bits = OPS[op].layout[name]
            return word[at:at + bits]

        count, start = state[:16], state[16:][:len(pc)]

        again, advance = kind.end & (count != 1), Signal()
        m.d.comb += [
            loop.addr.eq(Mux(kind.end, level - 1, level)),
            loop.data.eq(Mux(kind.end, Cat((count - 1)[:16], start),
                             Cat(part("loop", "count"), (pc + 1)[:len(pc)]))),
            loop.en.eq(kind.loop | again), store.eq(kind.add),
            self.credit_valid.eq(kind.credit), self.credit_queue.eq(part("credit", "queue")),
            self.credit_count.eq(part("credit", "count")),
        ]
        m.d.sync += level.eq(Mux(kind.halt, 0, level + kind.loop - (kind.end & ~again)))
        with m.If(advance):
            m.d.sync += pc.eq(Mux(again, start, pc + 1))
            m.next = "READ"
        with m.If(kind.halt):
            m.next = "DRAIN"
        with m.If(kind.loop | kind.end | kind.add | kind.credit):
            m.d.comb += advance.eq(1)
        beyond = kind.load & (part("load", "target") > self._last_target)
        for name in ENGINES:
            valid, ready = getattr(self, f"{name}_valid"), getattr(self, f"{name}_ready")
            with m.If(kind[name] & ~self.stop & ~beyond):
                m.d.comb += [valid.eq(1), advance.eq(ready)]
        with m.If(kind.unknown | beyond):
            m.d.comb += self.unknown.eq(1)
            m.next = "STUCK"
