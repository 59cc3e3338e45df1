"""Every datatype, machine and group size: bits and counters agree, or the pair is refused."""

import pytest

from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES
from bitwright.sim.verification.conformance import GROUP_SIZES, cases, check, refusals
from bitwright.sim.verification.gemm_fuzz import machines
from bitwright.sim.verification.random_operands import supported

MACHINES = machines()


@pytest.mark.parametrize("machine", MACHINES, ids=[machine.name for machine in MACHINES])
def test_all_pairs(machine):
    (row,) = check((machine,))
    assert row["failed"] == []
    assert row["ran"] + len(row["beyond"]) == len(GROUP_SIZES) * len(supported(machine)) > 150
    assert len(row["beyond"]) <= (len(GROUP_SIZES) if machine.name == "lut-a16" else 0)
    assert all("posit8_es0" in text and "beyond int32's" in text for text in row["beyond"])
    assert set(row["refused"]) == {*DATATYPES, *MIXTURES} - set(supported(machine))


def test_cases_cover_what_they_should():
    every = list(cases(MACHINES[0]))
    assert {case.group_size for case in every} == set(GROUP_SIZES)
    assert {case.m for case in every} == {1, 5} and any(case.extreme for case in every)
    assert {case.datatype for case in every if case.asymmetric} == {f"int{b}" for b in range(2, 9)}


@pytest.mark.parametrize("machine", MACHINES, ids=[machine.name for machine in MACHINES])
def test_a_refusal_names_the_type_the_elements_and_a_reason(machine):
    for name, reason in refusals(machine).items():
        assert reason.startswith(f"datatype {name} does not run on {machine.pe} elements")
        assert ": " in reason and "; use " in reason and "\n" not in reason
