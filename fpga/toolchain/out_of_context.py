"""Builds what stands around a unit that is measured out of context."""

from amaranth import *
from amaranth.back import verilog
from amaranth.hdl import Shape, Value
from amaranth.lib import wiring

__all__ = ["Pinned", "Surrounded", "bench_of", "unit_verilog", "width"]


def width(signature, flow):
    """Bits of all ports of one direction."""
    return sum(Shape.cast(member.shape).width * len(list(_places(member)))
               for member in signature.members.values() if member.flow == flow)


def _places(member):
    total = 1
    for dimension in member.dimensions:
        total *= dimension
    return range(total)


def _ports(unit, flow):
    return [Value.cast(getattr(unit, name)) for name, member in unit.signature.members.items()
            if member.flow == flow]


class Surrounded(wiring.Component):
    """A unit with a register in front of every input, so that every path of it lies between
    registers. Ports as those of the unit; ``added`` flip-flops are not the unit's."""
    def __init__(self, unit):
        self._unit = unit
        self.added = width(unit.signature, wiring.In)
        super().__init__(unit.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = self._unit
        for outer, inner in zip(_ports(self, wiring.In), _ports(self._unit, wiring.In),
                                strict=True):
            register = Signal(len(outer), reset_less=True)
            m.d.sync += register.eq(outer)
            m.d.comb += inner.eq(register)
        m.d.comb += [outer.eq(inner) for outer, inner in zip(
            _ports(self, wiring.Out), _ports(self._unit, wiring.Out), strict=True)]
        return m


class Pinned(wiring.Component):
    """A unit behind two pins, for chips with few: inputs from a shift register, outputs folded
    into one bit. ``added`` logic cells are not the unit's."""
    def __init__(self, unit):
        self._unit = unit
        self.added = width(unit.signature, wiring.In) + width(unit.signature, wiring.Out) + 1
        super().__init__({"d": wiring.In(1), "q": wiring.Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = self._unit
        inputs, outputs = (Cat(_ports(self._unit, flow)) for flow in (wiring.In, wiring.Out))
        chain = Signal(len(inputs), reset_less=True)
        folded = Signal(len(outputs), reset_less=True)
        m.d.sync += [chain.eq(Cat(self.d, chain)), self.q.eq(folded[0]),
                     folded.eq(outputs ^ (folded >> 1))]
        m.d.comb += inputs.eq(chain)
        return m


def unit_verilog(unit):
    """Verilog of module ``top``."""
    return verilog.convert(unit, name="top", emit_src=False)


def bench_of(unit, family):
    """Put ``unit`` into what it is measured in on chips of the :class:`ChipFamily`."""
    return Pinned(unit) if family.pinned else Surrounded(unit)
