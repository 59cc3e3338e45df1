"""Proves that a digit through a processing element gives the dot product, where the multiplier is
1."""

from typing import Any

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Cat, Const, Module, Mux, Signal, Value, signed

from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.pe.lookup_tables import RowTables
from bitwright.hw.rtl.pe.lut_pe import LutPE
from bitwright.hw.rtl.pe.mac_pe import MacPE
from bitwright.hw.rtl.pe.serial_pe import SerialPE
from bitwright.sim.formal.harness import Schedule, no_reset, total

__all__ = ["lut_digit", "mac_digit", "serial_digit"]

ENABLES = ("w_step", "acc_en_i", "emit_i", "we_i", "swap_i")
CHANNEL = 3


class Run:
    """An element of any earlier state: one cycle clears its accumulator, then slots follow.

    After the last slot the result leaves with multiplier 1, the partial sum started anew."""

    def __init__(self, dut: Any):
        self.m = Module()
        no_reset(self.m)
        self.m.submodules.dut = self.dut = dut
        self.plan = Schedule(dut, ENABLES)
        self.plan.put(0, acc_en_i=1, last_i=1)
        self.now = Signal(range(64))   # cycles so far
        self.m.d.sync += self.now.eq(self.now + 1)
        self.depth = 0

    def slot(self, cycle: int, word: Any, last: bool, **more: Any) -> None:
        dut, plan = self.dut, self.plan
        plan.put(cycle, slice_i=word)
        plan.put(cycle + dut.s_latency - 2, acc_en_i=1, last_i=int(last))
        if last:
            plan.put(cycle + dut.s_latency - 1, mult_i=1)
            plan.put(cycle + dut.product_latency - 2, raddr_i=CHANNEL)
            plan.put(cycle + dut.product_latency, first_i=1, emit_i=1)
            self.depth = cycle + dut.result_latency + 1

    def finish(self, expected: Any) -> Module:
        self.plan.drive(self.m, self.now)
        self.m.d.comb += Assert((self.now != self.depth - 1) | (self.dut.result_o == expected),
                                "the result is not the dot product")
        return self.m


def _acts(config: Machine, bits: int) -> list[Any]:
    """Activations of ``bits`` bits, in an element that takes ``act_bits``."""
    return [AnyConst(signed(bits)) for _ in range(config.k_tile)]


def _fit(value: Any, bits: int) -> Any:
    """``bits`` bits of a signed value, extended where it is narrower."""
    return Cat(value, value[-1].replicate(bits))[:bits]


def _word(config: Machine, acts: list[Any]) -> Any:
    return Cat(_fit(a, config.act_bits) for a in acts)


def _dot(weights: list[Any], acts: list[Any]) -> Any:
    return total(weight * a for weight, a in zip(weights, acts, strict=True))


def mac_digit(config: Machine, act_bits: int) -> Module:
    """Σ w·a."""
    run = Run(MacPE(config))
    acts = _acts(config, act_bits)
    weights = [AnyConst(signed(config.value_bits)) for _ in acts]
    run.plan.put(0, w_step=1, w_data=_word(config, acts))
    run.plan.put(1, swap_i=1)
    run.slot(1, Cat(weights), last=True)
    return run.finish(_dot(weights, acts))


def serial_digit(config: Machine, slots: int, act_bits: int) -> Module:
    """Σ_j 4^j Σ_k t_jk·a_k and what complements in place of negations add."""
    run = Run(SerialPE(config))
    acts = _acts(config, act_bits)
    run.plan.put(0, w_step=1, w_data=_word(config, acts))
    run.plan.put(1, swap_i=1)
    expected: Any = 0
    for j in range(slots):
        codes = [(AnyConst(2), AnyConst(1), AnyConst(1)) for _ in acts]
        # Exponent, nonzero, sign; all 0 of a zero term.
        terms = [(exponent & nonzero.replicate(2), nonzero, sign & nonzero)
                 for exponent, nonzero, sign in codes]
        signs = [sign for *_, sign in terms]
        word = [Cat(exponent, nonzero, sign ^ signs[k & (k - 1)] if k else sign)
                for k, (exponent, nonzero, sign) in enumerate(terms)]
        run.slot(1 + j, Cat(word), last=j == slots - 1)
        products = []
        for (exponent, nonzero, sign), a in zip(terms, acts, strict=True):
            size = Mux(nonzero, a << exponent, 0)
            products.append(Mux(sign, -size, size))
        expected = 4 * expected + total(products) + _serial_error(terms)
    return run.finish(expected)


def lut_digit(config: Machine, planes: int, act_bits: int) -> Module:
    """2 Σ w·a of two's-complement weights of ``planes`` bits, and what complements add.

    The element and what its row shares of the tables; entries are written in order, those of all
    tables at once."""
    dut = LutPE(config)
    run = Run(dut)
    m, plan = run.m, run.plan
    acts = _acts(config, act_bits)
    bank = Const(1, 1)
    m.submodules.row = row = RowTables(config)
    fill = Schedule(row, ("w_step",))
    # The multiplexer's four sums of two; or the table's entries.
    pairs = [(1, -1, 0, 0), (1, 1, 0, 0), (0, 0, 1, -1), (0, 0, 1, 1)]
    whole = [(1, *(1 if x >> i & 1 else -1 for i in (2, 1, 0))) for x in range(8)]
    entries = pairs if config.table == "mux" else whole
    for x, row_signs in enumerate(entries):
        values = [_fit(total(s * a for s, a in zip(row_signs, acts[4 * t:4 * t + 4][::-1],
                                                   strict=True)), config.table_bits)
                  for t in range(config.tables)]
        fill.put(1 + x, w_step=1, w_addr=Cat(Const(x, 3), bank), w_data=Cat(values))
    for name in ("w_step", "w_addr", "w_data") if config.table == "lutram" else ():
        plan.connect(m, name, Value.cast(getattr(row, name)))
    plan.connect(m, "shared_i", Value.cast(row.shared_o))
    fill.connect(m, "bank_i", bank)
    start = 1 + len(entries)
    weights = [AnyConst(signed(planes)) for _ in acts]
    error: Any = 0
    for p in reversed(range(planes)):
        # β of a plane, 1 for +1; that of the top bit, worth −2^p, is inverted.
        bits = [weight[p] ^ (p == planes - 1) for weight in weights]
        signs = [~bit for bit in bits[3::4]]
        word = []
        for t, sign in enumerate(signs):
            word += [~(bit ^ bits[4 * t + 3]) for bit in bits[4 * t:4 * t + 3]]
            word.append(sign ^ signs[t & (t - 1)] if t else sign)
        cycle = start + planes - 1 - p
        run.slot(cycle, Cat(word), last=p == 0)
        if config.table == "lutram":
            plan.put(cycle, bank_i=bank)
        plan.put(cycle + dut.v_latency, sub_i=int(p == 0))
        if p == 0:
            plan.put(cycle + dut.v_latency, sigma_i=total(acts))
        plain = complements(signs, root=False)
        error = 2 * error + Mux(signs[0], -1 - plain, plain - int(p == 0))
    fill.drive(m, run.now)
    return run.finish(2 * _dot(weights, acts) + error)


def complements(signs: list[Any], errors: list[Any] | None = None, root: bool = True) -> Any:
    """Return the constant of a tree of sums that negates by complement alone. Each right side with
    another sign than its left one adds −1, itself negated where the sum around it is. ``errors``
    are the constants of the leaves."""
    errors = errors or [Const(0) for _ in signs]

    def below(first: int, size: int) -> Any:
        if size == 1:
            return errors[first]
        half = size // 2
        right = below(first + half, half)
        return below(first, half) + Mux(signs[first] ^ signs[first + half], -1 - right, right)

    plain = below(0, len(signs))
    return Mux(signs[0], -1 - plain, plain) if root else plain


def _serial_error(terms: list[Any]) -> Any:
    """An odd lane is complemented, relative to the one before it, before its upper shift of two;
    pairs of lanes by the tree."""
    errors = []
    for (_, _, left), (exponent, nonzero, sign) in zip(terms[::2], terms[1::2], strict=True):
        errors.append(Mux((sign ^ left) & nonzero, Mux(exponent[1], -4, -1), 0))
    return complements([sign for *_, sign in terms[::2]], errors)
