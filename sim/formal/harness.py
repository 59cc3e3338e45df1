"""Holds what wrappers share: free inputs, rules of a handshake, a schedule of port values, probes.
"""

from collections.abc import Iterable
from typing import Any

from amaranth.asserts import AnySeq
from amaranth.hdl import (
    Assert,
    Assume,
    Const,
    Fragment,
    Module,
    Mux,
    ResetSignal,
    Signal,
    Value,
)
from amaranth.lib import data

__all__ = ["Probe", "Schedule", "after", "free", "holds", "no_reset", "past", "ring", "total"]


def no_reset(m: Module) -> None:
    """The run starts in the reset state and is never reset again."""
    m.d.comb += Assume(~ResetSignal())


def free(m: Module, *ports: Any) -> None:
    """Drive ports with any value in every cycle."""
    for port in ports:
        value = Value.cast(port)
        m.d.comb += value.eq(AnySeq(value.shape()))


def past(m: Module, value: Any, cycles: int = 1, init: int = 0) -> Signal:
    """``value`` some cycles ago; ``init`` in the first cycles."""
    value = Value.cast(value)
    for _ in range(cycles):
        late = Signal(value.shape(), init=init, name="past")
        m.d.sync += late.eq(value)
        value = late
    return value


def after(m: Module, cycles: int) -> Signal:
    """Return a signal: that many cycles have passed, so that ``past`` gives a real value."""
    return past(m, 1, cycles)


def holds(m: Module, valid: Any, ready: Any, *payload: Any, name: str, unless: Any = 0) -> None:
    """Assert that an offered payload stays unchanged until it is taken. ``unless``, in the later
    cycle, lifts the rule."""
    waiting = past(m, valid & ~ready)
    m.d.comb += Assert(~waiting | valid | unless, f"{name} was withdrawn")
    for item in payload:
        m.d.comb += Assert(~waiting | unless | (Value.cast(item) == past(m, item)),
                           f"{name} changed before it was taken")


def total(terms: Iterable[Any]) -> Any:
    """Exact sum: every addition widens."""
    terms = list(terms)
    half = len(terms) // 2
    return total(terms[:half]) + total(terms[half:]) if half else terms[0]


class Probe:
    """Registers inside a unit, by name, for invariants. Adds the unit to ``m``."""

    def __init__(self, m: Module, unit: Any, name: str = "dut"):
        self._fragment = Fragment.get(unit, None)
        m.submodules[name] = self._fragment

    def view(self, path: str, like: Any) -> Any:
        """A register, seen as ``like`` is laid out."""
        return data.View(like.shape(), self(path))

    def word(self, m: Module, path: str, address: Any) -> Signal:
        """Contents of a memory at ``address``, by a read port of its own."""
        memory = self._find(path.split("."))
        index, read = Signal(range(memory._data.depth)), Signal(memory._data.shape)
        m.d.comb += index.eq(address)
        memory.read_port(domain="comb", addr=index, data=read, en=Const(1), transparent_for=())
        return read

    def _find(self, units: list[str]) -> Any:
        fragment = self._fragment
        for unit in units:
            fragment = fragment.find_subfragment(unit)
        return fragment

    def __call__(self, path: str, domain: str = "sync") -> Signal:
        *units, name = path.split(".")
        fragment = self._find(units)
        found = {id(signal): signal for statement in fragment.statements.get(domain, ())
                 for signal in statement._lhs_signals() if signal.name == name}
        if len(found) != 1:
            raise LookupError(f"{len(found)} signals are named {path!r}, not one")
        return next(iter(found.values()))


def ring(m: Module, probe: Probe, name: str, depth: int) -> None:
    """Assert how the pointers of a ``SyncFIFO`` relate in every state that it reaches."""
    level, take, put = (probe(f"{name}.{register}" if name else register)
                        for register in ("level", "consume", "produce"))
    end = take + level
    m.d.comb += [
        Assert(level <= depth), Assert(take < depth), Assert(put < depth),
        Assert(put == Mux(end >= depth, end - depth, end)),
    ]


class Schedule:
    """Values of a unit's ports, cycle by cycle; what is not scheduled is free, enables are 0."""

    def __init__(self, dut: Any, enables: Iterable[str]):
        self._dut, self._enables = dut, set(enables)
        self._at: dict[str, dict[int, Any]] = {}

    def put(self, cycle: int, **ports: Any) -> None:
        for name, value in ports.items():
            row = self._at.setdefault(name, {})
            if cycle in row:
                raise ValueError(f"port {name} is scheduled twice in cycle {cycle}")
            row[cycle] = value

    def connect(self, m: Module, name: str, value: Any) -> None:
        """Drive a port from another unit, in every cycle."""
        self._at[name] = {}
        self._enables.add(name)
        m.d.comb += Value.cast(getattr(self._dut, name)).eq(value)

    def drive(self, m: Module, now: Signal) -> None:
        for name, member in self._dut.signature.members.items():
            if not member.is_port or member.flow.name != "In":
                continue
            port = Value.cast(getattr(self._dut, name))
            if name not in self._enables:
                free(m, port)
            with m.Switch(now):
                for cycle, value in self._at.get(name, {}).items():
                    with m.Case(cycle):
                        m.d.comb += port.eq(value)
