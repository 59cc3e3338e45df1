"""A timeline of launches in Chrome's trace event format, which Perfetto and chrome://tracing open.

One process, the machine; a track for the launches, and one per engine and for the memory's bus. A
timestamp of 1 µs stands for one cycle. Launches follow each other without a pause, each from its
start pulse on. A launch of more events than are kept shows the first and the last, with one event
per track for what is between.
"""

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bitwright.compiler.ir.memory_map import PREFILL
from bitwright.compiler.ir.program import LinearOp
from bitwright.compiler.passes.emit_programs import layer_programs
from bitwright.compiler.runtime.shared_launches import program_of_chain
from bitwright.hw.machine.description import Machine
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.cycle_model.model import CycleResult, run_cycles

__all__ = ["Events", "TRACKS", "Timeline", "timeline", "trace_text"]

TRACKS = {"dispatcher": "dispatcher", "load": "load", "tables": "table filler",
          "execute": "execute", "store": "store", "bus": "DRAM bus"}
LAUNCHES = 1               # the track's number; the others follow
MOST_OF_ONE = 5000         # events of a launch
MOST_OF_ALL = 100_000      # of several, but for LEAST_OF_ONE each
LEAST_OF_ONE = 200


class Event(NamedTuple):
    """The work of a track in the cycles from ``start`` to before ``end``."""
    track: str
    name: str
    start: int
    end: int
    values: Mapping[str, int]


class Events:
    """A :class:`Recorder` of the first and the last events of a run, at most ``most``.

    Bursts of one kind that touch are one event, and so are waits of one cause."""

    def __init__(self, most: int):
        self.first: list[Event] = []
        self.room = most - most // 2
        self.last: deque[Event] = deque(maxlen=most // 2)
        self.growing: dict[str, Event] = {}      # a track's last event
        self.left_out = False

    @property
    def full(self) -> bool:
        return len(self.first) >= self.room

    def event(self, track: str, name: str, start: int, end: int, values: Mapping[str, int], /
              ) -> None:
        event = Event(track, name, start, end, values)
        if before := self.growing.get(track):
            touches = before.name == name and before.end == start
            if touches and before.values.keys() == values.keys() and (
                    track == "bus" or not values):
                event = before._replace(end=end, values={
                    key: before.values[key] + value for key, value in values.items()})
            else:
                self._keep(before)
        self.growing[track] = event

    def _keep(self, event: Event) -> None:
        if not self.full:
            self.first.append(event)
            return
        self.left_out |= len(self.last) == self.last.maxlen
        self.last.append(event)

    def skip(self) -> None:
        self.left_out = True
        self.last.clear()
        self.growing.clear()

    def finish(self) -> list[Event]:
        """All events. What was left out of a track is one event of it."""
        for event in self.growing.values():
            self._keep(event)
        self.growing.clear()
        found = [*self.first, *self.last]
        if self.left_out:
            found += [gap for track in TRACKS if (gap := self._gap(track))]
        return sorted(found, key=lambda event: (event.start, [*TRACKS].index(event.track)))

    def _gap(self, track: str) -> Event | None:
        start = max((event.end for event in self.first if event.track == track), default=None)
        end = min((event.start for event in self.last if event.track == track), default=None)
        if start is None or end is None or end <= start:
            return None
        return Event(track, "not shown: too many events", start, end, {})


@dataclass(frozen=True)
class Timeline:
    """A launch: its counters, and its events as far as they were kept."""
    result: CycleResult
    events: Sequence[Event]


def timeline(ops: Sequence[LinearOp], memory: Memory, most: int = MOST_OF_ONE) -> Timeline:
    """The launch of one layer, or of several that share it, with at most ``most`` events and one
    more per track."""
    events, machine = Events(most), ops[0].planned.machine
    if len(ops) == 1:
        (op,) = ops
        result = run_cycles(machine, layer_programs(op)[PREFILL], memory, op.placed.program, events)
    else:
        result = run_cycles(machine, program_of_chain(ops), memory, 0, events)
    return Timeline(result, events.finish())


def _names(machine: Machine) -> Iterable[dict[str, Any]]:
    process = f"{machine.name}: 1 µs is one cycle"
    yield {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": process}}
    for number, name in enumerate(("launches", *TRACKS.values()), LAUNCHES):
        yield {"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": name}}
        yield {"ph": "M", "pid": 1, "tid": number, "name": "thread_sort_index",
               "args": {"sort_index": number}}


def _complete(track: int, name: str, start: int, end: int, values: Mapping[str, Any]
              ) -> dict[str, Any]:
    return {"ph": "X", "pid": 1, "tid": track, "name": name, "ts": start, "dur": end - start,
            "args": dict(values)}


def _about(op: LinearOp) -> dict[str, Any]:
    return {"m": op.m, "k": op.k, "n": op.n, "weights": op.weights, "macs": op.macs}


def trace_text(machine: Machine, launches: Sequence[Sequence[LinearOp]], memory: Memory) -> str:
    """The trace of launches, of one layer or several each, one after the other; the same text for
    the same."""
    most = max(LEAST_OF_ONE, min(MOST_OF_ONE, MOST_OF_ALL // len(launches)))
    number = {track: index for index, track in enumerate(TRACKS, LAUNCHES + 1)}
    events = [*_names(machine)]
    now = 0
    for ops in launches:
        found = timeline(ops, memory, most)
        counters = found.result.counters
        about = _about(ops[0]) if len(ops) == 1 else {
            "products": [{"name": op.name, **_about(op)} for op in ops]}
        values = {**about, "counters": counters, "causes": found.result.causes}
        name = " + ".join(op.name for op in ops)
        events.append(_complete(LAUNCHES, name, now, now + counters["total"], values))
        events += (_complete(number[event.track], event.name, now + event.start, now + event.end,
                             event.values) for event in found.events)
        now += counters["total"]
    lines = ",\n".join(json.dumps(event, sort_keys=True, separators=(",", ":"))
                       for event in events)
    head = json.dumps({"unit": "1 us is one cycle", "machine": machine.to_dict(), "memory": {
        "latency": memory.latency, "interval": memory.interval}, "events_of_a_launch": most},
        sort_keys=True)
    return f'{{"displayTimeUnit":"ms","otherData":{head},"traceEvents":[\n{lines}\n]}}\n'
