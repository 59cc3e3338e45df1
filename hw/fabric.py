"""Building blocks of the processing element, in plain Amaranth and in ECP5 primitives.

Every block exists once per fabric with the same ports, the same latency and the same values;
``config.fabric`` chooses. ``"generic"`` is plain Amaranth, ``"ecp5"`` is built from ``CCU2C``
carry cells, ``MULT18X18D`` and ``PDPW16KD``; of ``"ice40"`` only the adders (``hw/adders.py``).
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.ram import block_ram


class GenericAdders(Elaboratable):
    """Adders with conditionally negated or gated operands. Combinational.

    Each method adds one adder and returns its sum. A *tree value* of level 0 is a table entry in
    two's complement; those of other levels and ``w`` are in an encoding of the fabric's own and
    go only into the next method. Where ``early``, values are inverted where they are made: an
    entry comes inverted by ``inv`` of its node, and a node or entry by ``out``, which is ``inv``
    of the node that takes it as its right operand, or 0.
    """
    early = False

    def node(self, level, left, right, inv, out=0):
        """Tree value of ``level``: ``left + (right ^ inv)``, one bit wider than its operands."""
        return _signed_sum(left.as_signed(), _inverted(right, inv))

    def pair(self, high, low, odd_high, odd_low, keep, out):
        """Bits 1 and up of ``{high, odd_high} ± {low, odd_low}``, plus if ``keep``; ``low`` comes
        complemented where it is subtracted. Signed, one bit wider than ``high``."""
        carry = Mux(odd_low, odd_high, ~keep)
        return _signed_sum(Cat(1, high).as_signed(), Cat(carry, low).as_signed())[1:].as_signed()

    def sigma(self, level, v, sigma, inv_n, sub):
        """``w = v + ((sigma ^ ~inv_n) & sub)``, one bit wider; ``v`` is a tree value."""
        addend = _inverted(sigma, ~inv_n) & sub.replicate(len(sigma)).as_signed()
        return _signed_sum(v.as_signed(), addend)

    def accumulate(self, acc, w, inv):
        """``2 * acc + (w ^ inv)``, signed, as wide as ``acc``; wraps. ``inv`` is ``inv_n`` of w."""
        return ((acc << 1) + _inverted(w, inv))[:len(acc)].as_signed()

    def psum(self, psum, product, first):
        """``(first ? 0 : psum) + product``, signed, as wide as ``psum``; wraps."""
        return (Mux(first, 0, psum) + product)[:len(psum)].as_signed()

    def elaborate(self, platform):
        return Module()


def _inverted(value, inv):
    return (value.as_unsigned() ^ inv.replicate(len(value))).as_signed()


def _signed_sum(left, right):
    total = left + right
    assert len(total) == len(left) + 1
    return total


class Ecp5Adders(GenericAdders):
    """The same adders in ``CCU2C`` carry cells, two bits a cell, no other logic.

    A carry cell bit computes ``S = f(A, B, C, D) ^ carry`` and passes ``f(...) ? carry :
    f(A, B, 0, 0)`` on, so that an operand is inverted or gated inside the cell. Tree values of
    level 1 and above are biased by half their range (the sign bit inverted): the top bit of an
    unsigned sum is its carry alone, and a cell without operands reads that carry *and* ends it, so
    that another adder can follow in the same chain and no half of a cell is lost.
    """
    def __init__(self):
        self._adders = []  # (bits, ended, sum): ended if no carry leaves the last bit

    def _add(self, bits, *, ended=False):
        total = Signal(signed(len(bits)), name=f"sum{len(self._adders)}")
        self._adders.append((bits, ended, total))
        return total

    def node(self, level, left, right, inv, out=0):
        bits = [(0x96AA, a, b, inv, 1) for a, b in zip(left, right, strict=True)]
        if level == 1:  # two's complement operands: bias them here
            bits[-1] = (0x9655, left[-1], right[-1], inv, 1)
        return self._add([*bits, (0x0000, 0, 0, 0, 0)], ended=True)

    def pair(self, high, low, odd_high, odd_low, keep, out):
        bits = [(0x96AA, a, b, 0, 1) for a, b in zip(high, low, strict=True)]
        carry = (0x72FF, odd_low, odd_high, keep, 1)  # passes it on; has no sum
        return self._add([carry, *bits, bits[-1]])[1:].as_signed()

    def sigma(self, level, v, sigma, inv_n, sub):
        bits = [(0x69AA, a, b, inv_n, sub) for a, b in zip(v, sigma, strict=True)]
        if level > 0:  # the bias ends here
            bits[-1] = (0x9655, v[-1], sigma[-1], inv_n, sub)
        return self._add([*bits, bits[-1]])

    def accumulate(self, acc, w, inv):
        doubled = [0, *acc[:-1]]
        addend = [w[min(i, len(w) - 1)] for i in range(len(acc))]
        return self._add([(0x96AA, a, b, inv, 1) for a, b in zip(doubled, addend, strict=True)])

    def psum(self, psum, product, first):
        addend = [product[min(i, len(product) - 1)] for i in range(len(psum))]
        return self._add([(0xA6AA, a, b, first, 1) for a, b in zip(addend, psum, strict=True)])

    def _chains(self):
        """Group the adders so that as few chains as possible have an odd number of bits."""
        odd = [adder for adder in self._adders if len(adder[0]) % 2]
        heads = [adder for adder in odd if adder[1]]
        tails = [adder for adder in odd if not adder[1]]
        yield from ([adder] for adder in self._adders if len(adder[0]) % 2 == 0)
        for tail in tails:  # behind the shortest head, whose slack the longer chain costs least
            yield [heads.pop(0), tail] if heads else [tail]
        for i in range(0, len(heads), 2):
            yield heads[i:i + 2]

    def elaborate(self, platform):
        m = Module()

        for chain in self._chains():
            bits = [bit for adder in chain for bit in adder[0]]
            bits += [(0x0000, 0, 0, 0, 0)] * (len(bits) % 2)
            sums = Signal(len(bits))
            m.d.comb += Cat(adder[2] for adder in chain).eq(sums)
            carry = Const(0, 1)
            for i in range(0, len(bits), 2):
                (init0, a0, b0, c0, d0), (init1, a1, b1, c1, d1) = bits[i:i + 2]
                carry_in, carry = carry, Signal()
                m.submodules += Instance(
                    "CCU2C", p_INIT0=Const(init0, 16), p_INIT1=Const(init1, 16),
                    p_INJECT1_0="NO", p_INJECT1_1="NO",
                    i_CIN=carry_in, o_COUT=carry, o_S0=sums[i], o_S1=sums[i + 1],
                    i_A0=a0, i_B0=b0, i_C0=c0, i_D0=d0, i_A1=a1, i_B1=b1, i_C1=c1, i_D1=d1)

        return m


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
