"""The multiply-accumulate processing element: the baseline."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .fabric import GenericAdders, PsumMemory
from .multiplier import multiplier_for, multiplier_latency

__all__ = ["MacPE"]


class MacPE(wiring.Component):
    """Placeholder docstring."""
    def __init__(self, config):
        self._config = config
        channel = range(config.psum_depth)
        super().__init__({
            "slice_i":  In(config.slice_bits),
            "slice_o":  Out(config.slice_bits),
            "mult_i":   In(signed(config.mult_bits)),
            "mult_o":   Out(signed(config.mult_bits)),
            "w_step":   In(config.table_steps),
            "w_data":   In(data.ArrayLayout(signed(config.act_bits), 4 * config.builders)),
            "swap_i":   In(1),
            "acc_en_i": In(1),
            "last_i":   In(1),
            "raddr_i":  In(channel),
            "first_i":  In(1),
            "emit_i":   In(1),
            "we_i":     In(1),
            "waddr_i":  In(channel),
            "result_o": Out(signed(config.psum_bits)),
        })

    @property
    def s_latency(self):
        return self._config.levels + 5  # slot, product, levels + 2, S

    @property
    def product_latency(self):
        return self.s_latency + multiplier_latency(self._config)

    @property
    def result_latency(self):
        return self.product_latency + 1

    def elaborate(self, platform):
        m = Module()
        config = self._config

        def registered(value, name):
            late = Signal.like(value, name=name, reset_less=True)
            m.d.sync += late.eq(value)
            return late

        slot = registered(self.slice_i, "slot")
        m.d.comb += [self.slice_o.eq(slot), self.mult_o.eq(registered(self.mult_i, "mult"))]
        nodes = []
        for k in range(config.k_tile):
            step, lane = divmod(k, 4 * config.builders)
            shadow = Signal(signed(config.act_bits), name=f"shadow{k}", reset_less=True)
            a = Signal.like(shadow, name=f"active{k}", reset_less=True)
            with m.If(self.w_step[step]):
                m.d.sync += shadow.eq(self.w_data[lane])
            with m.If(self.swap_i):
                m.d.sync += a.eq(shadow)
            w = slot.word_select(k, config.value_bits).as_signed()
            nodes.append(registered(a * w, f"product{k}"))
        while len(nodes) > 1:
            nodes = [registered(left + right, "node")
                     for left, right in zip(nodes[::2], nodes[1::2], strict=True)]
        total = Signal(signed(config.acc_bits))
        m.d.comb += total.eq(nodes[0])
        last = Signal()
        m.d.comb += last.eq(self.acc_en_i & self.last_i)
        m.submodules.multiplier = multiplier = multiplier_for(config)
        m.submodules.psums = psums = PsumMemory(config)
        result = Signal(signed(config.psum_bits), reset_less=True)
        m.d.comb += [
            multiplier.a.eq(total), multiplier.load.eq(last), multiplier.b.eq(self.mult_i),
            psums.r_addr.eq(self.raddr_i),
            psums.w_en.eq(self.we_i), psums.w_addr.eq(self.waddr_i), psums.w_data.eq(result),
            self.result_o.eq(result),
        ]
        with m.If(self.emit_i):
            m.d.sync += result.eq(GenericAdders().psum(psums.r_data, multiplier.p, self.first_i))
        return m
