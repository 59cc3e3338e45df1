"""Every code of every datatype, against what each format is by definition."""

from fractions import Fraction
from itertools import product

import ml_dtypes
import numpy as np
import pytest

from bitwright.models.datatypes.bit_planes import naf, plane_form
from bitwright.models.datatypes.catalog import DATATYPES, datatype
from bitwright.models.datatypes.codebooks import dint4
from bitwright.models.datatypes.datatype import Datatype, codebook

EVERY = pytest.mark.parametrize("dt", DATATYPES.values(), ids=DATATYPES.keys())


NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
       -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
       0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
       0.7229568362236023, 1.0]
LISTED = {
    "int1": [-1, 1],
    "ternary": [0, 1, None, -1],
    "int2star": [0, 1, 2, None, None, None, -2, -1],
    "fp3": [0, 1, 2, 4, None, -1, -2, -4],
    "dint4": [0, 1, 2, 3, 4, 5, 6, 0.5, -0.5, -7, -6, -5, -4, -3, -2, -1],
    "pot3": [1, 2, 4, 8, -1, -2, -4, -8],
    "pot4": [1, 2, 4, 8, 16, 32, 64, 128, -1, -2, -4, -8, -16, -32, -64, -128],
    "nf4": [round(127 * v) for v in NF4],
}
SPECIALS = {"fp3_er": 3, "fp3_ea": 6, "fp4_er": 5, "fp4_ea": 8}
# ml_dtypes has no five-bit floats: they are the six-bit ones that end in 0.
FLOATS = {
    "fp4": (ml_dtypes.float4_e2m1fn, 0),
    "fp5_e2m2": (ml_dtypes.float6_e2m3fn, 1),
    "fp5_e3m1": (ml_dtypes.float6_e3m2fn, 1),
    "fp6_e2m3": (ml_dtypes.float6_e2m3fn, 0),
    "fp6_e3m2": (ml_dtypes.float6_e3m2fn, 0),
    "fp8_e4m3": (ml_dtypes.float8_e4m3fn, 0),
    "fp8_e5m2": (ml_dtypes.float8_e5m2, 0),
}


def posit(code, es):
    """A posit by the standard's formula, ((1 - 3s) + f) * 2**((1 - 2s) * (2**es * r + e + s)), from
    the bits as they stand, without negating."""
    bits = f"{code:08b}"
    if code in (0, 128):
        return None if code else 0
    s, rest = int(bits[0]), bits[1:]
    run = len(rest) - len(rest.lstrip(rest[0]))
    r = run - 1 if rest[0] == "1" else -run
    rest = rest[run + 1:]
    e = int(rest[:es].ljust(es, "0") or "0", 2)
    f = Fraction(int(rest[es:] or "0", 2), 1 << len(rest[es:]))
    return float((1 - 3 * s + f) * Fraction(2) ** ((1 - 2 * s) * ((r << es) + e + s)))


def real_values(name):
    """Real values by code, worked out by another road than the codebook's; None for no value."""
    if name in LISTED:
        return LISTED[name]
    if name in FLOATS:
        dtype, shift = FLOATS[name]
        bits = int(name[2])
        found = [float(np.uint8(c << shift).view(dtype)) for c in range(1 << bits)]
        return [v if np.isfinite(v) else None for v in found]
    if name[:6] in SPECIALS:
        base = real_values(name[:3])
        special = SPECIALS[name[:6]] * (1 if name.endswith("pos") else -1)
        return [special if c == len(base) // 2 else v for c, v in enumerate(base)]
    if name.startswith("bcq"):
        planes = int(name[3:])
        return [sum((1 if code >> p & 1 else -1) << p for p in range(planes))
                for code in range(1 << planes)]
    if name.startswith("posit"):
        return [posit(code, int(name[-1])) for code in range(256)]
    if name == "mxint8":
        return [v / 64 for v in real_values("int8")]
    bits = int(name[3:])
    signed = np.arange(1 << bits, dtype=np.uint8) << np.uint8(8 - bits)
    return (signed.view(np.int8) >> (8 - bits)).tolist()


def expected_values(name):
    """Integer values: the real ones over the greatest power of two that leaves integers."""
    real = [None if v is None else Fraction(v) for v in real_values(name)]
    unit = Fraction(2) ** 40
    while any(v is not None and (v / unit).denominator > 1 for v in real):
        unit /= 2
    return [None if v is None else int(v / unit) for v in real]


def test_registry_names():
    assert list(DATATYPES) == [
        "int1", "int2", "int3", "int4", "int5", "int6", "int7", "int8", "ternary", "fp4",
        "int2star", "fp3", "fp3_er_pos", "fp3_er_neg", "fp3_ea_pos", "fp3_ea_neg", "fp4_er_pos",
        "fp4_er_neg", "fp4_ea_pos", "fp4_ea_neg", "fp5_e2m2", "fp5_e3m1", "fp6_e3m2", "fp6_e2m3",
        "fp8_e4m3", "fp8_e5m2", "nf4", "dint4", "pot3", "pot4", "bcq2", "bcq3", "bcq4",
        "posit8_es0", "posit8_es1", "mxint8"]


def test_posit_landmarks():
    """Values the posit literature prints: the ends, one, and the standard's neighbours of it."""
    es0, es1 = (datatype(f"posit8_es{es}") for es in (0, 1))
    for dt, landmarks in ((es0, {1: 2**-6, 127: 64, 64: 1, 65: 1 + 2**-5, 192: -1, 255: -2**-6,
                                 0x60: 2, 0x50: 1.5, 0x20: 0.5}),
                          (es1, {1: 2**-12, 127: 4096, 64: 1, 65: 1 + 2**-4, 192: -1, 129: -4096,
                                 0x50: 2, 0x60: 4})):
        for code, value in landmarks.items():
            assert dt.values[code] * 2.0 ** dt.exponent == value
        ascending = [dt.values[c] for c in (*range(129, 256), *range(128))]
        assert all(a < b for a, b in zip(ascending, ascending[1:], strict=False))


def test_greatest_floats():
    greatest = dict(fp4=6, fp5_e2m2=7, fp5_e3m1=24, fp6_e3m2=28, fp6_e2m3=7.5, fp8_e4m3=448,
                    fp8_e5m2=57344)
    for name, value in greatest.items():
        assert datatype(name).wmax * 2.0 ** datatype(name).exponent == value


@pytest.mark.parametrize("plus, minus", [(7, -8), (-8, 7), (6, -7), (0, -1)])
def test_dint4_gives_two_codes_to_the_halves(plus, minus):
    dt = dint4(plus, minus, "x")
    for value in range(-8, 8):
        real = {plus: 0.5, minus: -0.5}.get(value, value)
        assert dt.values[value % 16] * 2.0 ** dt.exponent == real
    assert dint4() == datatype("dint4")


@pytest.mark.parametrize("plus, minus, message", [
    (8, -8, "a value -8...7, not 8"), (7, -9, "not -9"), (3, 3, "two codes .* not 3 twice")])
def test_dint4_refuses(plus, minus, message):
    with pytest.raises(ValueError, match=message):
        dint4(plus, minus)


def test_plane_form_is_the_shortest():
    """Every set of up to three values within -9...9, against all forms there could be."""
    def forms(values, planes, low):
        whole = sum(low << p for p in range(planes))
        for constant in range(-16, 17):
            for negative in (False, True):
                bottom = constant - (low << planes - 1 if negative else 0)
                if all((v - bottom) % low == 0 and 0 <= v - bottom <= whole for v in values):
                    correction = whole - 2 * (low << planes - 1) * negative + 2 * constant
                    if correction in (0, -1):
                        return True
        return False

    for values in product(range(-9, 10, 2), range(-9, 10, 3), (-3, 1)):
        coefs, constant = plane_form(values)
        dt = Datatype(name="x", bits=2, values=(*values, 0), coefs=coefs, constant=constant,
                      unused=(3,))
        assert dt.correction in (0, -1)
        assert not any(forms(values, p, low) for p in range(1, dt.planes) for low in (1, 2))


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
    real = [v for v in real_values(dt.name) if v is not None]
    assert (dt.decode(dt.codes) * 2.0 ** dt.exponent).tolist() == real
    if dt.name not in ("ternary", "int1"):  # no power of two is left in the integers
        assert np.bitwise_or.reduce(dt.decode(dt.codes)) & 1


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
    assert dt.correction == (0 if dt.name.startswith(("int1", "bcq")) else -1)


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
    first = dt.name.startswith(("int1", "bcq"))
    assert shifts == [4 * i + first for i in range(len(shifts))]


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
    limits = dict(
        int1=1, int2=1, int3=2, int4=2, int5=3, int6=3, int7=4, int8=4, ternary=1, fp4=2,
        int2star=1, fp3=1, fp3_er_pos=2, fp3_er_neg=2, fp3_ea_pos=2, fp3_ea_neg=2, fp4_er_pos=2,
        fp4_er_neg=2, fp4_ea_pos=2, fp4_ea_neg=2, fp5_e2m2=2, fp5_e3m1=2, fp6_e3m2=2, fp6_e2m3=3,
        fp8_e4m3=3, fp8_e5m2=2, nf4=4, dint4=2, pot3=1, pot4=1, bcq2=2, bcq3=2, bcq4=3,
        posit8_es0=4, posit8_es1=3, mxint8=4)
    assert dt.max_terms == limits[dt.name]


@EVERY
def test_encode_inverts_decode(dt):
    values = dt.decode(dt.codes)
    codes = dt.encode(values)
    assert codes.dtype == np.uint8
    assert (dt.decode(codes) == values).all()
    if len(set(values.tolist())) == len(values):
        assert codes.tolist() == list(dt.codes)
    else:  # -0
        negative = 1 << (dt.bits - 1)
        assert [c for c in dt.codes if codes[dt.codes.index(c)] != c] == [negative]
        assert codes[dt.codes.index(negative)] == 0
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


@pytest.mark.parametrize("name, codes", [
    ("fp3", [4]), ("int2star", [3, 4, 5]), ("fp8_e4m3", [127, 255]), ("posit8_es0", [128]),
    ("fp8_e5m2", [124, 125, 126, 127, 252, 253, 254, 255]), ("posit8_es1", [128])])
def test_unused_codes(name, codes):
    dt = datatype(name)
    assert list(dt.unused) == codes
    for code in codes:
        with pytest.raises(ValueError, match=f"{name} at .* not {code}"):
            dt.decode([code])


def test_forms_that_quantizers_ask_for():
    integer = {d.name for d in DATATYPES.values() if d.is_integer}
    assert integer == {*(f"int{b}" for b in range(2, 9)), "ternary", "int2star", "mxint8"}
    offset = {d.name for d in DATATYPES.values() if d.has_offset_form}
    assert offset == integer - {"ternary", "int2star"}
    assert {d.name for d in DATATYPES.values() if d.plane_scaled} == {"bcq2", "bcq3", "bcq4"}


def test_codebook_pulls_out_the_power_of_two():
    dt = codebook("x", [0, 12, None, -20], 3)
    assert (dt.values, dt.exponent, dt.bits, dt.unused) == ((0, 3, 0, -5), 5, 2, (2,))
    wide = codebook("x", [-3, 5, 1], bits=3)
    assert (wide.bits, wide.unused) == (3, (3, 4, 5, 6, 7))
    assert (wide.coefs, wide.constant, wide.correction) == ((2, 4, 8), -7, 0)
    assert codebook("x", [7]).bits == 1
    with pytest.raises(ValueError, match="x must have a value other than 0"):
        codebook("x", [0, 0])


def test_codes_must_be_integers():
    with pytest.raises(TypeError, match="codes must be integers, not float64"):
        datatype("int4").decode([1.0])


@pytest.mark.parametrize("name", ["int9", "INT4", ""])
def test_unknown_name_lists_the_known_ones(name):
    known = f"int1, int2, .*, ternary, fp4, .*, bitmod3, .* or a .toml file, not '{name}'"
    with pytest.raises(ValueError, match=known):
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
