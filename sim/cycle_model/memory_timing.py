"""Describes the memory that simulations assume behind the core."""

from dataclasses import dataclass

__all__ = ["Memory"]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One half-duplex bus of the core's width; bursts in the order of their addresses.

    latency : cycles from a burst's address to its first beat, at least 8
    interval : cycles per beat
    """
    latency: int = 32
    interval: int = 1

    def __post_init__(self) -> None:
        if not 8 <= self.latency <= 10_000 or not 1 <= self.interval <= 64:
            raise ValueError(f"memory latency must be within 8…10000 cycles and interval within "
                             f"1…64, not {self.latency} and {self.interval}")
