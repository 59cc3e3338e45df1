"""Names the registers and counters behind the control bus, for circuits and for hosts."""

__all__ = ["COUNTERS", "COUNTER_NAMES", "EVENT_NAMES", "MAGIC", "VERSION", "Control", "Registers",
           "Status", "by_engine"]

MAGIC = 0x31525742  # "BWR1"
VERSION = 1

COUNTERS = {
    "load": ("busy", "wait_w_free", "wait_a_free"),
    "execute": ("busy", "wait_w_ready", "wait_a_ready", "wait_out_free", "wait_tables"),
    "store": ("busy", "wait_out_ready"),
}
EVENT_NAMES = tuple(f"{engine}_{name}" for engine, names in COUNTERS.items() for name in names)
COUNTER_NAMES = ("total", "run", *EVENT_NAMES)


def by_engine(counters):
    """Counters of the engines, out of all by their names."""
    return {engine: {name: counters[f"{engine}_{name}"] for name in names}
            for engine, names in COUNTERS.items()}


class Registers:
    """Byte addresses. Writes to others, and to read-only ones, have no effect; reads give 0."""
    MAGIC, IDENTITY, CONTROL, STATUS, PROGRAM, LENGTH, VERSION = range(0, 28, 4)
    COUNTERS = 0x40  # in the order of COUNTER_NAMES, 32 bits each, modulo 2^32


class Control:
    """Values of CONTROL: start the program, reset the machine."""
    START, RESET = 1, 2


class Status:
    """STATUS: bit 0 busy, 1 done, 2 error, bits 8…11 error code."""
    BUSY, DONE, ERROR = 1, 2, 4
    codes = {0: "none", 1: "unknown instruction", 2: "memory read answered with an error",
             3: "memory write answered with an error",
             4: "program length is zero or exceeds the program buffer"}
