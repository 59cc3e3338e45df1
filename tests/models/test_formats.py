"""Every code of every datatype, against what each format is by definition."""

import ml_dtypes
import numpy as np
import pytest

from models.formats import DATATYPES, Datatype, datatype, naf

EVERY = pytest.mark.parametrize("dt", DATATYPES.values(), ids=DATATYPES.keys())


def expected_values(name):
    """Values by code, worked out by another road than the codebook's; None for no value."""
    if name == "int1":
        return [-1, 1]
    if name == "ternary":
        return [0, 1, None, -1]
    if name == "fp4":
        return [int(2 * float(np.uint8(c).view(ml_dtypes.float4_e2m1fn))) for c in range(16)]
    bits = int(name[3:])
    signed = np.arange(1 << bits, dtype=np.uint8) << np.uint8(8 - bits)
    return (signed.view(np.int8) >> (8 - bits)).tolist()


def test_registry_names():
    assert list(DATATYPES) == ["int1", "int2", "int3", "int4", "int5", "int6", "int7", "int8",
                               "ternary", "fp4"]


@EVERY
def test_values(dt):
    expected = expected_values(dt.name)
    assert [dt.values[c] if c in dt.codes else None for c in range(1 << dt.bits)] == expected
    known = [v for v in expected if v is not None]
    assert dt.decode(dt.codes).tolist() == known
    assert (dt.wmin, dt.wmax, dt.max_abs) == (min(known), max(known), max(map(abs, known)))
    assert dt.has_zero == (0 in known)
    assert dt.symmetric == all(-v in known for v in known)


@EVERY
def test_real_values_include_the_exponent(dt):
    ends = {"fp4": (-6.0, 6.0), "ternary": (-1, 1), "int1": (-1, 1)}
    low, high = ends.get(dt.name, (-2 ** (dt.bits - 1), 2 ** (dt.bits - 1) - 1))
    assert (dt.wmin * 2.0 ** dt.exponent, dt.wmax * 2.0 ** dt.exponent) == (low, high)


@EVERY
def test_planes_form_the_value_in_both_alphabets(dt):
    bits = dt.plane_bits(dt.codes)
    assert bits.dtype == np.uint8 and bits.shape == (len(dt.codes), dt.planes)
    assert set(np.unique(bits)) <= {0, 1}
    value = dt.decode(dt.codes)
    coefs = np.array(dt.coefs)
    assert (bits.astype(int) @ coefs + dt.constant == value).all()
    beta = 2 * bits.astype(int) - 1
    assert (beta @ coefs + dt.correction == 2 * value).all()
    assert dt.correction == (0 if dt.name == "int1" else -1)


@EVERY
def test_digits_cover_the_planes_once(dt):
    bits = 2 * dt.plane_bits(dt.codes).astype(int) - 1
    total = np.full(len(dt.codes), dt.correction)
    seen = []
    for shift, planes in dt.digits:
        assert 1 <= len(planes) <= 4
        assert list(planes) == sorted(planes, reverse=True)
        acc = np.zeros(len(dt.codes), dtype=int)
        for p in planes:  # from the top, as an accumulator that doubles sees them
            acc = 2 * acc + (bits[:, p] if dt.coefs[p] > 0 else -bits[:, p])
        total += acc << shift
        seen += reversed(planes)
    assert seen == list(range(dt.planes))
    assert (total == 2 * dt.decode(dt.codes)).all()
    shifts = [shift for shift, _ in dt.digits]
    assert shifts == ([1] if dt.name == "int1" else [0, 4][:len(shifts)])


@pytest.mark.parametrize("value", range(-300, 301))
def test_naf(value):
    terms = naf(value)
    assert sum(sign << exp for sign, exp in terms) == value
    exps = [exp for _, exp in terms]
    assert all(sign in (-1, 1) for sign, _ in terms)
    assert all(b - a > 1 for a, b in zip(exps, exps[1:], strict=False))


@EVERY
def test_terms(dt):
    for code in dt.codes:
        assert sum(sign << exp for sign, exp in dt.terms(code)) == dt.values[code]
    limits = dict(int1=1, int2=1, int3=2, int4=2, int5=3, int6=3, int7=4, int8=4, ternary=1, fp4=2)
    assert dt.max_terms == limits[dt.name]


@EVERY
def test_encode_inverts_decode(dt):
    values = dt.decode(dt.codes)
    codes = dt.encode(values)
    assert codes.dtype == np.uint8
    assert (dt.decode(codes) == values).all()
    if dt.name != "fp4":
        assert codes.tolist() == list(dt.codes)
    with pytest.raises(ValueError, match=f"must be a value of {dt.name}, not {dt.wmax + 1}"):
        dt.encode([dt.wmax + 1])
    with pytest.raises(ValueError, match=f"not {dt.wmin - 1}"):
        dt.encode([dt.wmin - 1])
    with pytest.raises(TypeError, match="must be integers, not float64"):
        dt.encode([0.5])


def test_fp4_negative_zero_is_zero():
    assert datatype("fp4").decode([0, 8]).tolist() == [0, 0]
    assert datatype("fp4").encode([0]).tolist() == [0]
    with pytest.raises(ValueError, match="not 5"):
        datatype("fp4").encode([5])


def test_ternary_code_2_is_refused_everywhere():
    dt = datatype("ternary")
    for use in (dt.decode, dt.plane_bits, dt.check):
        with pytest.raises(ValueError, match=r"ternary at \[0, 1\] .* without \[2\], not 2"):
            use([[1, 2], [3, 0]])
    with pytest.raises(ValueError, match="not 2"):
        dt.terms(2)


@pytest.mark.parametrize("code", [-1, 16, 255])
def test_codes_out_of_range(code):
    with pytest.raises(ValueError, match=f"int4 at .* not {code}"):
        datatype("int4").decode([[0, code]])


def test_codes_must_be_integers():
    with pytest.raises(TypeError, match="codes must be integers, not float64"):
        datatype("int4").decode([1.0])


@pytest.mark.parametrize("name", ["int9", "INT4", ""])
def test_unknown_name_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=f"int1, int2, .*, ternary, fp4, not '{name}'"):
        datatype(name)


@pytest.mark.parametrize("change, message", [
    (dict(bits=0), "bits of x must be 1 to 8, not 0"),
    (dict(bits=9), "bits of x must be 1 to 8, not 9"),
    (dict(values=(0, 1, 2)), "must have 4 values, one per code, not 3"),
    (dict(coefs=(1, 3)), "consecutive powers of two"),
    (dict(coefs=(1, 4)), "consecutive powers of two"),
    (dict(coefs=(-1, 2)), "at most the last negative"),
    (dict(coefs=()), "consecutive powers of two"),
    (dict(values=(0, 1, -2, 5)), "planes of x cannot form value 5 of code 3"),
    (dict(constant=1), "planes of x cannot form value -2 of code 2"),
])
def test_datatype_checks_itself(change, message):
    good = dict(name="x", bits=2, values=(0, 1, -2, -1), coefs=(1, -2))
    Datatype(**good)
    with pytest.raises(ValueError, match=message):
        Datatype(**{**good, **change})
