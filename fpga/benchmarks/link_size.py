"""``bitwright fpga link-size``: size and speed of the board's end of the link."""

import sys

from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.link.arbiter import MemoryArbiter
from bitwright.fpga.link.endpoint import LinkConfig, LinkEndpoint
from bitwright.fpga.toolchain.out_of_context import bench_of, unit_verilog
from bitwright.fpga.toolchain.synthesis import DEVICES, ToolError, measure_verilog

# Device, clock over baud, clock in MHz, bytes of memory: 3 Mbaud on an iCEBreaker and a ULX3S.
CASES = (("up5k", 8, 24, 1 << 17), ("ecp5", 80 / 3, 80, 1 << 25))


def main() -> None:
    """Print one line per unit and device."""
    for name, divisor, mhz, memory_bytes in CASES:
        device = DEVICES[name]
        config = LinkConfig(divisor=divisor, memory_bytes=memory_bytes, clock_khz=1000 * mhz,
                            identity=0x12345678)
        for unit in (LinkEndpoint(config), MemoryArbiter(memory_bits=16, outstanding=4)):
            family = CHIP_FAMILIES[device.family]
            top, pinned = bench_of(unit, family), family.pinned
            usage = measure_verilog(unit_verilog(top), device, freq=30 if pinned else 150)
            total = usage.total - (top.added if pinned else 0)
            print(f"{name}: {type(unit).__name__}, {total:,} LUT4s or logic cells, "
                  f"{usage.ff - top.added:,} flip-flops, {usage.ebr} block RAMs, "
                  f"{usage.fmax} MHz")


if __name__ == "__main__":
    try:
        main()
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
