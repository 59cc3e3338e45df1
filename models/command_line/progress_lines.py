"""Shows progress of long work where there is no terminal: a line now and then."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["EVERY", "counted"]

T = TypeVar("T")
EVERY = 2.0  # seconds between lines


def counted(items: Sequence[T], what: str, say: Callable[[str], None],
            every: float = EVERY) -> Iterator[T]:
    """Yield ``items``; say how many are done once ``every`` seconds have passed since the last
    line. Work shorter than that says nothing."""
    last = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - last >= every:
            say(f"{what}: {number} of {len(items)} done")
            last = time.monotonic()
        yield item
