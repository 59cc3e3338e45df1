"""Terms as port values of the bit-serial element, cycle by cycle.

Written from the arithmetic alone: what the element is worth is computed in plain Python integers.
"""

from amaranth.hdl import ClockDomain, Module, Value
from amaranth.sim import Simulator

from bitwright.hw.rtl.fabric.dsp_and_memory import PsumMemory

FP4 = [0, 1, 2, 3, 4, 6, 8, 12]
BOOKS = {  # values, slots
    "ternary": ([-1, 0, 1], 1),
    "fp3": ([0, 1, -1, 2, -2, 4, -4], 1),
    "int4": (list(range(-8, 8)), 2),
    "fp4+10": (FP4 + [-v for v in FP4] + [10], 2),
    "fp4-16": (FP4 + [-v for v in FP4] + [-16], 2),
    "nibble": (list(range(16)), 3),
    "widest": ([40, -40, 39, -39], 3),
}


def complements(terms):
    """What negation by complement alone adds to the sum of a slot, by recursion over its lanes."""
    def node(first, lanes):
        """Sign of a subtree's first lane, and what it is worth beyond sign * sum."""
        if lanes == 2:
            sign, term = terms[first] < 0, terms[first + 1]
            return sign, -(4 if abs(term) > 2 else 1) * (term != 0 and (term < 0) != sign)
        half = lanes // 2
        (sign, left), (other, right) = node(first, half), node(first + half, half)
        return sign, left + (-right - 1 if sign != other else right)

    sign, extra = node(0, len(terms))
    return -extra - 1 if sign else extra


def word(terms):
    """The slice of a slot."""
    total = 0
    for k, term in enumerate(terms):
        sign = (term < 0) ^ (k > 0 and terms[k & (k - 1)] < 0)
        exponent = {0: 0, 1: 0, 2: 1, 4: 2, 8: 3}[abs(term)]
        total |= (exponent | (term != 0) << 2 | sign << 3) << 4*k
    return total


def wrapped(value, bits):
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


class SerialStream:
    """Schedules slots and activation writes. What no slot asks for is random, but for enables."""
    ENABLES = ("w_step", "swap_i", "acc_en_i", "emit_i", "we_i")

    def __init__(self, dut, config, rng, idle=0.2):
        self.dut, self.config, self.rng, self.idle = dut, config, rng, idle
        self.at = {}       # cycle -> {port: value}
        self.results = {}  # cycle -> result_o from here on
        self.psum = {}
        self.cycle = 2     # of the next slot
        self.swapped = 0   # first cycle in which shadow registers may be written
        self.ready = 0     # first cycle in which they hold the next tile
        # First cycle of a last slot, for the multiplier's sake: a reset is like one before.
        self.due = config.scale_steps
        self.swap = False

    def put(self, cycle, **ports):
        row = self.at.setdefault(cycle, {})
        assert not row.keys() & ports.keys()
        row.update(ports)

    def load(self, acts):
        """Write the activations of the next tile, in a random order of steps."""
        config, cycle, lanes = self.config, self.swapped, 4 * self.config.builders
        for step in self.rng.permutation(config.table_steps).tolist():
            group = acts[step * lanes:(step + 1) * lanes]
            data = sum((int(a) % (1 << config.act_bits)) << i * config.act_bits
                       for i, a in enumerate(group))
            self.put(cycle, w_step=1 << step, w_data=data)
            cycle += 1
        self.ready = cycle

    def switch(self):
        """The next slot takes the loaded activations over."""
        self.cycle = max(self.cycle, self.ready)
        self.swap = True

    def idles(self):
        while self.rng.random() < self.idle:
            self.cycle += 1

    def digit(self, acts, slots, mult, channel=0, first=True, write=True):
        """One digit of a channel: terms ``[slot][lane]``. Returns its last slot and S."""
        dut, s = self.dut, 0
        for i, terms in enumerate(slots):
            last = i == len(slots) - 1
            while self.rng.random() < self.idle:
                self.cycle += 1
            if last:
                self.cycle = max(self.cycle, self.due)
            if self.swap:
                self.put(self.cycle, swap_i=1)
                self.swapped, self.swap = self.cycle + 1, False
            self.put(self.cycle, slice_i=word(terms))
            self.put(self.cycle + dut.s_latency - 2, acc_en_i=1, last_i=int(last))
            s = 4*s + sum(t * int(a) for t, a in zip(terms, acts, strict=True)) + complements(terms)
            slot, self.cycle = self.cycle, self.cycle + 1
        self.due = slot + self.config.scale_steps
        self.put(slot + dut.s_latency - 1, mult_i=mult)
        self.put(slot + dut.product_latency - PsumMemory.latency, raddr_i=channel)
        self.put(slot + dut.product_latency, first_i=int(first), emit_i=1)
        value = wrapped((0 if first else self.psum[channel]) + s * mult, 33)
        self.results[slot + dut.result_latency] = value
        if write:
            self.put(slot + dut.result_latency, we_i=1, waddr_i=channel)
            self.psum[channel] = value
        return slot, s

    def run(self, resets=()):
        """Compare ``result_o`` in every cycle; reset in the cycles ``resets``."""
        dut, rng, ports = self.dut, self.rng, {}
        for name in dut.signature.members:
            if name.endswith("_i") or name.startswith("w_"):
                ports[name] = Value.cast(getattr(dut, name))

        async def bench(ctx):
            expected = 0
            for cycle in range(max(self.at) + 10):
                row = self.at.get(cycle, {})
                for name, port in ports.items():
                    value = row.get(name)
                    if value is None:
                        value = int.from_bytes(rng.bytes(len(port) // 8 + 1), "little")
                        value = 0 if name in self.ENABLES else value % (1 << len(port))
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
