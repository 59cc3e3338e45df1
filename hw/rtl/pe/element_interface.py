"""Defines the interface of an element's circuit to its row, and holds what elements share.

A circuit is a component that is made from a machine. It has the ports ``slice_i``, ``slice_o``,
``mult_i``, ``mult_o``, ``acc_en_i``, ``last_i``, ``raddr_i``, ``first_i``, ``emit_i``, ``we_i``,
``waddr_i`` and ``result_o`` as :func:`stationary_ports` has them, those that :meth:`held` names,
and the members of :class:`StationaryPE`.
"""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.elements import loaded
from bitwright.hw.rtl.fabric.dsp_and_memory import PsumMemory

__all__ = ["ElementPE", "StationaryPE", "accumulator", "back_half", "circuit_of",
           "stationary_ports"]


def circuit_of(config):
    """Return the class of the circuit of the machine's element."""
    return loaded(config.element.circuit)


def stationary_ports(config):
    """Members of the signature of an element that takes activations over by ``swap_i``."""
    channel = range(config.psum_depth)
    return {
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
    }


class ElementPE(wiring.Component):
    """The base of all elements: the latencies that the element's description gives.

    ``acc_en_i`` and ``last_i`` come two cycles before the sum.
    """

    def __init__(self, config, ports):
        self._config = config
        super().__init__(ports)

    @property
    def s_latency(self):
        """Cycles from ``slice_i`` to S and ``mult_o``."""
        return self._config.sum_latency

    @property
    def product_latency(self):
        """Cycles from ``slice_i`` to the product, ``first_i`` and ``emit_i``."""
        return self._config.product_latency

    @property
    def result_latency(self):
        """Cycles from ``slice_i`` to ``result_o``, ``we_i`` and ``waddr_i``."""
        return self._config.result_latency


class StationaryPE(ElementPE):
    """The base of elements that hold activations in registers."""

    def __init__(self, config):
        super().__init__(config, stationary_ports(config))

    def held(self, m, row, slot):
        """Return the values of the ports that are the same for all elements of ``row``: here what
        fills the shadow registers and takes them over. ``slot`` controls the slice at the row."""
        return {"w_step": row.w_step, "w_data": row.w_data, "swap_i": slot.swap}

    @staticmethod
    def decoded(fields):
        """Return the lanes of a slice from the entries that the decoder looked up."""
        return fields


def accumulator(m, element, acc, total):
    """A cycle after ``acc_en_i`` of ``element``, ``acc`` takes ``total``, or 0 with ``last_i`` and
    after a reset. Returns the signal of that 0, from a register near the multiplier, which takes
    the sum of a digit then."""
    acc_en, load = Signal(), Signal(init=1)
    m.d.sync += [acc_en.eq(element.acc_en_i), load.eq(element.acc_en_i & element.last_i)]
    with m.If(load):
        m.d.sync += acc.eq(0)
    with m.Elif(acc_en):
        m.d.sync += acc.eq(total)
    return load


def back_half(m, element, multiplier, total, load, add):
    """From a digit's sum, ``total`` where ``load`` is 1, through ``multiplier`` and the partial
    sums to ``result_o``. ``add(psum, product, first)`` is the element's adder."""
    assert multiplier.latency == element.product_latency - element.s_latency
    m.submodules.multiplier = multiplier
    m.submodules.psums = psums = PsumMemory(element._config)
    result = Signal(signed(element._config.psum_bits), reset_less=True)
    m.d.comb += [
        multiplier.a.eq(total), multiplier.load.eq(load), multiplier.b.eq(element.mult_i),
        psums.r_addr.eq(element.raddr_i), psums.w_en.eq(element.we_i),
        psums.w_addr.eq(element.waddr_i), psums.w_data.eq(result), element.result_o.eq(result),
    ]
    with m.If(element.emit_i):
        m.d.sync += result.eq(add(psums.r_data, multiplier.p, element.first_i))
