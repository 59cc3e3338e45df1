"""Integer codebooks of the published formats, by code. ``None`` stands for a code without value.

Real values are these times the power of two that each function names.
"""

from collections.abc import Sequence
from typing import Literal

from bitwright.models.datatypes.datatype import Datatype, codebook


def twos_complement(bits: int) -> tuple[int, ...]:
    half = 1 << (bits - 1)
    return tuple((code ^ half) - half for code in range(1 << bits))


def signed(magnitudes: Sequence[int | None]) -> list[int | None]:
    """Sign and magnitude, the sign on top: the code of -0 is worth 0."""
    return [*magnitudes, *(None if v is None else -v for v in magnitudes)]


def minifloat(name: str, exponent_bits: int, mantissa_bits: int,
              special: Literal["none", "nan", "ieee"] = "none") -> Datatype:
    """Sign, exponent, mantissa from the top; bias ``2**(exponent_bits-1) - 1``; subnormals.

    ``special``: "nan" takes the code of greatest magnitude (OCP E4M3), "ieee" the whole top
    exponent (infinities and NaN, E5M2). In units of the least subnormal,
    ``2**(1 - bias - mantissa_bits)``.
    """
    bias, steps = (1 << (exponent_bits - 1)) - 1, 1 << mantissa_bits
    magnitudes: list[int | None] = [
        m if e == 0 else (steps + m) << (e - 1)
        for e in range(1 << exponent_bits) for m in range(steps)]
    if special != "none":
        gone = 1 if special == "nan" else steps
        magnitudes[-gone:] = [None] * gone
    return codebook(name, signed(magnitudes), 1 - bias - mantissa_bits)


def with_negative_zero(base: Sequence[int | None], value: int | None) -> list[int | None]:
    """``base`` (sign and magnitude) with ``value`` in place of -0, the middle code."""
    middle = len(base) // 2
    return [*base[:middle], value, *base[middle + 1:]]


def power_of_two(name: str, bits: int) -> Datatype:
    """DenseShift: a sign on top of an exponent ``p``, worth ``±2**p``; there is no zero."""
    magnitudes = [1 << p for p in range(1 << (bits - 1))]
    return codebook(name, signed(magnitudes))


def binary_coded(name: str, planes: int) -> Datatype:
    """BCQ: bit ``p`` of a code is the sign of plane ``p``, 1 for plus; weights by group."""
    top = (1 << planes) - 1
    return Datatype(
        name=name, bits=planes, values=tuple(2 * code - top for code in range(1 << planes)),
        coefs=tuple(2 << p for p in range(planes)), constant=-top, plane_scaled=True)


def dint4(plus: int = 7, minus: int = -8, name: str = "dint4") -> Datatype:
    """INT4 whose codes of ``plus`` and ``minus`` stand for +1/2 and -1/2 instead.

    By default the two ends of the range go, so that the top bit stays the sign and the values are
    -7…6. In units of 1/2.
    """
    for value in (plus, minus):
        if not -8 <= value <= 7:
            raise ValueError(f"code of dint4 must be the one of a value -8...7, not {value!r}")
    if plus == minus:
        raise ValueError(f"dint4 must have two codes for the halves, not {plus!r} twice")
    halves = {plus: 1, minus: -1}
    return codebook(name, [halves.get(v, 2 * v) for v in twos_complement(4)], -1)


def posit8(name: str, es: int) -> Datatype:
    """Posits of 8 bits with ``es`` exponent bits; NaR (code 128) is unused.

    Negative codes are the two's complement of the positive ones. In units of ``2**(-6 << es)``,
    the least positive value.
    """
    def magnitude(code: int) -> int:
        """``code`` 1 to 127, read from the top: regime, exponent, fraction."""
        body = code << 1 & 0xFF   # without the sign, left-aligned
        ones = body >> 7
        run = 8 - (body ^ 0xFF if ones else body).bit_length()
        run = min(run, 7)
        regime = run - 1 if ones else -run
        rest = max(7 - run - 1, 0)
        tail = code & ((1 << rest) - 1)
        fraction_bits = max(rest - es, 0)
        exponent = tail >> fraction_bits << max(es - rest, 0)
        fraction = tail & ((1 << fraction_bits) - 1)
        scale = (regime << es) + exponent + (6 << es)
        return ((1 << fraction_bits) + fraction << scale) >> fraction_bits

    positive = [0, *(magnitude(code) for code in range(1, 128))]
    return codebook(name, [*positive, None, *(-positive[256 - c] for c in range(129, 256))],
                    -6 << es)


NF4 = (-127, -88, -67, -50, -36, -23, -12, 0, 10, 20, 31, 43, 56, 71, 92, 127)
"""The 16 values of bitsandbytes' NF4 in units of 1/127, by its codes, rounded to nearest."""
