from itertools import product

import numpy as np
import pytest

from bitwright.hw.machine.description import Machine
from bitwright.hw.packing.power_of_two_terms import (
    MAX_VALUE,
    TERMS,
    TermError,
    digit_terms,
    fewest_slots,
    relative_signs,
    slot_constant,
    term_code,
)
from tests.hw.rtl.pe.serial_slots import complements

FP4 = [s * v for v in (0, 1, 2, 3, 4, 6, 8, 12) for s in (1, -1)]           # E2M1, twice its values
E2M2 = [s * v for v in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28) for s in (1, -1)]


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_every_value(slots):
    """A form is found wherever there is one; it is worth its value and has fewest terms."""
    forms = {}
    for terms in product(TERMS, repeat=slots):
        value = sum(t * 4**j for j, t in enumerate(terms[::-1]))
        forms.setdefault(value, []).append(terms)
    for value in range(-MAX_VALUE - 1, MAX_VALUE + 2):
        if abs(value) > MAX_VALUE or value not in forms:
            with pytest.raises(TermError, match=f"value {value} has no form of {slots} terms"):
                digit_terms([0, value], slots)
            continue
        (terms,) = digit_terms([value], slots)
        assert terms in forms[value]
        fewest = min(sum(t != 0 for t in form) for form in forms[value])
        assert sum(t != 0 for t in terms) == fewest
        assert tuple(-t for t in terms) == digit_terms([-value], slots)[0] or fewest == slots


def test_known_forms():
    assert digit_terms([0, 1, 3, 5, 7, 12, 16, -28, 40], 2) == [
        (0, 0), (0, 1), (1, -1), (1, 1), (2, -1), (2, 4), (4, 0), (-8, 4), (8, 8)]
    assert digit_terms([15, 11], 3) == [(1, 0, -1), (1, -1, -1)]


@pytest.mark.parametrize("values, slots", [
    ([-1, 0, 1], 1), ([0, 1, -1, 2, -2, 4, -4], 1), ([-1, 1], 1), (range(-2, 2), 1),
    (range(-2, 3), 1), (range(-4, 4), 2), (range(-8, 8), 2), (FP4, 2), ([*FP4, 10], 2),
    ([*FP4, -10], 2), ([*FP4, 16], 2), ([*FP4, -16], 2),
    ([*range(-16, 16, 2), 1, -1], 2), (E2M2, 2), (range(16), 3)],
    ids=["ternary", "fp3", "int1", "int2", "int2star", "int3", "int4", "fp4", "fp4+5", "fp4-5",
         "fp4+8", "fp4-8", "dint4", "e2m2", "nibble"])
def test_slots_of_codebooks(values, slots):
    assert fewest_slots(values) == slots
    digit_terms(values, slots)
    if slots > 1:
        with pytest.raises(TermError):
            digit_terms(values, slots - 1)


def test_refusals():
    with pytest.raises(TermError, match="value 41 has no form"):
        fewest_slots([1, 41])
    with pytest.raises(TermError, match="1…3 slots, not 4"):
        digit_terms([1], 4)
    with pytest.raises(TermError, match="not 3"):
        term_code(3)
    for lanes in (2, 12):
        with pytest.raises(TermError, match=f"not {lanes}"):
            slot_constant(np.zeros(lanes))


def test_codes():
    assert {t: term_code(t) for t in TERMS} == {
        0: 0b0000, 1: 0b0100, 2: 0b0101, 4: 0b0110, 8: 0b0111,
        -1: 0b1100, -2: 0b1101, -4: 0b1110, -8: 0b1111}


def test_relative_signs():
    assert relative_signs([1, 1, 0, 0, 0, 1, 1, 1]).tolist() == [1, 0, 1, 0, 1, 1, 1, 0]
    signs = np.random.default_rng(seed=1).integers(0, 2, (3, 5, 16))
    relative = relative_signs(signs)
    for k in range(16):   # the signs on the way to lane 0 make a lane's own again
        own, lane = relative[..., k], k
        while lane:
            lane &= lane - 1
            own = own ^ relative[..., lane]
        assert (own == signs[..., k]).all()


@pytest.mark.parametrize("lanes", [4, 8, 64])
def test_constant(lanes):
    rng = np.random.default_rng(seed=2)
    terms = rng.choice(TERMS, (6, 50, lanes))
    expected = [[complements(row) for row in rows] for rows in terms.tolist()]
    assert slot_constant(terms).tolist() == expected
    every = np.array(list(product(TERMS, repeat=4)))
    assert slot_constant(every).tolist() == [complements(row) for row in every.tolist()]


@pytest.mark.parametrize("act_bits", [4, 8, 16])
@pytest.mark.parametrize("k_tile", [4, 16, 64, 256])
def test_bound(k_tile, act_bits):
    """No constant leaves the bound of ``slot_constant``, and that bound leaves ``acc_bits`` room
    for every digit."""
    config = Machine(pe="serial", rows=1, cols=4, k_tile=k_tile, builders=1, act_bits=act_bits,
                     memory_bits=16)
    rng = np.random.default_rng(seed=3)
    terms = np.concatenate([rng.choice(TERMS, (200, k_tile)), rng.choice([-8, 8], (200, k_tile))])
    terms[0], terms[1] = np.resize([8, -8], k_tile), np.resize([-8, 8], k_tile)
    assert 2 * k_tile <= np.abs(slot_constant(terms)).max() <= 5 * k_tile // 2
    largest = MAX_VALUE * k_tile << act_bits - 1
    assert largest + 21 * 5 * k_tile // 2 < 1 << config.acc_bits - 1
