"""A quantized weight matrix: codes, integer group scales and offsets, float channel scales."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.formats import Datatype

MANTISSA_BITS = 12   # signed
MANTISSA_MAX = (1 << MANTISSA_BITS - 1) - 1
MANTISSA_MIN = -(1 << MANTISSA_BITS - 1)
SHIFT_MAX = 15


def _array(name: str, array: Any, dtype: type, shape: tuple[int, ...], low: int, high: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, not {found}")
    if array.shape != shape:
        raise ValueError(f"shape of {name} must be {shape}, not {array.shape}")
    if (bad := (array < low) | (array > high)).any():
        at = np.argwhere(bad)[0].tolist()
        raise ValueError(f"{name} at {at} must be {low}...{high}, not {array[tuple(at)]}")


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizedMatrix:
    """``N`` output channels of ``K`` weights in ``G = K / group_size`` groups.

    Weight ``k`` of channel ``n`` in group ``g`` stands for
    ``channel_scale[n] * (scale[n, g] * weights[n, k] + offset[n, g])``, where scale and offset
    are ``mantissa << shift``. The power of two of the datatype (``Datatype.exponent``) is part of
    ``channel_scale``.

    Checks itself on construction: ``TypeError`` for a wrong dtype, ``ValueError`` for a wrong
    shape or range, with the position of the first bad entry.

    Parameters
    ----------
    datatype : Datatype
    codes : uint8 [N, K]
        Columns ``k_logical`` and up are padding. They meet zero activations only.
    group_size : int
        Divides ``K``; ``K`` for one group per channel.
    scale_mantissa, scale_shift : int16, uint8 [N, G]
        0 to 2047, 0 to 15.
    channel_scale : float64 [N]
        Positive and finite.
    offset_mantissa, offset_shift : int16, uint8 [N, G], or None
        -2048 to 2047, 0 to 15. Both or neither.
    k_logical : int
        Input features before padding; ``K`` when left out.
    """

    datatype: Datatype
    codes: NDArray[np.uint8]
    group_size: int
    scale_mantissa: NDArray[np.int16]
    scale_shift: NDArray[np.uint8]
    channel_scale: NDArray[np.float64]
    offset_mantissa: NDArray[np.int16] | None = None
    offset_shift: NDArray[np.uint8] | None = None
    k_logical: int = field(default=-1)

    def __post_init__(self) -> None:
        if not isinstance(self.codes, np.ndarray) or self.codes.dtype != np.uint8:
            raise TypeError("codes must be an array of uint8, not "
                            f"{getattr(self.codes, 'dtype', type(self.codes).__name__)}")
        if self.codes.ndim != 2 or 0 in self.codes.shape:
            raise ValueError(f"codes must be [N, K], both positive, not {self.codes.shape}")
        if self.group_size < 1 or self.k % self.group_size:
            raise ValueError(f"group_size must divide K = {self.k}, not {self.group_size!r}")
        if self.k_logical == -1:
            object.__setattr__(self, "k_logical", self.k)
        if not self.k - self.group_size < self.k_logical <= self.k:
            raise ValueError(f"k_logical must be {self.k - self.group_size + 1}...{self.k}, "
                             f"so that padding ends the last group, not {self.k_logical!r}")
        self.datatype.check(self.codes)
        per_group = (self.n, self.groups)
        _array("scale_mantissa", self.scale_mantissa, np.int16, per_group, 0, MANTISSA_MAX)
        _array("scale_shift", self.scale_shift, np.uint8, per_group, 0, SHIFT_MAX)
        if (self.offset_mantissa is None) != (self.offset_shift is None):
            raise ValueError("offset_mantissa and offset_shift must be both given or both None")
        if self.offset_mantissa is not None:
            _array("offset_mantissa", self.offset_mantissa, np.int16, per_group, MANTISSA_MIN,
                   MANTISSA_MAX)
            _array("offset_shift", self.offset_shift, np.uint8, per_group, 0, SHIFT_MAX)
        if self.channel_scale.dtype != np.float64:
            raise TypeError(f"channel_scale must be float64, not {self.channel_scale.dtype}")
        if self.channel_scale.shape != (self.n,):
            raise ValueError(f"shape of channel_scale must be {(self.n,)}, "
                             f"not {self.channel_scale.shape}")
        bad = ~(np.isfinite(self.channel_scale) & (self.channel_scale > 0))
        if bad.any():
            at = int(np.argmax(bad))
            raise ValueError(f"channel_scale at [{at}] must be positive and finite, "
                             f"not {self.channel_scale[at]}")

    @property
    def n(self) -> int:
        """Output channels."""
        return int(self.codes.shape[0])

    @property
    def k(self) -> int:
        """Input features, padding included."""
        return int(self.codes.shape[1])

    @property
    def groups(self) -> int:
        return self.k // self.group_size

    @property
    def asymmetric(self) -> bool:
        return self.offset_mantissa is not None

    @cached_property
    def weights(self) -> NDArray[np.int64]:
        """Integer values of the codes, [N, K]."""
        return self.datatype.decode(self.codes)

    @cached_property
    def scale(self) -> NDArray[np.int64]:
        """[N, G], not negative."""
        return self.scale_mantissa.astype(np.int64) << self.scale_shift.astype(np.int64)

    @cached_property
    def offset(self) -> NDArray[np.int64]:
        """[N, G]; zeros for a matrix without offsets."""
        if self.offset_mantissa is None or self.offset_shift is None:
            return np.zeros((self.n, self.groups), dtype=np.int64)
        return self.offset_mantissa.astype(np.int64) << self.offset_shift.astype(np.int64)

    @cached_property
    def effective(self) -> NDArray[np.int64]:
        """``scale * weights + offset``, [N, K], zero in the padding: what an activation meets."""
        effective = (self.weights * np.repeat(self.scale, self.group_size, axis=1)
                     + np.repeat(self.offset, self.group_size, axis=1))
        effective[:, self.k_logical:] = 0
        return effective

    def dequantize(self) -> NDArray[np.float64]:
        """Real weights, float64 [N, k_logical]."""
        return self.channel_scale[:, None] * self.effective[:, :self.k_logical]

    def sqnr_db(self, original: ArrayLike) -> float:
        """Signal to quantization noise in dB against ``original`` [N, k_logical].

        ``inf`` when they are equal; ``-inf`` when ``original`` is zero and this is not.
        """
        reference = np.asarray(original, dtype=np.float64)
        if reference.shape != (self.n, self.k_logical):
            raise ValueError(f"shape of original must be {(self.n, self.k_logical)}, "
                             f"not {reference.shape}")
        noise = float(np.square(reference - self.dequantize()).sum())
        signal = float(np.square(reference).sum())
        if noise == 0:
            return float("inf")
        return float(10 * np.log10(signal / noise)) if signal else float("-inf")
