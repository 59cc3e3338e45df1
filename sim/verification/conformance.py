"""Runs every datatype on every machine with every group size, and compares bits and counters, or
the refusal."""

from collections.abc import Callable, Iterator
from typing import Any

from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.element_codes import encode
from bitwright.hw.tiling.gemm_spec import PlanError
from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES, datatype
from bitwright.sim.cycle_model.memory_timing import Memory
from bitwright.sim.verification.gemm_fuzz import Case, compare, machines
from bitwright.sim.verification.random_operands import has_offsets, supported

__all__ = ["GROUP_SIZES", "cases", "check", "refusals"]

GROUP_SIZES = (16, 32, 64, 128, 256, 0)   # 0: whole channel
K = 300           # ragged in every one of them
K_WIDE = 75       # for 16-bit activations, whose sums are closer to int32's end


def cases(machine: Machine) -> Iterator[Case]:
    """Return one GEMM per datatype and group size. Single tokens and several take turns, with
    offsets where the type has them."""
    for number, name in enumerate(supported(machine)):
        for index, group_size in enumerate(GROUP_SIZES):
            seed = len(GROUP_SIZES) * number + index
            yield Case(machine=machine, m=(5, 1)[seed % 2], n=11,
                       k=K if machine.act_bits <= 8 else K_WIDE, datatype=name,
                       group_size=group_size, asymmetric=has_offsets(name) and index % 3 == 1,
                       memory=Memory(latency=8 + seed), seed=seed, extreme=index == 4)


def refusals(machine: Machine) -> dict[str, str]:
    """Datatypes that the machine does not run, with the reason."""
    found = {}
    for name in (*DATATYPES, *MIXTURES):
        if name not in supported(machine):
            try:
                encode(machine, datatype(name))
            except PlanError as error:
                found[name] = str(error)
    return found


def check(chosen: tuple[Machine, ...] | None = None,
          say: Callable[[str], None] = lambda text: None) -> list[dict[str, Any]]:
    """Compare on every machine, or on those ``chosen``. A row per machine says how many pairs ran,
    which differ, and what is refused: types by the elements, and (``beyond``) GEMMs whose sums the
    accumulators cannot hold."""
    rows = []
    for machine in machines() if chosen is None else chosen:
        say(f"{machine.name}: {len(supported(machine))} datatypes, {len(GROUP_SIZES)} group sizes")
        ran, failed, beyond = 0, [], []
        for case in cases(machine):
            try:
                found = compare(case, say)
            except PlanError as error:  # 14-bit values by 16-bit activations
                beyond.append(str(error))
                continue
            ran += 1
            if not found.ok:
                failed.append({"case": str(found.case), "mismatches": found.mismatches,
                               "differences": found.differences})
        rows.append({"machine": machine.name, "pe": machine.pe, "datatypes": supported(machine),
                     "ran": ran, "failed": failed, "beyond": beyond,
                     "refused": refusals(machine)})
    return rows
