"""Holds a matrix as a checkpoint stores it, and makes its scales the machine's.

:class:`NativeMatrix` is exact: codes, and scales and offsets as real numbers. The machine holds
``channel_scale * (mantissa << shift)``; :func:`hold` finds such numbers and says how far off they
are. Codes never change their meaning.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.errors import Error
from bitwright.models.inference.golden import ACCUMULATOR_MAX, accumulator_bound
from bitwright.models.quantization.groups import Underflow, check_underflow, offset_form
from bitwright.models.quantization.mx import floor_log2
from bitwright.models.quantization.quantized_matrix import (
    MANTISSA_BITS,
    QuantizedMatrix,
    row_blocks,
)

MULTIPLIER_BITS = 17  # of a scale's magnitude, and of twice an offset's
_SIGNIFICAND = MANTISSA_BITS - 1  # bits of a scale's mantissa
_ACCUMULATOR_TRIES = 3  # rounding may add to the first estimate


class LayoutError(Error, ValueError):
    """A stored matrix that the machine's form cannot hold. One line, for people."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NativeMatrix:
    """``N`` channels of ``K`` stored columns, in groups of ``group_size``.

    Column ``k`` of channel ``n`` in group ``g`` stands for
    ``factor[n] * (scale[n, g] * real(code) + offset[n, g])``, ``real`` being the datatype's real
    values. Nothing is rounded.

    Parameters
    ----------
    layout : str
        Name of the layout, for people.
    datatype : Datatype
    codes : uint8 [N, K]
    group_size : int
        Divides ``K``.
    scale : float64 [N, G]
        Finite; may be negative.
    offset : float64 [N, G], or None
    factor : float64 [N], or None
        Positive and finite; 1 if None.
    k_logical : int
        Input features.
    columns : int64 [K], or None
        As in :class:`QuantizedMatrix`.
    note : str
        What there is to say of the layer; empty for nothing.
    """
    layout: str
    datatype: Datatype
    codes: NDArray[np.uint8]
    group_size: int
    scale: NDArray[np.float64]
    k_logical: int
    offset: NDArray[np.float64] | None = None
    factor: NDArray[np.float64] | None = None
    columns: NDArray[np.int64] | None = None
    note: str = ""

    @property
    def factors(self) -> NDArray[np.float64]:
        return np.ones(len(self.codes)) if self.factor is None else self.factor

    def dequantize(self, part: slice = slice(None)) -> NDArray[np.float64]:
        """Real weights, float64 [N, k_logical], or a ``part`` of the channels."""
        values = np.array(self.datatype.values, dtype=np.float64)
        codes = self.datatype.check(self.codes[part])
        real = np.ldexp(values, self.datatype.exponent)[codes]
        real *= np.repeat(self.scale[part], self.group_size, axis=1)
        if self.offset is not None:
            real += np.repeat(self.offset[part], self.group_size, axis=1)
        real *= self.factors[part, None]
        if self.columns is None:
            return real[:, :self.k_logical]
        found = np.zeros((len(real), self.k_logical))
        used = self.columns >= 0
        found[:, self.columns[used]] = real[:, used]
        return found

    def positive(self) -> "NativeMatrix":
        """Return the same weights with scales that are not negative.

        A symmetric datatype takes the code of ``-v``. Two's complement has none for its least
        value, but ``-v = ~v + 1``: the group's codes are complemented, and its offset grows by the
        magnitude of the scale. :class:`LayoutError` for other datatypes.
        """
        dt, negative = self.datatype, self.scale < 0
        if not negative.any():
            return self
        offset = self.offset
        if dt.symmetric:
            table = np.array([dt.encode(-v) if c not in dt.unused else c
                              for c, v in enumerate(dt.values)], dtype=np.uint8)
        elif dt.has_offset_form:
            table = np.arange(1 << dt.bits, dtype=np.uint8) ^ np.uint8((1 << dt.bits) - 1)
            more = np.where(negative, -self.scale, 0.0) * 2.0**dt.exponent
            offset = more if offset is None else offset + more
        else:
            n, g = np.argwhere(negative)[0].tolist()
            raise LayoutError(f"scale of channel {n}, group {g} is {self.scale[n, g]}; beside "
                              f"{dt.name} scales must not be negative: convert the checkpoint")
        flip = np.repeat(negative, self.group_size, axis=1)
        return replace(self, codes=np.where(flip, table[self.codes], self.codes),
                       scale=np.abs(self.scale), offset=offset)


@dataclass(frozen=True, kw_only=True)
class Held:
    """The result of :func:`hold`: the matrix, and the greatest relative errors of its scales and
    offsets, 0 where they are exact."""
    matrix: QuantizedMatrix
    scale_error: float
    offset_error: float

    @property
    def note(self) -> str:
        """In words; empty where nothing was rounded."""
        parts = [f"{name} off by {error:.1e} at most" for name, error in
                 (("scales", self.scale_error), ("offsets", self.offset_error)) if error]
        return ", ".join(parts)


def _lowest_bit(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Exponent of the lowest bit set in each ``x``; a great number for 0."""
    fraction, exponent = np.frexp(x)
    whole = np.ldexp(fraction, 53).astype(np.int64)
    low = floor_log2((whole & -whole).astype(np.float64))
    return np.where(whole == 0, 1 << 20, exponent.astype(np.int64) - 53 + low)


def _top(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Least ``e`` [N] such that ``max_g |x|`` stays below ``2**e`` when rounded."""
    most = np.abs(x).max(axis=1) * (1 + 2.0**-8)
    return np.where(most > 0, np.frexp(most)[1].astype(np.int64), -(1 << 20))


def _scale_form(s: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``s`` as mantissa and shift, the mantissa rounded to nearest even."""
    shift = np.maximum(floor_log2(np.maximum(s, 1.0)) - (_SIGNIFICAND - 1), 0)
    mantissa = np.rint(np.ldexp(s, -shift)).astype(np.int64)
    over = mantissa >> _SIGNIFICAND > 0
    return np.where(over, mantissa >> 1, mantissa), shift + over


def _error(true: NDArray[np.float64], held: NDArray[np.float64]) -> float:
    used = true != 0
    return float(np.max(np.abs(held[used] / true[used] - 1), initial=0.0))


def _reach(native: NativeMatrix, scale: NDArray[np.float64], offset: NDArray[np.float64] | None
           ) -> NDArray[np.float64]:
    """Sum of the magnitudes of each channel's ``scale * value + offset``, [N]."""
    values = np.array(native.datatype.values, dtype=np.float64)
    reach = np.empty(len(scale))
    for part in row_blocks(*native.codes.shape):
        total = values[native.codes[part]].reshape(-1, scale.shape[1], native.group_size)
        total *= scale[part, :, None]
        if offset is not None:
            total += offset[part, :, None]
        reach[part] = np.abs(total).sum(axis=(1, 2))
    return reach


def hold(native: NativeMatrix, act_bits: int = 8, digit_shift: int = 0,
         underflow: Underflow = "error") -> Held:
    """``native`` in the machine's form.

    A channel's unit is a power of two (times the scale that all its groups share, where they do):
    the greatest in which every scale and offset is whole, or a greater one where the multiplier
    (17 bits with the shift of the highest digit, ``digit_shift``) or 32-bit accumulators for
    activations of ``act_bits`` bits need it. Scales round to whole units of 11 significant bits,
    offsets to 12 with their sign; an offset that is a whole multiple of its scale, a zero point,
    is taken as that multiple of the rounded scale. Nothing else rounds.

    Raises :class:`ScaleUnderflow` for a scale that would round to zero, unless ``underflow`` is
    "flush"; :class:`LayoutError` for one that the form has no place for.
    """
    native = native.positive()
    dt, factor = native.datatype, native.factors
    scale = native.scale
    offset = None if native.offset is None else np.ldexp(native.offset, -dt.exponent)
    greatest = scale.max(axis=1)
    shared = (greatest > 0) & ((scale == greatest[:, None]) | (scale == 0)).all(axis=1)
    if offset is not None:
        shared &= ~((scale == 0) & (offset != 0)).any(axis=1)
    common = np.where(shared, greatest, 1.0)[:, None]
    scale = scale / common
    offset = None if offset is None else offset / common

    reach = _reach(native, scale, offset) * 2.0**(act_bits - 1) * (1 + 2.0**-9)
    every = scale if offset is None else np.concatenate([scale, offset], axis=1)
    unit = _lowest_bit(every).min(axis=1)
    unit = np.maximum(unit, _top(scale) - (MULTIPLIER_BITS - digit_shift))
    if offset is not None:
        unit = np.maximum(unit, _top(offset) - (MULTIPLIER_BITS - 1))
    needed = np.frexp(reach / ACCUMULATOR_MAX)[1].astype(np.int64)
    # Beyond the greatest scale no unit helps: the accumulators' own check tells.
    most = np.where(scale.max(axis=1) > 0, floor_log2(scale.max(axis=1)), 0)
    unit = np.maximum(unit, np.where(reach > 0, np.minimum(needed, most), unit))
    unit = np.where((every == 0).all(axis=1), 0, unit)

    for _ in range(_ACCUMULATOR_TRIES):
        held = _in_units(native, scale, offset, unit, common[:, 0] * factor, underflow)
        over = accumulator_bound(held.matrix, act_bits) > ACCUMULATOR_MAX
        if not (over & (unit < most)).any():
            break
        unit = unit + (over & (unit < most))
    return held


def _in_units(native: NativeMatrix, scale: NDArray[np.float64], offset: NDArray[np.float64] | None,
              unit: NDArray[np.int64], channel: NDArray[np.float64], underflow: Underflow) -> Held:
    per_group = unit[:, None]
    wanted = np.ldexp(scale, -per_group)
    mantissa, shift = _scale_form(wanted)
    lost = (scale > 0) & (mantissa == 0)
    check_underflow(lost, underflow, "it is below half of the least that the multiplier and the "
                                     "32-bit accumulators leave room for beside the channel's "
                                     "greatest")
    mantissa = np.where(lost, 1, mantissa)
    offsets: dict = {}
    offset_error = 0.0
    if offset is not None:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            zero_point = offset / scale
        units = np.ldexp(mantissa.astype(np.float64), shift)
        whole = np.isfinite(zero_point) & (np.rint(zero_point) == zero_point)
        low, by = offset_form(np.where(whole, units * np.where(whole, zero_point, 0.0),
                                       np.ldexp(offset, -per_group)))
        offsets = {"offset_mantissa": low, "offset_shift": by}
        offset_error = _error(offset, np.ldexp(np.ldexp(low.astype(np.float64), by), per_group))
    channel = np.ldexp(channel, unit + native.datatype.exponent)
    if (bad := ~(np.isfinite(channel) & (channel > 0))).any():
        raise LayoutError(f"scales of channel {int(bad.argmax())} are beyond the range of floating "
                          "point: the checkpoint is damaged")
    matrix = QuantizedMatrix(
        datatype=native.datatype, codes=native.codes, group_size=native.group_size,
        scale_mantissa=mantissa.astype(np.int16), scale_shift=shift.astype(np.uint8),
        channel_scale=channel, k_logical=native.k_logical, columns=native.columns, **offsets)
    held = np.ldexp(np.ldexp(mantissa.astype(np.float64), shift), per_group)
    return Held(matrix=matrix, scale_error=_error(scale, held), offset_error=offset_error)
