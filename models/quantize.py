"""From floats to integers. Every rounding here is to nearest, ties to even, in float64."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.datatype import Datatype
from models.formats import datatype
from models.matrix import MANTISSA_BITS, MANTISSA_MAX, MANTISSA_MIN, SHIFT_MAX, QuantizedMatrix
from models.mixture import Mixture

ACTIVATION_FLOOR = 1e-5
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_TINY = 1e-200  # weights below this are taken as zero: their scales would not be normal numbers


def round_half_even(x: ArrayLike) -> NDArray[np.int64]:
    """Nearest integer of each ``x``, ties to even: 0.5 gives 0, 1.5 gives 2, -2.5 gives -2."""
    return np.rint(np.asarray(x, dtype=np.float64)).astype(np.int64)


def _finite(name: str, x: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(x)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must be real, not {array.dtype}")
    array = array.astype(np.float64)
    if array.ndim != 2:
        raise ValueError(f"{name} must have two dimensions, not {array.ndim!r}")
    bad = ~(np.abs(array) <= _FLOAT32_MAX)
    if bad.any():
        at = np.argwhere(bad)[0].tolist()
        raise ValueError(f"{name} at {at} must be finite and within float32's range, "
                         f"not {array[tuple(at)]}")
    return array


def quantize_activations(x: ArrayLike, bits: int = 8
                         ) -> tuple[NDArray[np.signedinteger], NDArray[np.float64]]:
    """Quantize each token (row of ``x`` [M, K]) by its greatest magnitude.

    ``q = clip(round_half_even(x * s), -2**(bits-1), 2**(bits-1) - 1)`` with
    ``s = (2**(bits-1) - 1) / max(max|x|, 1e-5)``; ``x`` is about ``q * sx``.

    Returns ``q``, int8 [M, K] (int16 when ``bits`` > 8), and ``sx = 1 / s``, float64 [M].
    ``bits`` is 2 to 16. A value that is not finite is a ``ValueError`` with its position.
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"bits must be 2 to 16, not {bits!r}")
    tokens = _finite("x", x)
    qmax = (1 << (bits - 1)) - 1
    scale = qmax / np.maximum(np.abs(tokens).max(axis=1, initial=0.0), ACTIVATION_FLOOR)
    q = np.clip(round_half_even(tokens * scale[:, None]), -qmax - 1, qmax)
    narrow: NDArray[np.signedinteger] = q.astype(np.int8 if bits <= 8 else np.int16)
    return narrow, 1 / scale


def pad_groups(array: NDArray[Any], group_size: int) -> NDArray[Any]:
    """``array`` [N, K] with zero columns added until ``group_size`` divides their number."""
    if group_size < 1:
        raise ValueError(f"group_size must be positive, not {group_size!r}")
    return np.pad(array, ((0, 0), (0, -array.shape[1] % group_size)))


def nearest_codes(x: ArrayLike, dt: Datatype) -> NDArray[np.uint8]:
    """Code of the value of ``dt`` nearest to each ``x``, in units of its integer values.

    Ties go to the even code, except that for ``int1`` zero gives +1. Beyond the ends, the end.
    A value with two codes (zero of ``fp4``) gets the lower one.
    """
    x = np.asarray(x, dtype=np.float64)
    if dt.name == "int1":
        return (x >= 0).astype(np.uint8)
    values = np.unique(np.array([dt.values[c] for c in dt.codes], dtype=np.int64))
    codes = dt.encode(values)
    middles = (values[:-1] + values[1:]) / 2
    down = codes[np.searchsorted(middles, x, side="left")]
    up = codes[np.searchsorted(middles, x, side="right")]
    return np.where(down & 1, up, down)


def _two_level(ideal: NDArray[np.float64], floor: NDArray[np.float64], scale_bits: int
               ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Channel scales [N] and mantissas [N, G], at least 1, for ``ideal`` group scales [N, G].

    ``channel = max_g ideal / (2**scale_bits - 1)``, or ``floor`` where that is greater, or 1
    where both are zero. One group per channel has mantissa 1.
    """
    top = (1 << scale_bits) - 1 if ideal.shape[1] > 1 else 1
    channel = np.maximum(ideal.max(axis=1) / top, floor)
    channel = np.where(channel > 0, channel, 1.0)
    return channel, np.clip(round_half_even(ideal / channel[:, None]), 1, top)


def _offsets(x: NDArray[np.float64]) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """``x`` as ``mantissa << shift``, the smallest shift that holds the rounded mantissa."""
    mantissa = np.zeros(x.shape, dtype=np.int64)
    shift = np.full(x.shape, SHIFT_MAX + 1)
    for s in range(SHIFT_MAX, -1, -1):
        rounded = round_half_even(np.ldexp(x, -s))
        fits = (rounded >= MANTISSA_MIN) & (rounded <= MANTISSA_MAX)
        mantissa, shift = np.where(fits, rounded, mantissa), np.where(fits, s, shift)
    assert shift.max() <= SHIFT_MAX, "the channel scale's floor keeps every offset within reach"
    return mantissa.astype(np.int16), shift.astype(np.uint8)


def quantize_weights(w: ArrayLike, dtype: Datatype | Mixture | str, group_size: int = 0,
                     asymmetric: bool = False, scale_bits: int = 8) -> QuantizedMatrix:
    """Round-to-nearest quantization of ``w`` [N, K].

    Ideal group scales, over the logical columns of a group:

    * symmetric: ``max|w| / max_abs`` of the datatype. For two's complement a positive maximum is
      clipped by up to one step; in return every step is finer.
    * ``int1``, ``ternary``: ``mean|w|``.
    * asymmetric (``int2`` to ``int8``): ``(max - min) / (2**bits - 1)``, and an offset that puts
      the middle of the codes on the middle of the range.

    A group scale is then ``mantissa * channel_scale`` with mantissa 1 to ``2**scale_bits - 1``
    and shift 0; one group per channel has mantissa 1. Codes are those nearest
    (:func:`nearest_codes`) under the scale and offset so rounded. An all-zero group gets codes of
    value zero (``int1``, which has none: mantissa 0).

    Parameters
    ----------
    group_size : int
        Columns per group; 0 for the whole channel. ``K`` is padded to a multiple of it.
    scale_bits : int
        Bits of a group scale's mantissa, 1 to 11.

    Weights that are not finite, or beyond float32's range, are a ``ValueError`` with their
    position.
    """
    dt = datatype(dtype) if isinstance(dtype, str) else dtype
    if isinstance(dt, Mixture):
        raise ValueError(f"round-to-nearest takes one datatype, not the mixture {dt.name}")
    w = _finite("weights", w)
    w = np.where(np.abs(w) < _TINY, 0.0, w)
    if 0 in w.shape:
        raise ValueError(f"weights must be [N, K], both positive, not {w.shape}")
    if group_size < 0:
        raise ValueError(f"group_size must be 0 (whole channel) or positive, not {group_size!r}")
    if not 1 <= scale_bits < MANTISSA_BITS:
        raise ValueError(f"scale_bits must be 1 to {MANTISSA_BITS - 1}, not {scale_bits!r}")
    if asymmetric and dt.wmax - dt.wmin != (1 << dt.bits) - 1:
        raise ValueError(f"asymmetric quantization needs int2...int8, not {dt.name}")
    n, k_logical = w.shape
    group_size = group_size or k_logical
    padded = pad_groups(w, group_size)
    k = padded.shape[1]
    grouped = padded.reshape(n, -1, group_size)
    inside = (np.arange(k) < k_logical).reshape(1, -1, group_size)
    biggest = np.abs(grouped).max(axis=2)

    offset_mantissa = offset_shift = None
    shift = np.zeros(biggest.shape, dtype=np.uint8)
    if asymmetric:
        low = np.where(inside, grouped, np.inf).min(axis=2)
        high = np.where(inside, grouped, -np.inf).max(axis=2)
        middle, span = (high + low) / 2, high - low
        reach = float(MANTISSA_MAX << SHIFT_MAX)
        floor = 2 * np.abs(middle).max(axis=1) / reach
        ideal = span / (dt.wmax - dt.wmin)
        constant = ~ideal.any(axis=1)  # nothing but offsets: give them all the mantissa's bits
        floor = np.where(constant, np.abs(middle).max(axis=1) / MANTISSA_MAX, floor)
        channel, mantissa = _two_level(ideal, floor, scale_bits)
        # The codes' own middle is (wmin + wmax) / 2 = -1/2; a constant group uses code 0 alone.
        centre = np.where(span > 0, -(dt.wmin + dt.wmax) / 2, 0.0) * mantissa
        offset_mantissa, offset_shift = _offsets(middle / channel[:, None] + centre)
        offset = np.ldexp(offset_mantissa.astype(np.float64), offset_shift)
        target = grouped / channel[:, None, None] - offset[:, :, None]
    else:
        if dt.name in ("int1", "ternary"):
            ideal = np.abs(grouped).sum(axis=2) / inside.sum(axis=2)
        else:
            ideal = biggest / dt.max_abs
        channel, mantissa = _two_level(ideal, np.zeros(n), scale_bits)
        target = grouped / channel[:, None, None]
    codes = nearest_codes(target / mantissa[:, :, None], dt)
    if dt.has_zero:
        zero = np.uint8(nearest_codes(0.0, dt))
        codes = np.where(inside, codes, zero)
    else:
        mantissa = np.where(biggest > 0, mantissa, 0)
    return QuantizedMatrix(
        datatype=dt, codes=codes.reshape(n, k), group_size=group_size, k_logical=k_logical,
        scale_mantissa=mantissa.astype(np.int16), scale_shift=shift, channel_scale=channel,
        offset_mantissa=offset_mantissa, offset_shift=offset_shift)
