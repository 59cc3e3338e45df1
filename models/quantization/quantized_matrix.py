"""Holds a quantized weight matrix: codes, integer group scales and offsets, float channel scales.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.datatypes.datatype import Datatype
from bitwright.models.datatypes.mixture import Mixture

MANTISSA_BITS = 12   # signed
MANTISSA_MAX = (1 << MANTISSA_BITS - 1) - 1
MANTISSA_MIN = -(1 << MANTISSA_BITS - 1)
SHIFT_MAX = 15
PART = 1 << 20  # weights that are worked on at a time, where they need not all be


def _array(name: str, array: Any, dtype: type, shape: tuple[int, ...], low: int, high: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, not {found}")
    if array.shape != shape:
        raise ValueError(f"shape of {name} must be {shape}, not {array.shape}")
    if (bad := (array < low) | (array > high)).any():
        at = np.argwhere(bad)[0].tolist()
        raise ValueError(f"{name} at {at} must be {low}...{high}, not {array[tuple(at)]}")


_PER_CHANNEL = ("codes", "scale_mantissa", "scale_shift", "channel_scale", "offset_mantissa",
                "offset_shift", "select", "plane_shift")


def gather(a: NDArray[Any], features: NDArray[np.integer]) -> NDArray[Any]:
    """``a`` [M, k_logical] by column, [M, K]: the feature of each column, zero for -1."""
    return np.where(features >= 0, a[:, features], a.dtype.type(0))


def row_blocks(rows: int, width: int) -> Iterator[slice]:
    """``rows`` of ``width`` weights in blocks of about :data:`PART` weights."""
    step = max(1, PART // max(width, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class QuantizedMatrix:
    """``N`` output channels of ``K`` stored weights in ``G = K / group_size`` groups.

    Weight ``k`` of channel ``n`` in group ``g`` stands for
    ``channel_scale[n] * (scale[n, g] * weights[n, k] + offset[n, g])``, where scale and offset
    are ``mantissa << shift``, and multiplies the activation of input feature ``features[k]``. The
    power of two of the datatype (``exponent``) is part of ``channel_scale``.

    Checks itself on construction: ``TypeError`` for a wrong dtype, ``ValueError`` for a wrong
    shape or range, with the position of the first bad entry.

    Parameters
    ----------
    datatype : Datatype or Mixture
    codes : uint8 [N, K]
    group_size : int
        Divides ``K``; ``K`` for one group per channel.
    scale_mantissa, scale_shift : int16, uint8 [N, G]
        0 to 2047, 0 to 15.
    channel_scale : float64 [N]
        Positive and finite.
    offset_mantissa, offset_shift : int16, uint8 [N, G], or None
        -2048 to 2047, 0 to 15. Both or neither.
    k_logical : int
        Input features. When left out, ``K``, or with ``columns`` one more than the greatest.
    select : uint8 [N, G], or None
        The candidate of the mixture that each group uses. For a mixture, and only for one.
    plane_shift : uint8 [N, G, planes], or None
        Plane ``p`` weighs ``±1 << plane_shift[n, g, p]``, plus where the code's bit is 1, in place
        of the datatype's values. For ``plane_scaled`` datatypes, and only for those. With the
        scale's shift at most 15.
    columns : int64 [K], or None
        Input feature that each column multiplies; -1 for padding, which meets zero activations
        only. A feature may stand in several columns, which add up, and in none; order is free.
        None: column ``k`` is feature ``k``, and those from ``k_logical`` on, fewer than a group,
        are padding.
    """

    datatype: Datatype | Mixture
    codes: NDArray[np.uint8]
    group_size: int
    scale_mantissa: NDArray[np.int16]
    scale_shift: NDArray[np.uint8]
    channel_scale: NDArray[np.float64]
    offset_mantissa: NDArray[np.int16] | None = None
    offset_shift: NDArray[np.uint8] | None = None
    k_logical: int = field(default=-1)
    select: NDArray[np.uint8] | None = None
    plane_shift: NDArray[np.uint8] | None = None
    columns: NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        return (f"QuantizedMatrix({self.datatype.name}, {self.n} x {self.k} in groups of "
                f"{self.group_size})")

    def __post_init__(self) -> None:
        if not isinstance(self.codes, np.ndarray) or self.codes.dtype != np.uint8:
            raise TypeError("codes must be an array of uint8, not "
                            f"{getattr(self.codes, 'dtype', type(self.codes).__name__)}")
        if self.codes.ndim != 2 or 0 in self.codes.shape:
            raise ValueError(f"codes must be [N, K], both positive, not {self.codes.shape}")
        if self.group_size < 1 or self.k % self.group_size:
            raise ValueError(f"group_size must divide K = {self.k}, not {self.group_size!r}")
        self._check_columns()
        per_group = (self.n, self.groups)
        self._check_codes(per_group)
        _array("scale_mantissa", self.scale_mantissa, np.int16, per_group, 0, MANTISSA_MAX)
        _array("scale_shift", self.scale_shift, np.uint8, per_group, 0, SHIFT_MAX)
        self._check_plane_shift(per_group)
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

    def _check_columns(self) -> None:
        if self.columns is None:
            if self.k_logical == -1:
                object.__setattr__(self, "k_logical", self.k)
            if not self.k - self.group_size < self.k_logical <= self.k:
                raise ValueError(f"k_logical must be {self.k - self.group_size + 1}...{self.k}, "
                                 f"so that padding ends the last group, not {self.k_logical!r}")
            return
        last = np.iinfo(np.int64).max if self.k_logical == -1 else self.k_logical - 1
        _array("columns", self.columns, np.int64, (self.k,), -1, last)
        if self.k_logical == -1:
            object.__setattr__(self, "k_logical", int(self.columns.max()) + 1)
        if self.k_logical < 1:
            raise ValueError(f"k_logical must be positive, not {self.k_logical!r}")

    def _check_codes(self, per_group: tuple[int, int]) -> None:
        if isinstance(self.datatype, Mixture):
            if self.select is None:
                raise ValueError(f"select must be given for mixture {self.datatype.name}")
            _array("select", self.select, np.uint8, per_group, 0, len(self.datatype.datatypes) - 1)
            self.datatype.check(self.codes, self._by_column(self.select))
        elif self.select is not None:
            raise ValueError(f"select must be None for {self.datatype.name}, which is no mixture")
        else:
            self.datatype.check(self.codes)

    def _check_plane_shift(self, per_group: tuple[int, int]) -> None:
        scaled = isinstance(self.datatype, Datatype) and self.datatype.plane_scaled
        if scaled != (self.plane_shift is not None):
            raise ValueError(f"plane_shift must be {'given' if scaled else 'None'} "
                             f"for {self.datatype.name}")
        if self.plane_shift is None:
            return
        _array("plane_shift", self.plane_shift, np.uint8, (*per_group, self.datatype.planes), 0,
               SHIFT_MAX)
        total = self.plane_shift.astype(np.int64) + self.scale_shift[:, :, None]
        if (bad := total > SHIFT_MAX).any():
            at = np.argwhere(bad)[0].tolist()
            raise ValueError(f"scale_shift + plane_shift at {at} must be at most {SHIFT_MAX}, "
                             f"not {total[tuple(at)]}")

    def _by_column(self, per_group: NDArray[Any]) -> NDArray[Any]:
        """[N, G, …] as [N, K, …]."""
        return np.repeat(per_group, self.group_size, axis=1)

    def channels(self, part: slice) -> "QuantizedMatrix":
        """Some of the channels as a matrix of their own, which shares their memory."""
        def cut(array: NDArray[Any] | None) -> Any:
            return None if array is None else array[part]

        return replace(self, **{name: cut(getattr(self, name)) for name in _PER_CHANNEL})

    @classmethod
    def join(cls, parts: Sequence["QuantizedMatrix"]) -> "QuantizedMatrix":
        """The channels of all ``parts``, which differ in nothing else."""
        if len(parts) == 1:
            return parts[0]
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in _PER_CHANNEL if getattr(parts[0], name) is not None}
        return replace(parts[0], **joined)

    def parts(self) -> Iterator[tuple[slice, "QuantizedMatrix"]]:
        """All channels in their order, about :data:`PART` weights at a time."""
        for part in row_blocks(self.n, self.k):
            yield part, self.channels(part)

    @property
    def n(self) -> int:
        """Output channels."""
        return int(self.codes.shape[0])

    @property
    def k(self) -> int:
        """Stored columns, padding included."""
        return int(self.codes.shape[1])

    @property
    def groups(self) -> int:
        return self.k // self.group_size

    @property
    def asymmetric(self) -> bool:
        return self.offset_mantissa is not None

    @cached_property
    def features(self) -> NDArray[np.int64]:
        """Input feature of every column, int64 [K]; -1 for padding."""
        if self.columns is not None:
            return self.columns
        every = np.arange(self.k)
        return np.where(every < self.k_logical, every, -1)

    @cached_property
    def weights(self) -> NDArray[np.int64]:
        """Integer values of the codes, [N, K]."""
        if isinstance(self.datatype, Mixture):
            assert self.select is not None
            return self.datatype.decode(self.codes, self._by_column(self.select))
        if self.plane_shift is not None:
            weights = np.zeros(self.codes.shape, dtype=np.int64)
            for plane in range(self.datatype.planes):
                sign = 2 * (self.codes >> np.uint8(plane) & 1).astype(np.int64) - 1
                weights += sign << self._by_column(self.plane_shift[:, :, plane].astype(np.int64))
            return weights
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
        effective = self.weights * self._by_column(self.scale) + self._by_column(self.offset)
        effective[:, self.features < 0] = 0
        return effective

    @cached_property
    def by_feature(self) -> NDArray[np.int64]:
        """:attr:`effective` per input feature, [N, k_logical]: columns of a feature added up."""
        if self.columns is None:
            return self.effective[:, :self.k_logical]
        total = np.zeros((self.k_logical, self.n), dtype=np.int64)
        used = self.columns >= 0
        np.add.at(total, self.columns[used], self.effective.T[used])
        return total.T

    def dequantize(self) -> NDArray[np.float64]:
        """Real weights, float64 [N, k_logical]."""
        return self.channel_scale[:, None] * self.by_feature

    def gather(self, a: NDArray[Any]) -> NDArray[Any]:
        """``a`` [M, k_logical] by column, [M, K]: zero where a column is padding."""
        if a.ndim != 2 or a.shape[1] != self.k_logical:
            raise ValueError(f"activations must be [M, {self.k_logical}], not {a.shape}")
        return gather(a, self.features)

    def sqnr_db(self, original: ArrayLike | Callable[[slice], NDArray[Any]]) -> float:
        """Signal to quantization noise in dB against ``original`` [N, k_logical], which may be a
        function that gives rows of it.

        ``inf`` when they are equal; ``-inf`` when ``original`` is zero and this is not.
        """
        if callable(original):
            rows = original
        else:
            every = np.asarray(original)
            rows = every.__getitem__
            if every.shape != (self.n, self.k_logical):
                raise ValueError(f"shape of original must be {(self.n, self.k_logical)}, "
                                 f"not {every.shape}")
        noise = signal = 0.0
        for part, matrix in self.parts():
            reference = rows(part).astype(np.float64)
            signal += float(np.square(reference).sum())
            reference -= matrix.dequantize()
            noise += float(np.square(reference).sum())
        if noise == 0:
            return float("inf")
        return float(10 * np.log10(signal / noise)) if signal else float("-inf")
