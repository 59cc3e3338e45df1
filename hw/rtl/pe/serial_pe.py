"""The bit-serial-term processing element."""

from amaranth import *

from bitwright.hw.rtl.fabric.scale_multipliers import multiplier_for
from bitwright.hw.rtl.fabric.serial_lanes import lanes_for
from bitwright.hw.rtl.pe.element_interface import StationaryPE, accumulator, back_half

__all__ = ["SerialPE"]


class SerialPE(StationaryPE):
    """Sums ``k_tile`` stationary activations, each times one signed power of two per cycle.

    Per slot (one cycle of the slice stream), with ``a_k`` the active activations and ``t_k`` the
    terms of the slice, -8, -4, -2, -1, 0, 1, 2, 4 or 8::

        v     Σ t_k * a_k, plus the constant that
        ``bitwright.hw.packing.power_of_two_terms.slot_constant`` gives for the slot
        acc   4 * acc + v                                if acc_en_i
        S     takes that sum instead and acc is 0        if acc_en_i and last_i
        sum   (first_i ? 0 : psum[raddr_i]) + S * mult   if emit_i

    One slot per cycle, never stalls. Everything is two's complement and wraps; ``config`` gives
    widths that hold every sum of a digit whose values are within ±40. Reset clears ``acc``; S is
    not kept. With ``config.dequant == "serial"``, S is multiplied over ``config.scale_steps``
    cycles: two last slots must be that many cycles apart, and ``emit_i`` be 1 once per S.

    Timing, in cycles after ``slice_i`` of the slot, L = ``config.levels``, P = latency of the
    multiplier:

    ========= ======================================================
    0         ``swap_i`` with the first slot of new activations
    1         ``slice_o``; active activations
    2         shifted activations
    3         sums of four lanes
    2 + L     ``acc_en_i``, ``last_i``
    3 + L     v; ``mult_i`` of its digit
    4 + L     S, held until the next one; ``mult_o``
    2 + L + P ``raddr_i``
    4 + L + P product and partial sum; ``first_i``, ``emit_i``
    5 + L + P ``result_o``, held until the next one; ``we_i``, ``waddr_i``
    ========= ======================================================

    Parameters
    ----------
    config : ``Machine``

    Members
    -------
    slice_i, slice_o : ``4 * k_tile`` bits
        Lane ``k`` takes bits ``4k .. 4k+3``: exponent (2 bits), nonzero, and the sign relative to
        lane ``k & (k - 1)``, as :mod:`bitwright.hw.packing.power_of_two_terms` has them.
    mult_i, mult_o : ``signed(mult_bits)``
    w_step : ``In(table_steps)``
        Bit ``s`` writes the shadow activations of lanes ``4 * builders * s`` and following with
        ``w_data``, at the clock edge.
    w_data : ``In(ArrayLayout(signed(act_bits), 4 * builders))``
    swap_i : ``In(1)``
        The active activations become the shadow ones, as they are before that clock edge.
    acc_en_i, last_i : ``In(1)``
        Slot is accumulated; it is the last of its digit.
    raddr_i, first_i, emit_i : ``In``
        Channel, whether its partial sum starts anew, whether ``result_o`` is loaded.
    we_i, waddr_i : ``In``
        Partial sum ``waddr_i`` becomes ``result_o``.
    result_o : ``Out(signed(psum_bits))``
    """
    @staticmethod
    def decoded(fields):
        """Return terms whose signs are relative to lane ``k & (k - 1)``."""
        signs = [field[3] for field in fields]
        return [Cat(field[:3], signs[k] ^ signs[k & (k - 1)] if k else signs[0])
                for k, field in enumerate(fields)]

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.lanes = lanes = lanes_for(config)

        def registered(value, name):
            late = Signal.like(value, name=name, reset_less=True)
            m.d.sync += late.eq(value)
            return late

        slot = registered(self.slice_i, "slot")
        m.d.comb += [self.slice_o.eq(slot), self.mult_o.eq(registered(self.mult_i, "mult"))]

        active = []
        for k in range(config.k_tile):
            step, lane = divmod(k, 4 * config.builders)
            shadow = Signal(signed(config.act_bits), name=f"shadow{k}", reset_less=True)
            a = Signal.like(shadow, name=f"active{k}", reset_less=True)
            with m.If(self.w_step[step]):
                m.d.sync += shadow.eq(self.w_data[lane])
            with m.If(self.swap_i):
                m.d.sync += a.eq(shadow)
            active.append(a)

        nodes, signs = [], []
        for k in range(0, config.k_tile, 4):
            codes = [slot.word_select(k + i, 4) for i in range(4)]
            pairs = [lanes.pair(lanes.left(m, active[k + i], codes[i], f"lane{k + i}"),
                                *lanes.right(m, active[k + i + 1], codes[i + 1],
                                             f"lane{k + i + 1}"))
                     for i in (0, 2)]
            sign, inv = (registered(codes[i][3], f"sign{k + i}_1") for i in (0, 2))
            nodes.append(registered(lanes.node(2, *pairs, inv), f"quad{k}"))
            signs.append(registered(sign, f"sign{k}_2"))

        # Of every pair the sign of the right node is used and that of the left one goes on.
        for level in range(1, config.levels + 1):
            nodes = [registered(lanes.node(level + 2, left, right, inv), f"level{level}_{i}")
                     for i, (left, right, inv)
                     in enumerate(zip(nodes[::2], nodes[1::2], signs[1::2], strict=True))]
            signs = [registered(sign, f"sign{level}_{i}") for i, sign in enumerate(signs[::2])]

        acc = Signal(signed(config.acc_bits), reset_less=True)
        total = lanes.accumulate(acc, nodes[0], signs[0])
        load = accumulator(m, self, acc, total)
        back_half(m, self, multiplier_for(config, bounded=True), total, load, lanes.psum)
        return m
