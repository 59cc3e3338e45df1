"""Memories of the chip's block RAM."""

from amaranth.lib.memory import Memory

__all__ = ["block_ram"]


def block_ram(shape, depth, init=(), *, always=False):
    """A memory of which no word is read in the cycle in which it is written, or then in vain: so
    that synthesis need not hold to one of the two values, which costs registers on iCE40.

    ``always``: in block RAM however small it is, where synthesis would take registers."""
    style = {"ram_style": "block"} if always else {}
    return Memory(shape=shape, depth=depth, init=init, attrs={"no_rw_check": 1, **style})
