"""Rounds floats to integers. Every rounding here is to nearest, ties to even, in float64."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.datatypes.datatype import Datatype

ACTIVATION_FLOOR = 1e-5
_TABLE_MAX = 1024   # spans of values up to this have tables of nearest codes
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def round_half_even(x: ArrayLike) -> NDArray[np.int64]:
    """Nearest integer of each ``x``, ties to even: 0.5 gives 0, 1.5 gives 2, -2.5 gives -2."""
    return np.rint(np.asarray(x, dtype=np.float64)).astype(np.int64)


def finite(name: str, x: ArrayLike, start: int = 0) -> NDArray[np.float64]:
    """``x`` as float64 of two dimensions. ``ValueError`` names the first entry that is not finite
    or beyond float32's range; rows are numbered from ``start`` on."""
    array = np.asarray(x)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must be real, not {array.dtype}")
    array = array.astype(np.float64)
    if array.ndim != 2:
        raise ValueError(f"{name} must have two dimensions, not {array.ndim!r}")
    bad = ~(np.abs(array) <= _FLOAT32_MAX)
    if bad.any():
        at = np.argwhere(bad)[0].tolist()
        raise ValueError(f"{name} at {[start + at[0], at[1]]} must be finite and within float32's "
                         f"range, not {array[tuple(at)]}")
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
    tokens = finite("x", x)
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


def _search(x: NDArray[np.float64], dt: Datatype, down: bool) -> NDArray[np.uint8]:
    """Nearest codes by binary search among the middles between the values."""
    values = np.unique(np.array([dt.values[c] for c in dt.codes], dtype=np.int64))
    codes, middles = dt.encode(values), (values[:-1] + values[1:]) / 2
    nearest = np.array(codes[np.searchsorted(middles, x, side="left")])
    if not down:
        odd = nearest & 1 == 1
        nearest[odd] = codes[np.searchsorted(middles, x[odd], side="right")]
    return nearest


@lru_cache(maxsize=64)
def _halves(dt: Datatype, down: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Nearest codes at ``i / 2`` and above it up to the next half, ``i`` from ``2*wmin - 1`` on."""
    points = np.arange(2 * dt.wmin - 1, 2 * dt.wmax + 2) / 2
    return _search(points, dt, down), _search(points + 0.25, dt, down)


def _nearest(x: NDArray[np.float64], dt: Datatype, down: bool) -> NDArray[np.uint8]:
    if dt.wmax - dt.wmin > _TABLE_MAX:
        return _search(x, dt, down)
    # Values are integers, so that codes change at halves only, or just above one.
    twice = np.clip(2 * x, 2 * dt.wmin - 1, 2 * dt.wmax + 1)
    below = np.floor(twice)
    index = below.astype(np.int32) - (2 * dt.wmin - 1)
    at, above = _halves(dt, down)
    nearest = np.array(above[index])
    exact = twice == below
    nearest[exact] = at[index[exact]]
    return nearest


def nearest_codes(x: ArrayLike, dt: Datatype) -> NDArray[np.uint8]:
    """Code of the value of ``dt`` nearest to each ``x``, in units of its integer values.

    Ties go to the even code (of two even ones to the lesser value, of two odd ones to the
    greater), except that for ``int1`` zero gives +1. Beyond the ends, the end.
    A value with two codes (zero of ``fp4``) gets the lower one.
    """
    x = np.asarray(x, dtype=np.float64)
    if dt.name == "int1":
        return (x >= 0).astype(np.uint8)
    if dt.is_integer:
        value = np.clip(np.rint(x), dt.wmin, dt.wmax).astype(np.int16)
        return (value & (1 << dt.bits) - 1).astype(np.uint8)
    return _nearest(x, dt, down=False)


def nearest_codes_down(x: ArrayLike, dt: Datatype) -> NDArray[np.uint8]:
    """Return codes like :func:`nearest_codes`, but a tie goes to the lesser value. Value ``i`` is
    chosen for ``middle[i-1] < x <= middle[i]``, which is BitMoD's rule."""
    return _nearest(np.asarray(x, dtype=np.float64), dt, down=True)
