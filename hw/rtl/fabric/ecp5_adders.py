"""Adders of a processing element in ECP5 carry cells."""

from amaranth import *

from bitwright.hw.rtl.fabric.generic_adders import GenericAdders


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
