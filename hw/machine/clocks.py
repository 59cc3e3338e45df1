"""The clocks at which named machines run on their boards."""

__all__ = ["OTHERS_MHZ", "clock_mhz", "set_clock"]

OTHERS_MHZ: float = 80       # of machines that belong to no board
_MHZ: dict[str, float] = {
    "icebreaker": 24, "orangecrab-25f": 48, "orangecrab-85f": 48, "ulx3s-12f": 80, "ulx3s-85f": 80}


def clock_mhz(machine: str) -> float:
    """Return the clock of the machine called ``machine``, in MHz."""
    return _MHZ.get(machine, OTHERS_MHZ)


def set_clock(machine: str, mhz: float) -> None:
    """State the clock of a machine of a board that was added. A clock that is known stays."""
    _MHZ.setdefault(machine, mhz)
