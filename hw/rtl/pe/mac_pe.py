"""The multiply-accumulate processing element: what one would build without tables or terms."""

from amaranth import *
from amaranth.utils import ceil_log2

from bitwright.hw.rtl.fabric.mac_blocks import (
    LaneMultiplier,
    mac_adders_for,
    scaler_for,
)
from bitwright.hw.rtl.pe.element_interface import StationaryPE, back_half

__all__ = ["MacPE", "slot_constant"]


def slot_constant(values):
    """Return how far S is above ``Σ value · activation``: 0, whatever the ``values``."""
    return 0


class MacPE(StationaryPE):
    """Multiplies ``k_tile`` stationary activations by as many weights per cycle and adds.

    Per slot (one cycle of the slice stream)::

        S     takes Σ_k value_k * activation_k           if acc_en_i and last_i
        sum   (first_i ? 0 : psum[raddr_i]) + S * mult   if emit_i

    One slot per cycle, never stalls. S is exact; the partial sum wraps. Reset changes nothing.
    ``lane_mult`` and ``fabric`` change neither a bit nor a cycle.

    Timing, in cycles after ``slice_i``; s = :attr:`s_latency`, p = :attr:`product_latency`:

    ======= =============================================================
    0       ``swap_i``: this slot is the first with the shadow activations
    1       ``slice_o``
    s - 2   ``acc_en_i``, ``last_i``
    s - 1   ``mult_i``
    s       S, held until the next one; ``mult_o``
    p - 2   ``raddr_i``
    p       product and partial sum; ``first_i``, ``emit_i``
    p + 1   ``result_o``, held until the next one; ``we_i``, ``waddr_i``
    ======= =============================================================

    Parameters
    ----------
    config : ``Machine`` with ``pe="mac"``

    Members
    -------
    slice_i, slice_o : ``ArrayLayout(signed(value_bits), k_tile)`` as ``slice_bits`` bits
    mult_i, mult_o : ``signed(mult_bits)``
    w_step : ``In(table_steps)``
        Bit ``s`` sets the shadow activations ``4 * builders * s`` and following to ``w_data``.
    w_data : ``In(ArrayLayout(signed(act_bits), 4 * builders))``
    swap_i : ``In(1)``
        The active activations become the shadow ones (as they were before this cycle's write).
    acc_en_i, last_i : ``In(1)``
    raddr_i, first_i, emit_i, we_i, waddr_i, result_o : as those of :class:`LutPE`
    """
    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.adders = adders = mac_adders_for(config)

        mult = _delayed(m, self.mult_i, "mult")
        slot = _delayed(m, self.slice_i, "slice")
        m.d.comb += [self.slice_o.eq(slot), self.mult_o.eq(mult)]

        shadow = [Signal(signed(config.act_bits), name=f"shadow{k}", reset_less=True)
                  for k in range(config.k_tile)]
        for step in range(config.table_steps):
            with m.If(self.w_step[step]):
                first = 4 * config.builders * step
                m.d.sync += [shadow[first + j].eq(value) for j, value in enumerate(self.w_data)]

        dot = self._by_lanes if config.lane_mult == "dsp" else self._by_planes
        s = Signal(signed(config.acc_bits))
        m.d.comb += s.eq(dot(m, adders, shadow, slot))

        load = _delayed(m, self.acc_en_i & self.last_i, "load")
        back_half(m, self, scaler_for(config), s, load, adders.psum)
        return m

    def _by_lanes(self, m, adders, shadow, slot):
        """S, unregistered, from one DSP block per weight."""
        config, nodes = self._config, []
        bits = config.value_bits
        for k, activation in enumerate(shadow):
            m.submodules[f"lane{k}"] = lane = LaneMultiplier(config)
            m.d.comb += [lane.a.eq(activation), lane.load.eq(self.swap_i),
                         lane.b.eq(self.slice_i[k * bits:(k + 1) * bits])]
            nodes.append(lane.p)
        for i in range(self.s_latency - lane.latency - ceil_log2(config.k_tile)):
            nodes = [_delayed(m, node, f"lane{k}_{i}") for k, node in enumerate(nodes)]
        left, right = self._tree(m, adders, nodes, 1, "lanes")
        return adders.join(left, right, 0, len(left) + 1, trees=(len(shadow) > 2,) * 2)

    def _by_planes(self, m, adders, shadow, slot):
        """S, unregistered, from a sum of gated activations for every bit of the weights."""
        config, sums = self._config, []
        bits = config.value_bits
        active = [Signal.like(activation, name=f"active{k}", reset_less=True)
                  for k, activation in enumerate(shadow)]
        with m.If(self.swap_i):
            m.d.sync += [a.eq(b) for a, b in zip(active, shadow, strict=True)]
        for p in range(bits):
            gates = [slot[k * bits + p] for k in range(config.k_tile)]
            rows = list(zip(active, gates, strict=True))
            nodes = [_delayed(m, adders.gated(*left, *right), f"pair{p}_{i}")
                     for i, (left, right) in enumerate(zip(rows[::2], rows[1::2], strict=True))]
            left, right = self._tree(m, adders, nodes, 1, f"plane{p}")
            level = ceil_log2(config.k_tile) - 1
            sums.append((_delayed(m, adders.node(level, left, right, Const(0)), f"plane{p}"),
                         True, 1))

        # Neighbours join, the top bit of all counting negative.
        for i in range(self.s_latency - 2 - ceil_log2(config.k_tile)
                       - ceil_log2(bits) + 1):
            sums = [(_delayed(m, value, f"wait{i}_{j}"), tree, weight)
                    for j, (value, tree, weight) in enumerate(sums)]
        while len(sums) > 1:
            joined = []
            for (low, low_tree, weight), (high, high_tree, top) in zip(
                    sums[::2], sums[1::2], strict=False):
                here = 2 * len(joined)
                joined.append((adders.join(
                    low, high, weight, config.sigma_bits + weight + top,
                    subtract=here + 2 == len(sums) and top == 1,
                    trees=(low_tree, high_tree)), False, weight + top))
            if len(sums) % 2:
                joined.append(sums[-1])
            if len(joined) > 1:
                joined = [(_delayed(m, value, f"join{len(joined)}_{j}"), tree, weight)
                          for j, (value, tree, weight) in enumerate(joined)]
            sums = joined
        return sums[0][0]

    def _tree(self, m, adders, nodes, level, name):
        """The last two nodes of a tree over ``nodes``, a register per level."""
        while len(nodes) > 2:
            nodes = [_delayed(m, adders.node(level, left, right, Const(0)), f"{name}_{level}_{i}")
                     for i, (left, right) in enumerate(zip(nodes[::2], nodes[1::2], strict=True))]
            level += 1
        return nodes


def _delayed(m, value, name):
    register = Signal.like(value, name=name, reset_less=True)
    m.d.sync += register.eq(value)
    return register
