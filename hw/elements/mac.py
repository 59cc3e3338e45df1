"""The multiply-accumulate element: decoded weights times activations."""

from bitwright.hw.elements.element import Element, MachineSizes

__all__ = ["MacElement"]


class MacElement(Element):
    """Multiplies weights of ``value_bits`` bits, in logic or in the chip's multipliers."""

    name = "mac"
    circuit = "bitwright.hw.rtl.pe.mac_pe:MacPE"
    codec = "bitwright.hw.packing.code_codec:ValueCodec"
    samples = (
        {"name": "mac", "k_tile": 8, "builders": 1, "cols": 4, "memory_bits": 16},
        {"name": "mac-wide", "rows": 4, "cols": 4, "k_tile": 16, "builders": 4, "value_bits": 8,
         "dequant": "serial", "memory_bits": 64},
        {"name": "mac-a4", "rows": 8, "cols": 2, "k_tile": 4, "builders": 1, "act_bits": 4,
         "value_bits": 4, "memory_bits": 16},
    )
    benches = (
        # Whole weights; wide activations.
        {"name": "mac", "rows": 4, "cols": 2, "k_tile": 8, "builders": 2, "act_bits": 16},
    )
    syntheses = {
        "ecp5": (
            *({"rows": rows, "cols": cols, "k_tile": k_tile, "value_bits": bits}
              for rows, cols, k_tile, bits in (
                  (1, 2, 16, 6), (2, 2, 16, 4), (2, 4, 16, 8), (2, 2, 32, 6))),
            *({"lane_mult": "dsp", "rows": rows, "cols": cols, "k_tile": 16}
              for rows, cols in ((1, 2), (2, 2)))),
        "ice40": tuple({"k_tile": k_tile, "value_bits": bits}
                       for k_tile, bits in ((4, 4), (8, 4), (8, 6))),
    }
    densities = (
        *((f"mac {bits} bit", {"value_bits": bits, "k_tile": k_tile})
          for bits in (2, 4, 6, 8) for k_tile in (16, 64)),
        *(("mac 6 bit, DSP", {"value_bits": 6, "lane_mult": "dsp", "k_tile": k_tile})
          for k_tile in (16, 64)),
    )

    def lane_bits(self, machine: MachineSizes) -> int:
        return machine.value_bits

    def plus(self, machine: MachineSizes) -> int:
        return 1

    def acc_bits(self, machine: MachineSizes) -> int:
        return machine.sigma_bits + machine.value_bits

    def sum_latency(self, machine: MachineSizes) -> int:
        """The slice has a register, the tree one per level; then come those of a DSP block, or of
        the sums of the weight's bits."""
        return (1 + (machine.k_tile - 1).bit_length()
                + max(2, (machine.value_bits - 1).bit_length()))

    def scale_latency(self, machine: MachineSizes) -> int:
        """Sums beyond 20 bits take two multipliers and a cycle more."""
        double = machine.dequant == "dsp" and machine.acc_bits > 20
        return 3 if double else super().scale_latency(machine)

    def resource_kind(self, machine: MachineSizes) -> str:
        return f"mac {machine.lane_mult}"

    def weight_bits(self, machine: MachineSizes) -> int:
        return machine.value_bits

    def multipliers(self, machine: MachineSizes) -> int:
        return machine.k_tile if machine.lane_mult == "dsp" else 0

    def summary(self, machine: MachineSizes) -> str:
        return f"multipliers of {machine.value_bits} bits ({machine.lane_mult})"
