"""The bit-serial element: activations times signed powers of two."""

from bitwright.hw.elements.element import Element, MachineSizes

__all__ = ["SerialElement"]


class SerialElement(Element):
    """Adds shifted activations: one term 0, ±1, ±2, ±4 or ±8 of every weight per cycle."""

    name = "serial"
    circuit = "bitwright.hw.rtl.pe.serial_pe:SerialPE"
    codec = "bitwright.hw.packing.term_codec:TermCodec"
    samples = (
        {"name": "serial", "k_tile": 8, "builders": 2},
        {"name": "serial-steps", "rows": 4, "cols": 4, "k_tile": 16, "builders": 2,
         "dequant": "serial", "memory_bits": 64, "weight_depth": 128, "act_depth": 64,
         "scale_depth": 64, "psum_depth": 16, "out_depth": 32, "outstanding": 2},
        {"name": "serial-a16", "rows": 1, "k_tile": 4, "builders": 1, "act_bits": 16,
         "dequant": "serial", "scale_units": 5},
    )
    benches = (
        # Terms; the scale two bits at a time.
        {"name": "serial", "rows": 2, "cols": 4, "k_tile": 8, "builders": 2, "dequant": "serial",
         "memory_bits": 64, "weight_depth": 128, "act_depth": 64, "scale_depth": 64,
         "psum_depth": 16, "out_depth": 32, "outstanding": 2},
    )
    syntheses = {
        "ecp5": (
            *({"rows": rows, "cols": cols, "k_tile": k_tile}
              for rows, cols, k_tile in ((1, 2, 16), (2, 2, 16), (4, 2, 16), (2, 4, 32))),
            {"rows": 2, "cols": 2, "k_tile": 16, "dequant": "serial", "scale_units": 5}),
        "ice40": ({"k_tile": 4}, {"k_tile": 8}, {"k_tile": 16}),
    }
    densities = (
        *(("serial", {"k_tile": k_tile}) for k_tile in (16, 32, 64)),
        *(("serial, serial scale", {"k_tile": k_tile, "dequant": "serial"}) for k_tile in (16, 64)),
        *(("serial, serial scale, 5 units",
           {"k_tile": k_tile, "dequant": "serial", "scale_units": 5}) for k_tile in (16, 64)),
    )

    def lane_bits(self, machine: MachineSizes) -> int:
        """Return the bits of a term: exponent, nonzero, sign."""
        return 4

    def plus(self, machine: MachineSizes) -> int:
        return 4

    def acc_bits(self, machine: MachineSizes) -> int:
        """The values of a digit are within ±40, see
        :mod:`bitwright.hw.packing.power_of_two_terms`."""
        return machine.sigma_bits + 6

    def sum_latency(self, machine: MachineSizes) -> int:
        """Slice, shifted activations, sums of four lanes and S have a register each, the tree one
        per level."""
        return machine.levels + 4

    def entry_bits(self, machine: MachineSizes) -> int:
        return 4

    def summary(self, machine: MachineSizes) -> str:
        return "terms, one power of two each"
