"""Records a run of the cycle model: cycles by cause, and events for a timeline."""

from collections.abc import Mapping
from typing import Protocol

__all__ = ["CAUSES", "Recorder", "WAITS"]

# Each cycle of a run has one cause: what the sequencer does in it, or what its next job lacks.
CAUSES = {
    "compute": "a slice goes through the array, of weights or of an offset",
    "scales": "a channel's slot is longer than its slices, for the multiplier by the scale",
    "drain": "a channel's last slot is longer than its slices, for results to leave the array",
    "tables": "tables are being filled with activations",
    "handover": "tables are full, and the sequencer takes them over",
    "weights": "weights or scales have not come yet",
    "activations": "activations have not come yet",
    "outputs": "the output buffer is full of results to be stored",
    "stores": "the dispatcher waits for room in the store engine's queue",
    "loads": "the dispatcher waits for room in the load engine's queue",
    "instructions": "the dispatcher is on its way to the next exec, or to the program's end",
    "finish": "all is dispatched and the last slice is through; last results are stored",
}
WAITS = {"execute_wait_w_ready": "weights", "execute_wait_a_ready": "activations",
         "execute_wait_out_free": "outputs"}


class Recorder(Protocol):
    """Receives the events of a run."""

    def event(self, track: str, name: str, start: int, end: int, values: Mapping[str, int], /
              ) -> None:
        """Record that a track does something. Cycles count from the start pulse; ``end`` is
        exclusive. Events of one track come in the order of time and never overlap."""

    @property
    def full(self) -> bool:
        """Say whether repetition may be left out from here on."""

    def skip(self) -> None:
        """Repetition was left out: time has moved on without events."""
