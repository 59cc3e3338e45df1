"""Size and speed of every processing element: LUT4s, Fmax, and work per LUT4."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from bitwright.fpga.chips.chip_family import Usage
from bitwright.fpga.chips.registry import CHIP_FAMILIES
from bitwright.fpga.toolchain.out_of_context import bench_of, unit_verilog
from bitwright.fpga.toolchain.synthesis import DEVICES, Device, measure_verilog
from bitwright.hw.elements import CODES, ELEMENTS
from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.element_codes import encode
from bitwright.hw.rtl.array.row import element
from bitwright.hw.rtl.array.weight_decoder import Decoder
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.datatypes.catalog import datatype

__all__ = ["CASES", "Case", "bench", "density", "ratios", "targets"]

TYPES = {"W1": "int1", "ternary": "ternary", "W2": "int2", "W3": "int3", "W4": "int4",
         "W8": "int8"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One element on one device: ``fields`` of the machine beside those all share."""
    label: str
    device: str
    fields: tuple[tuple[str, Any], ...]
    decoder: bool = False      # the decoder of one column, not an element

    @property
    def machine(self) -> Machine:
        fields = {"rows": 1, "cols": 16, "memory_bits": 16, "psum_depth": 512,
                  "fabric": DEVICES[self.device].fabric, **dict(self.fields)}
        lanes = fields["k_tile"] // (3 if fields.get("table") == "tl2" else 4)
        return Machine(**{"builders": min(4, lanes), **fields})


def _case(label: str, device: str = "ecp5", **fields: Any) -> Case:
    if fields.get("pe") == Machine.pe:  # the default is not recorded
        del fields["pe"]
    return Case(label=label, device=device, fields=tuple(sorted(fields.items())))


def _cases() -> Iterable[Case]:
    for name, known in ELEMENTS.items():
        for label, fields in known.densities:
            yield _case(label, pe=name, **fields)
    # UP5K has multipliers; an 18-bit one in HX8K's fabric is larger than the rest of an element.
    for device, dequant, label in (("up5k", "dsp", ""), ("hx8k", "serial", ", serial scale")):
        for k_tile in (16, 64):
            sizes = {"k_tile": k_tile, "psum_depth": 128, "dequant": dequant}
            yield _case(f"lut mux{label}", device, table="mux", **sizes)
            if (device, k_tile) != ("up5k", 64):    # the others are larger than the chip
                yield _case(f"serial{label}", device, pe="serial", **sizes)
                yield _case(f"mac 4 bit{label}", device, pe="mac", value_bits=4, **sizes)
    for pe in (name for name, each in ELEMENTS.items() if each.form == CODES):
        yield Case(label=f"{pe} decoder", device="ecp5", decoder=True, fields=(
            ("builders", 4), ("cols", 1), ("k_tile", 16), ("pe", pe)))


CASES: tuple[Case, ...] = tuple(_cases())


def slices(machine: Machine, name: str) -> int | None:
    """Cycles a weight takes, or None for a type that the element does not run."""
    try:
        return sum(digit.slots for digit in encode(machine, datatype(name)).digits)
    except PlanError:
        return None


def density(machine: Machine, total: int) -> dict[str, float | None]:
    """Multiply-accumulates per cycle and 1,000 LUT4s, by weight type, 8-bit activations."""
    found = {}
    for label, name in TYPES.items():
        count = slices(machine, name)
        found[label] = None if count is None else round(
            1000 * machine.k_tile / max(count, machine.scale_steps) / total, 1)
    return found


def _measure(case: Case, device: Device, seed: int, freq: int) -> tuple[Usage, int]:
    """Usage, with the surroundings still in it, and what those take."""
    unit = Decoder(case.machine) if case.decoder else element(case.machine)
    top = bench_of(unit, CHIP_FAMILIES[device.family])
    return measure_verilog(unit_verilog(top), device, seed=seed, freq=freq), top.added


def row(case: Case, *, seed: int = 1, freq: int = 250) -> dict[str, Any]:
    """Figures of one case. ``lut4`` are LUT4s by kind (logic cells on iCE40)."""
    device = DEVICES[case.device]
    usage, added = _measure(case, device, seed, freq)
    lut4 = {kind: getattr(usage, kind) for kind in ("logic", "carry", "ram", "ramw", "total")}
    if CHIP_FAMILIES[device.family].pinned:
        lut4 |= {"logic": usage.logic - added, "total": usage.total - added}
    found = {"label": case.label, "device": case.device, "k_tile": case.machine.k_tile,
             "machine": dict(case.fields), "lut4": lut4, "ff": usage.ff - added,
             "dsp": usage.dsp, "ebr": usage.ebr, "fmax_mhz": usage.fmax, "seed": seed}
    if not case.decoder:
        found["macs_per_cycle_per_1000_lut4"] = density(case.machine, lut4["total"])
    return found


def bench(cases: Iterable[Case], *, seed: int = 1,
          say: Callable[[str], None] = lambda text: None) -> list[dict[str, Any]]:
    """Rows of ``cases``, in order."""
    rows = []
    for case in cases:
        say(f"{case.device}: {case.label}, {case.machine.k_tile} activations")
        rows.append(row(case, seed=seed))
    return rows


TARGETS = (("lut", "W4", 32.0), ("lut", "W2", 64.0), ("lut tl2", "ternary", 80.0),
           ("serial", "W4", 18.0))
LEAST_MHZ = 150


def _best(rows: Iterable[dict[str, Any]], labels: Callable[[str], bool], kind: str
          ) -> dict[str, Any] | None:
    found = [row for row in rows if row["device"] == "ecp5" and labels(row["label"])
             and row.get("macs_per_cycle_per_1000_lut4", {}).get(kind)]
    return max(found, key=lambda row: row["macs_per_cycle_per_1000_lut4"][kind], default=None)


def targets(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Densities to reach on ECP5 by the element's best size that runs at 150 MHz or more."""
    fast = [row for row in rows if row["fmax_mhz"] >= LEAST_MHZ]
    found = []
    for label, kind, target in TARGETS:
        if not any((row["label"], row["device"]) == (label, "ecp5") for row in rows):
            continue  # not measured this time
        best = _best(fast, label.__eq__, kind)
        value = best["macs_per_cycle_per_1000_lut4"][kind] if best else None
        found.append({"element": label, "type": kind, "target": target, "measured": value,
                      "k_tile": best["k_tile"] if best else None,
                      "fmax_mhz": best["fmax_mhz"] if best else None,
                      "met": value is not None and value >= target})
    return found


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Density of ``lut`` over that of every ``mac`` in fabric, each at the best of its sizes that
    run at 150 MHz or more."""
    rows = [row for row in rows if row["fmax_mhz"] >= LEAST_MHZ]
    found = []
    for kind, target in (("W4", 5.0), ("W2", 2.5)):
        ours = _best(rows, "lut".__eq__, kind)
        labels = dict.fromkeys(row["label"] for row in rows
                               if row["label"].startswith("mac") and row["label"].endswith("bit"))
        for label in labels:
            theirs = _best(rows, label.__eq__, kind)
            if ours and theirs:
                mine, other = (row["macs_per_cycle_per_1000_lut4"][kind]
                               for row in (ours, theirs))
                found.append({"type": kind, "mac": label, "lut": mine, "other": other,
                              "ratio": round(mine / other, 2), "target": target})
    return found


def record(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return all results of the bench, as JSON values."""
    return {"devices": {name: asdict(device) for name, device in DEVICES.items()},
            "rows": rows, "targets": targets(rows), "ratios": ratios(rows)}
