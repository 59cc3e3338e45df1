"""Random programs: every bit of the results and every counter, on RTL and in the models."""

from dataclasses import replace

import pytest

from bitwright.sim.verification.gemm_fuzz import compare, machines, random_case
from bitwright.sim.verification.random_operands import supported

MACHINES = machines()

EACH = 80  # programs per machine: every datatype twice
CASES = [random_case(seed) for seed in range(EACH * len(MACHINES))]


def check(cases):
    found = [compare(case) for case in cases]
    wrong = [f"{one.case}: {one.mismatches} accumulators differ, counters (RTL, model) "
             f"{one.differences}" for one in found if not one.ok]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("machine", MACHINES, ids=[machine.name for machine in MACHINES])
def test_bits_and_counters_agree(machine):
    cases = [case for case in CASES if case.machine == machine]
    assert len(cases) == EACH
    assert {case.datatype for case in cases} == set(supported(machine))
    check(cases)


def test_bits_and_counters_agree_at_the_limits():
    check(replace(case, extreme=True) for case in CASES[3::13])


def test_cases_cover_what_they_should():
    for field, least in (("datatype", 35), ("group_size", 6), ("memory", 3), ("asymmetric", 2),
                         ("extreme", 2)):
        assert len({getattr(case, field) for case in CASES}) >= least
    for size in ("m", "k", "n"):
        assert min(getattr(case, size) for case in CASES) == 1
    assert random_case(7) == CASES[7]
    assert str(CASES[7]).endswith(" seed 7")
