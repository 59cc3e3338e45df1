"""What wrappers share: free inputs, rules of a handshake, a schedule of port values, probes."""

from collections.abc import Iterable
from typing import Any

from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Fragment, Module, Mux, ResetSignal, Signal, Value

__all__ = ["Schedule", "after", "free", "holds", "no_reset", "past", "probe", "total"]


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
    """Whether that many cycles have passed: what ``past`` gives is then real."""
    return past(m, 1, cycles)


def holds(m: Module, valid: Any, ready: Any, *payload: Any, name: str, unless: Any = 0) -> None:
    """What is offered stays, unchanged, until it is taken, or ``unless`` in the later cycle."""
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

    def __call__(self, path: str) -> Signal:
        *units, name = path.split(".")
        fragment = self._fragment
        for unit in units:
            fragment = fragment.find_subfragment(unit)
        found = {id(signal): signal for domain, statements in fragment.statements.items()
                 for statement in statements for signal in statement._lhs_signals()
                 if domain != "comb" and signal.name == name}
        if len(found) != 1:
            raise LookupError(f"{len(found)} signals are named {path!r}, not one")
        return next(iter(found.values()))


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
