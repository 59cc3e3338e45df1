"""Size and speed of the board's end of the link."""

from collections.abc import Callable, Iterator
from typing import Any

from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.link.arbiter import MemoryArbiter
from bitwright.fpga.link.endpoint import LinkConfig, LinkEndpoint
from bitwright.fpga.toolchain.out_of_context import bench_of, unit_verilog
from bitwright.fpga.toolchain.synthesis import DEVICES, measure_verilog

__all__ = ["link_sizes"]

# Device, clock over baud, clock in MHz, bytes of memory: 3 Mbaud on an iCEBreaker and a ULX3S.
CASES = (("up5k", 8, 24, 1 << 17), ("ecp5", 80 / 3, 80, 1 << 25))


def link_sizes(say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield the size and the speed of each unit on each device, by synthesis, place and route."""
    for name, divisor, mhz, memory_bytes in CASES:
        device = DEVICES[name]
        config = LinkConfig(divisor=divisor, memory_bytes=memory_bytes, clock_khz=1000 * mhz,
                            identity=0x12345678)
        for unit in (LinkEndpoint(config), MemoryArbiter(memory_bits=16, outstanding=4)):
            say(f"synthesizing {type(unit).__name__} for {name}")
            family = CHIP_FAMILIES[device.family]
            top, pinned = bench_of(unit, family), family.pinned
            usage = measure_verilog(unit_verilog(top), device, freq=30 if pinned else 150)
            yield {"device": name, "unit": type(unit).__name__,
                   "luts": usage.total - (top.added if pinned else 0),
                   "flip_flops": usage.ff - top.added, "block_rams": usage.ebr,
                   "fmax_mhz": usage.fmax}
