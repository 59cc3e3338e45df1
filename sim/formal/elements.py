"""One digit, or the two of a wide weight, through a processing element."""

from typing import Any

from amaranth.asserts import AnyConst
from amaranth.hdl import Array, Assert, Cat, Module, Mux, Signal, signed

from hw.config import Machine
from hw.pe import LutPE
from sim.formal.harness import Probe, Schedule, no_reset, total

__all__ = ["LutDigits"]

ENABLES = ("w_step", "acc_en_i", "emit_i", "we_i")


class Digit:
    """Slots of a digit, each port values by cycles after its slice; ``value``: S they make."""
    def __init__(self, slots: list[Any], value: Any, mult: Any):
        self.slots, self.value, self.mult = slots, value, mult


class LutDigits:
    """``LutPE``: tables of any activations, then the digits of one channel.

    S of a digit of n planes is ``Σ_k a_k · (Σ_p 2^p β_kp)``, less Σ a where ``sub``, plus what
    complements add.
    """
    def __init__(self, config: Machine, digits: list[tuple[int, bool, int]]):
        self.config, self.digits = config, digits

    def circuit(self) -> Module:
        m = Module()
        config = self.config
        no_reset(m)
        dut = LutPE(config)
        probe = Probe(m, dut)
        lemmas = []
        plan = Schedule(dut, ENABLES)
        plan.put(0, acc_en_i=1, last_i=1)
        acts = [AnyConst(signed(config.act_bits)) for _ in range(config.k_tile)]
        self.entries = [[AnyConst(signed(config.table_bits)) for _ in range(8)] for _ in range(config.tables)]
        bank = 1
        cycle = self.fill(plan, acts, bank, 1)
        sigma = AnyConst(signed(config.sigma_bits))
        expected = []
        first = 1
        for planes, sub, mult in self.digits:
            cycle0 = cycle
            weights = [AnyConst(planes) for _ in acts]   # bit p: β of plane p
            error: Any = 0
            for p in reversed(range(planes)):
                bits = [weight[p] for weight in weights]
                minus = sub and p == 0
                plan.put(cycle, slice_i=self.word(bits))
                plan.put(cycle + 1, bank_i=bank)
                plan.put(cycle + dut.v_latency, sub_i=int(minus),
                         **({"sigma_i": sigma} if minus else {}))
                plan.put(cycle + dut.v_latency + 1, acc_en_i=1, last_i=int(p == 0))
                error = 2 * error + self.error(bits, minus)
                slot, cycle = cycle, cycle + 1
            plan.put(slot + dut.s_latency - 1, mult_i=mult)
            plan.put(slot + dut.s_latency, raddr_i=3)
            plan.put(slot + dut.product_latency, first_i=first, emit_i=1)
            plan.put(slot + dut.result_latency, we_i=1, waddr_i=3)
            sum_: Any = 0
            for p in reversed(range(planes)):
                bits = [weight[p] for weight in weights]
                signs = [~bit for bit in bits[3::4]]
                nodes = []
                for t in range(config.tables):
                    b = bits[4 * t:4 * t + 4]
                    nodes.append(Array(self.entries[t])[Cat(~(bit ^ b[3]) for bit in b[:3])])
                sg = signs
                for t, node in enumerate(nodes):
                    lemmas.append((cycle0 + 2, probe(f"table{t}.data"), node))
                while len(nodes) > 1:
                    nodes = [l + Mux(s0 ^ s1, ~r, r) for l, r, s0, s1 in zip(nodes[::2], nodes[1::2], sg[::2], sg[1::2])]
                    sg = sg[::2]
                w = nodes[0] + (Mux(sg[0], sigma, ~sigma) if sub and p == 0 else 0)
                lemmas.append((cycle0 + dut.v_latency + 1, probe("w"), w))
                cycle0 += 1
                sum_ = 2 * sum_ + Mux(sg[0], ~w, w)
                if p:
                    lemmas.append((cycle0 - 1 + dut.v_latency + 2, probe("acc"), sum_))
            exact = sum_
            lemmas.append((slot + dut.s_latency, probe("multiplier.a"), exact))
            error = 0
            expected.append(exact * mult)
            first = 0
        self.depth = slot + dut.result_latency + 1
        now = Signal(range(self.depth + 1))
        with m.If(now != self.depth):
            m.d.sync += now.eq(now + 1)
        plan.drive(m, now)
        for at, a, b in lemmas:
            m.d.comb += Assert((now != at) | (a == b))
        m.d.comb += Assert((now != self.depth - 1) | (dut.result_o == total(expected)), "result")
        return m

    def entry(self, acts: list[Any], t: int, x: int) -> Any:
        return self.entries[t][x]

    def plane_sum(self, acts: list[Any], bits: list[Any]) -> Any:
        """``Σ β_k·a_k``, of every four activations as ``β_3 · (a_3 + Σ β_3·β_i·a_i)``."""
        terms = []
        for t in range(self.config.tables):
            b = bits[4 * t:4 * t + 4]
            entries = Array(self.entry(acts, t, x) for x in range(8))
            entry = entries[Cat(~(bit ^ b[3]) for bit in b[:3])]
            terms.append(Mux(b[3], entry, -entry))
        return total(terms)

    def fill(self, plan: Schedule, acts: list[Any], bank: Any, cycle: int) -> int:
        """Write all entries, those of ``builders`` tables at once; returns the next cycle."""
        config = self.config
        for step in range(config.table_steps):
            for x in range(8):
                entries = []
                for t in range(step * config.builders, (step + 1) * config.builders):
                    entries.append(self.entry(acts, t, x)[:config.table_bits])
                plan.put(cycle, w_step=1 << step, w_addr=Cat(x_const(x), bank), w_data=Cat(entries))
                cycle += 1
        return cycle - 1  # the slice is registered while the last entry is written

    def word(self, bits: list[Any]) -> Any:
        """The slice of a plane: per table three index bits, then the relative sign."""
        signs = [~bit for bit in bits[3::4]]
        word = []
        for t, sign in enumerate(signs):
            word += [~(bit ^ bits[4 * t + 3]) for bit in bits[4 * t:4 * t + 3]]
            word.append(sign ^ signs[t & (t - 1)] if t else sign)
        return Cat(word)

    def error(self, bits: list[Any], minus: bool) -> Any:
        """What complements in place of negations add to a plane's sum: −1 each, itself negated
        where the sum around it is."""
        signs = [~bit for bit in bits[3::4]]

        def below(first: int, size: int) -> Any:
            if size == 1:
                return 0
            half = size // 2
            right = below(first + half, half)
            relative = signs[first + half] ^ signs[first]
            return below(first, half) + Mux(relative, -1 - right, right)

        plain = below(0, len(signs))
        return Mux(signs[0], -1 - plain, plain - int(minus))


def x_const(x: int) -> Any:
    from amaranth.hdl import Const
    return Const(x, 3)
