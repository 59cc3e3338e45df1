"""The lookup-table element: sums of activations, looked up by the bits of weights."""

from bitwright.hw.elements.element import PLANES, Element, MachineSizes
from bitwright.models.datatypes.bit_planes import DIGIT_PLANES

__all__ = ["LutElement"]


class LutElement(Element):
    """Looks up bit-planes of weights in tables of four activations, or of three (``tl2``)."""

    name = "lut"
    form = PLANES
    circuit = "bitwright.hw.rtl.pe.lut_pe:LutPE"
    codec = "bitwright.hw.packing.plane_codec:PlaneCodec"
    samples = (
        {"name": "tl2", "rows": 2, "cols": 4, "k_tile": 24, "builders": 4, "table": "tl2"},
        {"name": "lut-a4", "act_bits": 4},
        {"name": "lut-a16", "act_bits": 16, "builders": 1},
    )
    benches = (
        # One table bank, words of 5 bits per three weights, which leave gaps in the buffer.
        {"name": "tl2", "rows": 2, "cols": 4, "k_tile": 24, "builders": 4, "table": "tl2",
         "act_bits": 4, "memory_bits": 16},
    )
    syntheses = {
        "ecp5": (
            {"rows": 1, "cols": 2, "k_tile": 16}, {"rows": 2, "cols": 2, "k_tile": 32},
            {"rows": 4, "cols": 2, "k_tile": 64, "builders": 2},
            {"rows": 2, "cols": 4, "k_tile": 32, "builders": 8, "queue_depth": 4},
            {"rows": 2, "cols": 4, "k_tile": 64, "act_bits": 16},
            {"rows": 2, "cols": 2, "k_tile": 64, "act_bits": 4},
            *({"table": "tl2", "rows": rows, "cols": cols, "k_tile": k_tile}
              for rows, cols, k_tile in ((1, 2, 48), (2, 4, 48), (2, 2, 96))),
            *({"table": "mux", "rows": rows, "cols": cols, "k_tile": k_tile}
              for rows, cols, k_tile in ((1, 2, 16), (2, 2, 32), (2, 4, 64)))),
        "ice40": (
            {"k_tile": 32, "builders": 2}, {"cols": 2, "k_tile": 8},
            {"rows": 2, "cols": 2, "k_tile": 8}, {"queue_depth": 2}, {"queue_depth": 3},
            {"queue_depth": 4, "cols": 2}, {"act_bits": 4}, {"cols": 2}, {"rows": 2},
            {"queue_depth": 4}),
    }
    densities = (
        ("lut", {"k_tile": 64}), ("lut", {"k_tile": 128}),
        ("lut tl2", {"table": "tl2", "k_tile": 48}), ("lut mux", {"table": "mux", "k_tile": 64}),
    )

    def lanes(self, machine: MachineSizes) -> int:
        return machine.tables

    def lane_bits(self, machine: MachineSizes) -> int:
        """Return the bits of a table's number and sign."""
        return 5 if machine.table == "tl2" else 4

    def plus(self, machine: MachineSizes) -> int:
        return 13 if machine.table == "tl2" else 7

    def acc_bits(self, machine: MachineSizes) -> int:
        """A digit has 4 planes: ``|2·Σ w·a| ≤ 2 · 2^3 · k_tile · 2^(act_bits−1)``."""
        return machine.sigma_bits + DIGIT_PLANES

    def sum_latency(self, machine: MachineSizes) -> int:
        """Slice, table and tree have a register each level, the sum with σ and S one each."""
        return machine.levels + 4

    def lane_acts(self, machine: MachineSizes) -> int:
        return 3 if machine.table == "tl2" else 4

    def fill_entries(self, machine: MachineSizes) -> int:
        return 14 if machine.table == "tl2" else 8

    def banks(self, machine: MachineSizes) -> int:
        """Return 1 for ``tl2``, and for ``mux`` where queues hold one instruction, so as to be
        small."""
        single = machine.table == "tl2" or (machine.table == "mux" and machine.queue_depth == 1)
        return 1 if single else 2

    def fill_hidden(self, machine: MachineSizes) -> bool:
        return machine.table != "tl2"

    def resource_kind(self, machine: MachineSizes) -> str:
        return f"lut {machine.table}"

    def summary(self, machine: MachineSizes) -> str:
        return f"{machine.tables} tables of {self.lane_acts(machine)} activations"
