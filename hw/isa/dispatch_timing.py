"""Says how many cycles the dispatcher takes for an instruction."""

from bitwright.hw.isa.instruction_table import OPS

__all__ = ["DISPATCH_CYCLES", "dispatch_cycles"]

DISPATCH_CYCLES = 3   # read, decode, issue


def dispatch_cycles(op: str) -> int:
    """Return the cycles of instruction ``op`` that finds its engine's queue free: one more per
    address."""
    return DISPATCH_CYCLES + len(OPS[op].addresses)
