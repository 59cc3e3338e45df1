"""The array against the chip's own multipliers."""

from collections.abc import Callable
from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.toolchain.out_of_context import Surrounded, bench_of, unit_verilog
from bitwright.fpga.toolchain.synthesis import DEVICES, Device, measure_verilog
from bitwright.hw.machine.description import Machine
from bitwright.hw.rtl.array.row import Row

__all__ = ["DSPS", "DspMac", "dsp_fmax", "dsp_peak"]

DSPS = 156           # MULT18X18D of an LFE5U-85F
ACCUMULATOR = 32
# The array: tables of three ternary weights, as many elements as the chip holds beside the rest.
ARRAY = Machine(name="tl2-85f", rows=16, cols=8, k_tile=48, builders=4, table="tl2", fabric="ecp5",
                memory_bits=16, psum_depth=512)
SHARE = 0.9          # of the chip's LUTs that elements may take

Say = Callable[[str], None]


class DspMac(wiring.Component):
    """The usual multiply-accumulate of 8-bit operands: operand, product and accumulator registers;
    the multiplier is one DSP block of ``fabric``. One product per cycle, latency 4 cycles on
    ``ecp5`` and 3 elsewhere."""
    a: In(signed(8))
    w: In(signed(8))
    clear: In(1)
    total: Out(signed(ACCUMULATOR))

    def __init__(self, fabric="ecp5"):
        self._fabric = fabric
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        (self._ecp5 if self._fabric == "ecp5" else self._plain)(m)
        return m

    def _ecp5(self, m):
        product = Signal(signed(36))
        registers = ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")
        m.submodules.dsp = Instance(
            "MULT18X18D", *(("p", f"REG_{name}_CLK", "CLK0") for name in registers),
            p_SOURCEB_MODE="B_SHIFT", p_GSR="DISABLED", i_CLK0=ClockSignal(), i_CE0=1, i_RST0=0,
            i_SIGNEDA=1, i_SIGNEDB=1, i_SOURCEA=0, i_SOURCEB=0,
            **{f"i_A{i}": self.a[min(i, 7)] for i in range(18)},
            **{f"i_B{i}": self.w[min(i, 7)] for i in range(18)},
            **{f"o_P{i}": product[i] for i in range(36)})
        m.d.sync += self.total.eq(Mux(self.clear, 0, self.total) + product[:16].as_signed())

    def _plain(self, m):
        """Plain, for Yosys puts all of it but the choice of ``clear`` into the block."""
        a, w, product = Signal(signed(8)), Signal(signed(8)), Signal(signed(16))
        m.d.sync += [a.eq(self.a), w.eq(self.w), product.eq(a * w),
                     self.total.eq(Mux(self.clear, 0, self.total) + product)]


def dsp_fmax(device: Device, *, seed: int = 1) -> float:
    """MHz of one multiply-accumulate around a DSP block, placed and routed out of context."""
    mac = DspMac(device.fabric)
    top = bench_of(mac, CHIP_FAMILIES[device.family])
    return measure_verilog(unit_verilog(top), device, seed=seed, freq=300).fmax


def dsp_peak(*, seed: int = 1, say: Say = lambda text: None) -> dict[str, Any]:
    """Ternary by INT8 multiply-accumulates per second of an array of ``tl2`` elements, at the Fmax
    of one of its rows, over 156 DSP blocks at the Fmax of a multiply-accumulate around one."""
    device = DEVICES["ecp5"]
    say("one multiply-accumulate around a DSP block")
    dsp = dsp_fmax(device, seed=seed)
    say(f"one row of {ARRAY.cols} elements")
    row = measure_verilog(unit_verilog(Surrounded(Row(ARRAY))), device, seed=seed)
    rows = int(SHARE * device.luts // row.total)
    rows = 1 << rows.bit_length() - 1
    macs = rows * ARRAY.cols * ARRAY.k_tile
    array_rate, dsp_rate = macs * row.fmax * 1e6, DSPS * dsp * 1e6
    return {"dsp_fmax_mhz": dsp, "dsp_blocks": DSPS, "dsp_gmac_per_s": dsp_rate / 1e9,
            "row_lut4": row.total, "row_fmax_mhz": row.fmax, "rows": rows, "cols": ARRAY.cols,
            "array_lut4": rows * row.total, "chip_lut4": device.luts,
            "ternary_macs_per_cycle": macs, "array_gmac_per_s": array_rate / 1e9,
            "multiple": array_rate / dsp_rate, "aim": 16}
