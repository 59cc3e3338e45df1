"""What a program computes, symbolically: which words of memory each stored output is made of."""

from bitwright.hw.isa.instruction_table import Target
from tests.hw.tiling.test_plan import Occupancy

LOADS_FIRST, STORES_FIRST = ("load", "exec", "store"), ("store", "exec", "load")


class Replay:
    """Buffers hold addresses of the memory that their words came from. Engines run as far ahead of
    one another as tokens let them, in ``order``. ``stored`` are the stores in order: where they
    write, and operands, by K-tile, of what they write."""

    def __init__(self, machine, nodes, order):
        self.machine = machine
        self.buffers = {target: {} for target in range(4)}
        self.depths = {Target.WEIGHTS: machine.weight_depth, Target.ACTS: machine.act_depth,
                       Target.SCALES: machine.scale_depth}
        self.psums, self.outputs, self.held, self.stored, self.table = {}, {}, set(), [], None
        self.ran = Occupancy(machine, nodes).run(order)
        for instr in self.ran:
            {"load": self.load, "exec": self.exec, "store": self.store}[instr.op](instr)
        assert not self.outputs and not self.held

    def load(self, instr):
        machine, target = self.machine, instr["target"]
        if target == Target.TABLE:
            assert self.table is None, "a decode table that may be in use is overwritten"
            self.table = instr["dram"]
            return
        row = machine.row_act_bits if instr["broadcast"] else machine.act_word_bits
        bits = {Target.WEIGHTS: machine.weight_word_bits, Target.ACTS: row,
                Target.SCALES: machine.scale_word_bits}[target]
        beats = bits // machine.memory_bits
        pitch = beats + (machine.weight_word_gap if target == Target.WEIGHTS else 0)
        assert instr["sram"] % pitch == 0 and instr["beats"] % beats == 0
        for i in range(instr["beats"] // beats):
            word = (instr["sram"] // pitch + i) % self.depths[target]
            self.buffers[target][word] = instr["dram"] + i * bits // 8, instr["broadcast"]

    def words(self, target, start, count):
        return tuple(self.buffers[target][(start + i) % self.depths[target]]
                     for i in range(count))

    def exec(self, instr):
        machine, channels = self.machine, instr["channels"]
        subs = machine.rows if instr["row_mode"] else 1
        slots = [instr[f"slots{d}"] for d in range(4) if instr[f"slots{d}"]]
        if machine.decodes:
            stored = slots[:1] if instr["again"] else slots
            weights = sum(-(-channels >> instr[f"packing{d}"]) for d in range(len(stored)))
        else:
            weights = channels * sum(slots)
        scales = channels * subs * ((len(slots) if instr["plane_scales"] else 1)
                                    + instr["offset"])
        psum = instr["psum"] % machine.psum_depth
        if instr["first"]:
            self.psums[psum] = []
        for tile in range(instr["tiles"]):
            acts = self.words(Target.ACTS, instr["a_addr"] + tile * machine.table_steps,
                              machine.table_steps)
            assert {broadcast for _, broadcast in acts} == {instr["row_mode"]}
            self.psums[psum].append((
                self.words(Target.WEIGHTS, instr["w_addr"] + tile * subs * weights,
                           subs * weights), acts,
                self.words(Target.SCALES, instr["s_addr"] + tile // instr["group_tiles"] * scales,
                           scales)))
        if instr["final"]:
            words = {(instr["out"] + i) % machine.out_depth
                     for i in range(channels * machine.drain_slots)}
            assert not words & self.held, "an output is overwritten before it is stored"
            self.held |= words
            self.outputs[instr["out"] % machine.out_depth] = words, tuple(self.psums.pop(psum))

    def store(self, instr):
        words, operands = self.outputs.pop(instr["out"] % self.machine.out_depth)
        self.held -= words
        self.stored.append((instr["dram"], instr["stride"], instr["rows"], instr["beats"],
                            operands))
