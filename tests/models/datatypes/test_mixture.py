"""Every code of every candidate of every mixture."""

import numpy as np
import pytest

from bitwright.models.datatypes.catalog import DATATYPES, MIXTURES, datatype
from bitwright.models.datatypes.mixture import Mixture

EVERY = pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES.keys())
FP4 = [0, .5, 1, 1.5, 2, 3, 4, 6]
FP3 = [0, 1, 2, 4]
INT4 = [*range(8), *range(-8, 0)]


def floats(magnitudes, special):
    return [*magnitudes, special, *(-v for v in magnitudes[1:])]


CANDIDATES = {  # values by code, in units of 2**exponent of the first candidate
    "bitmod4": [[2 * v for v in floats(FP4, s)] for s in (-5, 5, -8, 8)],
    "bitmod3": [floats(FP3, s) for s in (-3, 3, -6, 6)],
    "fp4mix_o8": [*([2 * v for v in floats(FP4, s)] for s in (-5, 5, 8)), INT4],
    "fp3mix_o8": [*(floats(FP3, s) for s in (-3, 3, 6)), INT4],
}


def every_code(mixture):
    """``select`` and ``codes`` of every value of every candidate."""
    return np.array([(s, c) for s, d in enumerate(mixture.datatypes) for c in d.codes]).T


def test_registry():
    assert list(MIXTURES) == list(CANDIDATES)
    for name, mixture in MIXTURES.items():
        assert datatype(name) is mixture
    assert [d.name for d in MIXTURES["bitmod4"].datatypes] == [
        "fp4_er_neg", "fp4_er_pos", "fp4_ea_neg", "fp4_ea_pos"]
    assert all(d is DATATYPES[d.name] for d in MIXTURES["bitmod4"].datatypes)


@EVERY
def test_values(mixture):
    for select, values in enumerate(CANDIDATES[mixture.name]):
        codes = mixture.datatypes[select].codes
        assert mixture.decode(codes, select).tolist() == values
    real = [v for values in CANDIDATES[mixture.name] for v in values]
    assert (mixture.wmin, mixture.wmax) == (min(real), max(real))
    assert mixture.max_abs == max(map(abs, real))
    assert mixture.exponent == (-1 if "4" in mixture.name.split("_")[0] else 0)
    assert mixture.bits == (3 if mixture.name == "bitmod3" else 4)
    assert mixture.has_zero and not mixture.symmetric and mixture.max_terms == 2


@EVERY
def test_planes_form_the_value_in_both_alphabets(mixture):
    select, codes = every_code(mixture)
    bits = mixture.plane_bits(codes, select)
    assert bits.dtype == np.uint8 and bits.shape == (len(codes), mixture.planes)
    values = mixture.decode(codes, select)
    assert (bits.astype(int) @ np.array(mixture.coefs) + mixture.constant == values).all()
    beta = 2 * bits.astype(int) - 1
    assert (beta @ np.array(mixture.coefs) + mixture.correction == 2 * values).all()
    assert mixture.correction == -1
    assert mixture.planes == {"bitmod4": 6, "fp4mix_o8": 6}.get(mixture.name, 4)
    assert [p for _, planes in mixture.digits for p in reversed(planes)] == list(
        range(mixture.planes))


@EVERY
def test_a_value_has_the_same_planes_in_every_candidate(mixture):
    select, codes = every_code(mixture)
    planes = {}
    for value, bits in zip(mixture.decode(codes, select).tolist(),
                           mixture.plane_bits(codes, select).tolist(), strict=True):
        assert planes.setdefault(value, bits) == bits


def test_select_is_broadcast():
    mixture = MIXTURES["bitmod4"]
    codes = np.full((2, 4), 8)
    select = np.array([[0, 1, 2, 3]])
    assert mixture.decode(codes, select).tolist() == [[-10, 10, -16, 16]] * 2
    assert mixture.plane_bits(codes, select).shape == (2, 4, 6)
    assert mixture.decode(8, 1) == 10


@pytest.mark.parametrize("codes, select, error, message", [
    ([[0, 16]], 0, ValueError, r"code of bitmod4 at \[0, 1\] .* fp4_er_neg, not 16"),
    ([[0, -1]], 0, ValueError, "not -1"),
    ([[0, 1]], [[0, 4]], ValueError, r"select of bitmod4 at \[0, 1\] must be 0...3, not 4"),
    ([[0, 1]], [[-1, 0]], ValueError, r"select of bitmod4 at \[0, 0\] .* not -1"),
    ([0.0], 0, TypeError, "codes must be integers, not float64"),
    ([0], [0.5], TypeError, "select must be integers, not float64"),
])
def test_refused_codes(codes, select, error, message):
    for use in (MIXTURES["bitmod4"].decode, MIXTURES["bitmod4"].plane_bits):
        with pytest.raises(error, match=message):
            use(codes, select)


def test_unused_codes_of_one_candidate_alone():
    mixture = MIXTURES["fp3mix_o8"]
    assert mixture.decode(9, 3) == -7
    with pytest.raises(ValueError, match="code of fp3mix_o8 .* fp3_er_pos_in4, not 9"):
        mixture.decode(9, 1)


@pytest.mark.parametrize("names, message", [
    (["int4"], "mixture x must have 2 to 4 datatypes, not 1"),
    (["int4"] * 5, "2 to 4 datatypes, not 5"),
    (["int4", "int3"], r"all have the same bits, at most 4, not \[4, 3\]"),
    (["int5", "int5"], r"at most 4, not \[5, 5\]"),
    (["bcq4", "int4"], "cannot hold bcq4"),
])
def test_checks_itself(names, message):
    Mixture("x", (DATATYPES["int4"], DATATYPES["fp4"]))
    with pytest.raises(ValueError, match=message):
        Mixture("x", tuple(DATATYPES[n] for n in names))


def test_planes_are_those_of_the_union():
    mixture = Mixture("x", (DATATYPES["int4"], DATATYPES["nf4"]))
    assert (mixture.planes, mixture.wmin, mixture.wmax) == (8, -127, 127)
    assert mixture.exponent == 0
    odd = Mixture("x", (DATATYPES["int1"], DATATYPES["int1"]))
    assert (odd.coefs, odd.constant, odd.correction, odd.has_zero) == ((2,), -1, 0, False)
