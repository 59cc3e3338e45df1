"""Weights as slots, and slots as port values of the processing element, cycle by cycle.

Written from the arithmetic alone and apart from the compiler's packer, so that tests of the element
have an oracle of their own.
"""

import numpy as np
from amaranth.hdl import ClockDomain, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.sim import Simulator

from bitwright.hw.rtl.pe.lookup_tables import RowTables
from bitwright.hw.rtl.pe.lut_pe import LutPE


class Seat(wiring.Component):
    """An element with its row's part of the tables: the ports of both."""

    def __init__(self, config):
        self.config, self.pe = config, LutPE(config)
        self.tables = None if config.tl2 else RowTables(config)
        ports = dict(self.pe.signature.members)
        if self.tables:
            del ports["shared_i"]
            ports |= {name: member for name, member in self.tables.signature.members.items()
                      if name != "shared_o"}
        super().__init__({name: In(member.shape) if member.flow == In else member
                          for name, member in ports.items()})
        for name in ("v_latency", "s_latency", "product_latency", "result_latency"):
            setattr(self, name, getattr(self.pe, name))

    def elaborate(self, platform):
        m = Module()
        m.submodules.pe = self.pe
        units = [self.pe]
        if self.tables:
            m.submodules.tables = self.tables
            m.d.comb += self.pe.shared_i.eq(self.tables.shared_o)
            units.append(self.tables)
        for name, member in self.signature.members.items():
            for unit in units:
                if name not in unit.signature.members:
                    continue
                if member.flow != In:
                    m.d.comb += getattr(self, name).eq(getattr(unit, name))
                else:
                    m.d.comb += getattr(unit, name).eq(getattr(self, name))
        return m


class Digit:
    """Slices of one digit from the top: +-1 vectors, or one of -1, 0 and +1; ``sub``: the last one
    subtracts the sum."""
    def __init__(self, planes, sub, mult):
        self.planes, self.sub, self.mult = planes, sub, mult

    def slots(self, lane):
        for i, beta in enumerate(self.planes):
            last = i == len(self.planes) - 1
            yield pack(beta, lane), int(last and self.sub), int(last)

    def constant(self, lane):
        """What negation by complement adds to S, from the weights alone."""
        total = 0
        for i, beta in enumerate(self.planes):
            sign = own_signs(beta, lane)
            here = -int(sign[0])
            for t in range(1, len(sign)):
                left = sign[t & (t - 1)]
                here -= (1 - 2 * left) if sign[t] != left else 0
            if self.sub and i == len(self.planes) - 1:
                here -= 1 - sign[0]
            total = 2 * total + here
        return int(total)


def own_signs(w, lane):
    """1 for every table that is subtracted."""
    lead = w[3::4] if lane == 4 else w.reshape(-1, 3) @ (9, 3, 1)
    return (lead < 0).astype(int)


def pack(w, lane):
    """The slice of ``w``, of tables for ``lane`` activations."""
    word, signs = 0, own_signs(w, lane)
    for t, sign in enumerate(signs.tolist()):
        part = w[lane * t:lane * (t + 1)].tolist()
        if lane == 4:
            x = sum(int(part[i] == (-1 if sign else 1)) << i for i in range(3))
        else:
            x = abs(9 * part[0] + 3 * part[1] + part[2])
        relative = sign ^ int(signs[t & (t - 1)]) if t else sign
        bits = 4 if lane == 4 else 5
        word |= (x | relative << bits - 1) << bits * t
    return word


def planes_of(values, bits, negative_top):
    """+-1 vectors of the bits of ``values``, from the top; of a top bit worth -2^n, the inverse."""
    planes = [2 * (values >> p & 1) - 1 for p in reversed(range(bits))]
    return [-planes[0], *planes[1:]] if negative_top else planes


def int4(w, scale):
    return [Digit(planes_of(w, 4, True), True, scale)]


def int8(w, scale):
    return [Digit(planes_of(w >> 4, 4, True), False, scale << 4),
            Digit(planes_of(w & 15, 4, False), True, scale)]


def int2(w, scale):
    return [Digit(planes_of(w, 2, True), True, scale)]


def binary(w, scale):
    return [Digit([w], False, 2 * scale)]


def ternary(w, scale):
    return [Digit([w], False, 2 * scale)]


def uint4(w, scale, zero=3):
    """Asymmetric: scale * (w - zero), the offset a slot of its own; 2w = sum of planes + 15."""
    plus = np.ones_like(w)
    return [Digit([plus], False, scale * 15 - 2 * zero * scale),
            Digit(planes_of(w, 4, False), False, scale)]


TYPES = {  # coder, lowest, highest code, value of a code
    "int8": (int8, -128, 127, lambda w: w),
    "int4": (int4, -8, 7, lambda w: w),
    "int2": (int2, -2, 1, lambda w: w),
    "uint4": (uint4, 0, 15, lambda w: w - 3),
    "binary": (binary, 0, 1, lambda w: 2 * w - 1),
    "ternary": (ternary, -1, 1, lambda w: w),
}


def encode(kind, codes, scale):
    return binary(2 * codes - 1, scale) if kind == "binary" else TYPES[kind][0](codes, scale)


def table(a, kind):
    """What is written for one table, entry by entry."""
    if kind == "tl2":
        ternary = [(w0, w1, w2) for w0 in (-1, 0, 1) for w1 in (-1, 0, 1) for w2 in (-1, 0, 1)]
        numbered = {9 * w[0] + 3 * w[1] + w[2]: w for w in ternary}
        return [sum(w * x for w, x in zip(numbered[v], a, strict=True)) for v in range(14)]
    if kind == "mux":
        return 2 * [a[3] - a[2], a[3] + a[2], a[1] - a[0], a[1] + a[0]]
    return [int(a[3] + sum(a[i] if x >> i & 1 else -a[i] for i in range(3))) for x in range(8)]


class Stream:
    """Schedules slots and table writes. What no slot asks for is random, but for the enables."""
    ENABLES = ("w_step", "acc_en_i", "emit_i", "we_i")

    def __init__(self, dut, config, rng, idle=0.2):
        self.dut, self.config, self.rng, self.idle = dut, config, rng, idle
        self.at = {}       # cycle -> {port: value}
        self.results = {}  # cycle -> result_o from here on
        self.psum = {}
        self.cycle = 2
        self.bank = 0
        self.read_until = [-1, -1]   # last cycle in which a bank is read
        self.ready = [0, 0]          # first slot that may read it
        self.next_digit = 0
        self.written = 0             # first cycle in which the write port is free
        self.lane = 3 if config.table == "tl2" else 4
        self.banks = 1 if config.table == "tl2" else 2
        levels = (config.k_tile // self.lane).bit_length() - 1
        self.scale_steps = -(-9 // config.scale_units) if config.dequant == "serial" else 1
        product = 9 if config.dequant == "serial" else 2
        assert (dut.s_latency, dut.result_latency) == (levels + 4, levels + 5 + product)

    def put(self, cycle, **ports):
        row = self.at.setdefault(cycle, {})
        assert not row.keys() & ports.keys()
        row.update(ports)

    def load(self, acts):
        """Write the tables of the next tile into the bank not in use, steps in a random order and
        with gaps."""
        config, bank, lane = self.config, (self.bank + 1) % self.banks, self.lane
        tables = [table(acts[lane*t:lane*t + lane], config.table) for t in range(config.tables)]
        cycle = max(self.read_until[bank], self.written)
        for s in self.rng.permutation(config.table_steps).tolist():
            group = tables[s * config.builders:(s + 1) * config.builders]
            for x in range(len(group[0])):
                while self.rng.random() < self.idle / 4:
                    cycle += 1
                data = sum((t[x] % (1 << config.table_bits)) << i * config.table_bits
                           for i, t in enumerate(group))
                self.put(cycle, w_step=1 << s, w_addr=bank << 3 | x, w_data=data)
                cycle += 1
        self.written = cycle
        self.ready[bank] = cycle - 1  # the slot's slice is registered before the table is read

    def switch(self):
        self.bank = (self.bank + 1) % self.banks
        self.cycle = max(self.cycle, self.ready[self.bank])

    def digit(self, acts, digit, channel, exact, first, write):
        """One digit of a channel; ``exact`` is S but for the constant of the complements."""
        dut = self.dut
        self.cycle = max(self.cycle, self.next_digit - len(digit.planes) + 1)
        for word, sub, last in digit.slots(self.lane):
            while self.rng.random() < self.idle:
                self.cycle += 1
            slot, self.cycle = self.cycle, self.cycle + 1
            self.read_until[self.bank] = slot + 1
            self.put(slot, slice_i=word, **({"bank_i": self.bank} if self.banks == 2 else {}))
            self.put(slot + dut.v_latency, sub_i=sub, **({"sigma_i": sum(acts)} if sub else {}))
            self.put(slot + dut.v_latency, acc_en_i=1, last_i=last)
        self.next_digit = slot + self.scale_steps  # earliest last slot of another digit
        self.put(slot + dut.s_latency - 1, mult_i=digit.mult)
        self.put(slot + dut.product_latency - 2, raddr_i=channel)
        self.put(slot + dut.product_latency, first_i=int(first), emit_i=1)
        value = (exact + digit.constant(self.lane)) * digit.mult
        value += 0 if first else self.psum[channel]
        value = (value + 2**32) % 2**33 - 2**32
        self.results[slot + dut.result_latency] = value
        if write:
            self.put(slot + dut.result_latency, we_i=1, waddr_i=channel)
            self.psum[channel] = value
        return value

    def run(self, resets=()):
        """Compare ``result_o`` in every cycle; reset in the cycles ``resets``."""
        dut, rng, ports = self.dut, self.rng, {}
        for name in dut.signature.members:
            if name.endswith("_i") or name.startswith("w_"):
                ports[name] = Value.cast(getattr(dut, name))
        length = max(self.at) + 10

        async def bench(ctx):
            expected = 0
            for cycle in range(length):
                row = self.at.get(cycle, {})
                for name, port in ports.items():
                    value = row.get(name)
                    if value is None:
                        value = int.from_bytes(rng.bytes(64), "little") % (1 << len(port))
                        value = 0 if name in self.ENABLES else value
                    ctx.set(port, value)
                ctx.set(domain.rst, cycle in resets)
                expected = self.results.get(cycle, expected)
                assert ctx.get(dut.result_o) == expected, f"cycle {cycle}"
                await ctx.tick()

        m = Module()
        m.domains.sync = domain = ClockDomain()
        m.submodules += dut
        sim = Simulator(m)
        sim.add_clock(1e-6)
        sim.add_testbench(bench)
        sim.run()


def exact_digits(digits, acts):
    """S of every digit without complements, by plain products."""
    for digit in digits:
        total = 0
        for beta in digit.planes:
            total = 2 * total + int(beta @ acts)
        yield total - (int(acts.sum()) if digit.sub else 0)


def stream_tiles(stream, kind, tiles, scales):
    """``tiles``: (activations, codes[channel, k]). Returns what the psums must be worth."""
    stream.load(tiles[0][0].tolist())
    value = TYPES[kind][3]
    final = {}
    for k, (acts, codes) in enumerate(tiles):
        stream.switch()
        if k + 1 < len(tiles) and stream.banks == 2:
            stream.load(tiles[k + 1][0].tolist())
        coded = [encode(kind, row, scale) for row, scale in zip(codes, scales, strict=True)]
        for p in range(len(coded[0])):
            for channel, digits in enumerate(coded):
                exact = list(exact_digits(digits, acts))
                assert (sum(s * d.mult for s, d in zip(exact, digits, strict=True))
                        == 2 * scales[channel] * int(value(codes[channel]) @ acts))
                last = k == len(tiles) - 1 and p == len(digits) - 1
                final[channel] = stream.digit(acts.tolist(), digits[p], channel, exact[p],
                                              first=k == p == 0, write=not last)
        if k + 1 < len(tiles) and stream.banks == 1:
            stream.load(tiles[k + 1][0].tolist())
    return final
