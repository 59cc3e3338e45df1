"""Building blocks of the processing element, in plain Amaranth and in ECP5 primitives.

Every block exists once per fabric with the same ports, the same latency and the same values;
``config.fabric`` chooses. ``"generic"`` is plain Amaranth, ``"ecp5"`` is built from ``CCU2C``
carry cells, ``MULT18X18D`` and ``PDPW16KD``; of ``"ice40"`` only the adders
(``hw/rtl/fabric/ice40_adders.py``).
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.hw.rtl.primitives.block_ram import block_ram


class Multiplier(wiring.Component):
    """``p = S * M``, signed, exact, 2 cycles after S and M: every register of a DSP block in use.

    Members
    -------
    load, a : ``In``
        S becomes ``a`` where ``load`` is 1 and holds otherwise.
    b : ``In``
        M becomes ``b``, in every cycle.
    p : ``Out(signed(acc_bits + mult_bits))``
    """
    latency = 2

    def __init__(self, config):
        self._config = config
        super().__init__({
            "load": In(1), "a": In(signed(config.acc_bits)), "b": In(signed(config.mult_bits)),
            "p": Out(signed(config.acc_bits + config.mult_bits)),
        })

    def elaborate(self, platform):
        m = Module()

        if self._config.fabric == "ecp5" and len(self.a) <= 18 and len(self.b) <= 18:
            p = Signal(signed(36))
            m.submodules.dsp = Instance(
                "MULT18X18D",
                *(("p", f"REG_{name}_CLK", "CLK0") for name in _DSP_REGISTERS),
                *(("p", f"REG_{name}_CE", ce) for name, ce in _DSP_REGISTERS.items()),
                p_SOURCEB_MODE="B_SHIFT", p_GSR="DISABLED",
                i_CLK0=ClockSignal(), i_CE0=self.load, i_CE1=1, i_RST0=0,
                i_SIGNEDA=1, i_SIGNEDB=1, i_SOURCEA=0, i_SOURCEB=0,
                **_bits("i_A", self.a, 18), **_bits("i_B", self.b, 18), **_bits("o_P", p, 36))
            m.d.comb += self.p.eq(p)
            return m

        a = Signal.like(self.a, reset_less=True)
        b = Signal.like(self.b, reset_less=True)
        product = Signal.like(self.p, reset_less=True)
        p = Signal.like(self.p, reset_less=True)
        with m.If(self.load):
            m.d.sync += a.eq(self.a)
        m.d.sync += [b.eq(self.b), product.eq(a * b), p.eq(product)]
        m.d.comb += self.p.eq(p)

        return m


_DSP_REGISTERS = {"INPUTA": "CE0", "INPUTB": "CE1", "PIPELINE": "CE1", "OUTPUT": "CE1"}


def _bits(prefix, value, width):
    """Ports ``prefix0`` and up for the bits of a signed ``value``, extended to ``width``."""
    return {f"{prefix}{i}": value[min(i, len(value) - 1)] for i in range(width)}


class PsumMemory(wiring.Component):
    """Partial sums of ``config.psum_depth`` channels. Read latency 2 cycles.

    A word must not be written in the cycle in which its address is presented for reading.
    """
    latency = 2

    def __init__(self, config):
        self._config = config
        shape, channel = signed(config.psum_bits), range(config.psum_depth)
        super().__init__({
            "r_addr": In(channel), "r_data": Out(shape),
            "w_en": In(1), "w_addr": In(channel), "w_data": In(shape),
        })

    def elaborate(self, platform):
        m = Module()

        config = self._config
        if config.fabric == "ecp5" and config.psum_bits <= 36 and config.psum_depth <= 512:
            data = Signal(signed(36))
            zero = {f"i_{name}{i}": 0 for name in ("CSW", "CSR") for i in range(3)}
            m.submodules.ebr = Instance(
                "PDPW16KD", p_DATA_WIDTH_W=36, p_DATA_WIDTH_R=36, p_REGMODE="OUTREG",
                p_GSR="DISABLED", i_CLKW=ClockSignal(), i_CLKR=ClockSignal(), i_RST=0,
                i_CEW=self.w_en, i_CER=1, i_OCER=1, **zero,
                **{f"i_BE{i}": 1 for i in range(4)},
                **_bits("i_ADW", Cat(self.w_addr, 0), 9),
                **{f"i_ADR{i}": 1 for i in range(5)},
                **{f"i_ADR{i + 5}": bit for i, bit in enumerate(Cat(self.r_addr, C(0, 9))[:9])},
                **_bits("i_DI", self.w_data, 36), **_bits("o_DO", data, 36))
            m.d.comb += self.r_data.eq(data)
            return m

        shape = signed(config.psum_bits)
        m.submodules.mem = mem = block_ram(shape, config.psum_depth)
        read, write = mem.read_port(), mem.write_port()
        data = Signal(shape, reset_less=True)
        m.d.comb += [
            read.addr.eq(self.r_addr), self.r_data.eq(data),
            write.en.eq(self.w_en), write.addr.eq(self.w_addr), write.data.eq(self.w_data),
        ]
        m.d.sync += data.eq(read.data)

        return m
