"""Cuts weights into groups, and rounds group scales to their stored forms."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.errors import Error
from bitwright.models.quantization.quantized_matrix import (
    MANTISSA_BITS,
    MANTISSA_MAX,
    MANTISSA_MIN,
    SHIFT_MAX,
)
from bitwright.models.quantization.rounding import finite, pad_groups, round_half_even

Underflow = Literal["error", "flush"]


class ScaleUnderflow(Error, ValueError):
    """A group's scale is too small for its form: the first of ``count``, and ``why``."""

    def __init__(self, channel: int, group: int, count: int, why: str):
        self.channel, self.group, self.count, self.why = channel, group, count, why
        super().__init__(
            f"scale of channel {channel}, group {group} underflows the mantissa: {why}; "
            "pass underflow='flush' to give such groups the least scale there is")


_TINY = 1e-200  # weights below this are taken as zero: their scales would not be normal numbers


@dataclass(frozen=True, eq=False)
class Groups:
    """``x`` [N, G, group_size], zero in the padding, of ``k_logical`` input features."""

    x: NDArray[np.float64]
    k_logical: int

    @classmethod
    def of(cls, w: ArrayLike, group_size: int) -> "Groups":
        """Cut ``w`` [N, K] into groups; ``group_size`` 0 is the whole channel. ``ValueError`` for
        weights that are not finite, with the position of the first."""
        w = finite("weights", w)
        w = np.where(np.abs(w) < _TINY, 0.0, w)
        if 0 in w.shape:
            raise ValueError(f"weights must be [N, K], both positive, not {w.shape}")
        if group_size < 0:
            raise ValueError("group_size must be 0 (whole channel) or positive, "
                             f"not {group_size!r}")
        size = group_size or w.shape[1]
        return cls(pad_groups(w, size).reshape(w.shape[0], -1, size), w.shape[1])

    @property
    def n(self) -> int:
        return self.x.shape[0]

    @property
    def count(self) -> int:
        """Groups per channel."""
        return self.x.shape[1]

    @property
    def size(self) -> int:
        return self.x.shape[2]

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """[1, G, group_size], false in the padding."""
        return (np.arange(self.count * self.size) < self.k_logical).reshape(1, -1, self.size)

    @cached_property
    def absmax(self) -> NDArray[np.float64]:
        """[N, G]."""
        return np.abs(self.x).max(axis=2)

    @cached_property
    def absmean(self) -> NDArray[np.float64]:
        """[N, G], over the logical columns."""
        return np.abs(self.x).sum(axis=2) / self.inside.sum(axis=2)

    def error(self, values: NDArray, step: NDArray[np.float64],
              offset: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Squared error per group [N, G] of ``values * step + offset``, step and offset [N, G]."""
        difference = values * step[:, :, None]
        if offset is not None:
            difference += offset[:, :, None]
        difference -= self.x
        if self.k_logical < self.count * self.size:
            difference *= self.inside
        return np.einsum("ngk,ngk->ng", difference, difference)

    def in_padding(self, codes: NDArray[np.uint8], code: int) -> NDArray[np.uint8]:
        """``codes`` as [N, K], with ``code`` in the padding."""
        return np.where(self.inside, codes, np.uint8(code)).reshape(self.n, -1)


def lookup(dt: Datatype, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Integer values of valid codes, as floats."""
    return np.array(dt.values, dtype=np.float64)[codes]


def check_scale_bits(scale_bits: int) -> None:
    if not 1 <= scale_bits < MANTISSA_BITS:
        raise ValueError(f"scale_bits must be 1 to {MANTISSA_BITS - 1}, not {scale_bits!r}")


def two_level(ideal: NDArray[np.float64], scale_bits: int, floor: NDArray[np.float64] | None = None
              ) -> tuple[NDArray[np.float64], int]:
    """Channel scales [N] for ``ideal`` group scales [N, G], and the greatest mantissa.

    ``channel = max_g ideal / (2**scale_bits - 1)``, or ``floor`` where that is greater, or 1
    where both are zero. One group per channel has mantissa 1.
    """
    check_scale_bits(scale_bits)
    top = (1 << scale_bits) - 1 if ideal.shape[1] > 1 else 1
    channel = ideal.max(axis=1) / top
    if floor is not None:
        channel = np.maximum(channel, floor)
    return np.where(channel > 0, channel, 1.0), top


def mantissas(ideal: NDArray[np.float64], channel: NDArray[np.float64], top: int
              ) -> NDArray[np.int64]:
    """``ideal`` [N, G] in units of ``channel`` [N], rounded, 1 to ``top``."""
    return np.clip(round_half_even(ideal / channel[:, None]), 1, top)


def offset_form(x: NDArray[np.float64]) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """``x`` as ``mantissa << shift``, the smallest shift that holds the rounded mantissa."""
    mantissa = np.zeros(x.shape, dtype=np.int64)
    shift = np.full(x.shape, SHIFT_MAX + 1)
    for s in range(SHIFT_MAX, -1, -1):
        rounded = round_half_even(np.ldexp(x, -s))
        fits = (rounded >= MANTISSA_MIN) & (rounded <= MANTISSA_MAX)
        mantissa, shift = np.where(fits, rounded, mantissa), np.where(fits, s, shift)
    assert shift.max() <= SHIFT_MAX, "the channel scale's floor keeps every offset within reach"
    return mantissa.astype(np.int16), shift.astype(np.uint8)


def check_underflow(lost: NDArray[np.bool_], underflow: Underflow, why: str) -> None:
    """:class:`ScaleUnderflow` for the first group [N, G] whose scale is lost, unless it may be."""
    if underflow not in ("error", "flush"):
        raise ValueError(f"underflow must be 'error' or 'flush', not {underflow!r}")
    if underflow == "error" and lost.any():
        n, g = np.argwhere(lost)[0].tolist()
        raise ScaleUnderflow(n, g, int(lost.sum()), why)


def shift_form(exponent: NDArray[np.int64], used: NDArray[np.bool_], underflow: Underflow
               ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Scales ``2**exponent`` [N, G] as shifts above a base [N] per channel.

    The base is the least exponent of the channel's ``used`` groups, or 15 below the greatest if
    that is more: exponents below it underflow, and are an error or get shift 0.
    """
    top = np.where(used, exponent, np.iinfo(np.int64).min).max(axis=1)
    bottom = np.where(used, exponent, np.iinfo(np.int64).max).min(axis=1)
    some = used.any(axis=1)
    base = np.where(some, np.maximum(bottom, np.where(some, top, 0) - SHIFT_MAX), 0)
    above = np.where(used, exponent - base[:, None], 0)
    check_underflow(above < 0, underflow,
                    f"it is less than 2^-{SHIFT_MAX} of its channel's greatest, and shifts end "
                    f"at {SHIFT_MAX}")
    return np.maximum(above, 0).astype(np.uint8), base
