"""Token queue between two engines: a counter that one raises and the other waits on."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["TokenQueue"]


class TokenQueue(wiring.Component):
    """Counts tokens given and not yet taken, up to 255.

    Latency: a token given in one cycle is ``ready`` in the next.

    Members
    -------
    give : a token from the producer
    credit, credit_valid : many tokens at once, from the dispatcher
    ready : at least one token
    take : the consumer takes one; only while ``ready``
    """
    give: In(1)
    credit: In(8)
    credit_valid: In(1)
    ready: Out(1)
    take: In(1)

    def elaborate(self, platform):
        m = Module()
        after = Signal(signed(9), init=-1)  # tokens, were one taken: its sign says if there is one
        m.d.comb += self.ready.eq(~after[-1])
        m.d.sync += after.eq(after + self.give - self.take + Mux(self.credit_valid, self.credit, 0))
        return m
