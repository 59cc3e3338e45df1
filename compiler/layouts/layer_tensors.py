"""Holds what readers share: parts of a layer by name with dtype and shape checked, packed bits,
columns in groups."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from bitwright.models.command_line.printable import show
from bitwright.models.file_formats.mapped_file import CheckpointError

FLOATS = ("F32", "F16", "BF16")
_BLOCK = 1 << 20  # values unpacked at a time


class Tensors(Protocol):
    """The tensors of a checkpoint, in one file or several."""
    path: Path

    @property
    def names(self) -> Collection[str]: ...
    def shape(self, name: str) -> tuple[int, ...]: ...
    def dtype(self, name: str) -> str: ...
    def raw(self, name: str, row: int | None = None) -> NDArray: ...


class Layer:
    """The parts of one linear layer, ``module.suffix``. Every error is a
    :class:`CheckpointError` that names the tensor."""

    def __init__(self, tensors: Tensors, module: str, layout: str, suffixes: Sequence[str]):
        self.tensors, self.module, self.layout, self.suffixes = tensors, module, layout, suffixes

    def name(self, suffix: str) -> str:
        return f"{self.module}.{suffix}" if suffix[:1] != "_" else self.module + suffix

    def has(self, suffix: str) -> bool:
        return self.name(suffix) in self.tensors.names

    def error(self, suffix: str, text: str) -> CheckpointError:
        return CheckpointError(f"{self.tensors.path}: tensor {show(self.name(suffix))} {text}")

    def check(self, suffix: str, dtypes: Sequence[str], shape: Sequence[int | None]) -> None:
        """``None`` in ``shape`` takes any size."""
        if not self.has(suffix):
            raise self.error(suffix, f"is missing; layers of layout {self.layout} have "
                                     f"{', '.join(self.suffixes)}")
        name = self.name(suffix)
        if (dtype := self.tensors.dtype(name)) not in dtypes:
            raise self.error(suffix, f"of layout {self.layout} must be of {' or '.join(dtypes)}, "
                                     f"not {dtype}")
        found = self.tensors.shape(name)
        if len(found) != len(shape) or any(want not in (None, have)
                                           for want, have in zip(shape, found, strict=True)):
            wanted = [dim if dim is not None else "any" for dim in shape]
            raise self.error(suffix, f"of layout {self.layout} must have shape "
                                     f"[{', '.join(map(str, wanted))}], not {list(found)}")

    def take(self, suffix: str, dtypes: Sequence[str], shape: Sequence[int | None]) -> NDArray:
        """Read the part as stored; 8-bit floats come as their bytes."""
        self.check(suffix, dtypes, shape)
        return self.tensors.raw(self.name(suffix))

    def floats(self, suffix: str, shape: Sequence[int | None], dtypes: Sequence[str] = FLOATS
               ) -> NDArray[np.float64]:
        """Finite numbers, exactly."""
        raw = self.take(suffix, dtypes, shape)
        if self.tensors.dtype(self.name(suffix)) == "F8_E4M3":
            raw = raw.view(ml_dtypes.float8_e4m3fn)
        found = raw.astype(np.float64)
        if (bad := ~np.isfinite(found)).any():
            at = np.argwhere(bad)[0].tolist()
            raise self.error(suffix, f"at {at} is {found[tuple(at)]}; scales must be finite: the "
                                     "checkpoint is damaged")
        return found

    def powers(self, suffix: str, shape: Sequence[int | None]) -> NDArray[np.float64]:
        """E8M0: ``2**(byte - 127)``; 255 is NaN and refused."""
        return e8m0(self.take(suffix, ("U8", "F8_E8M0"), shape),
                    lambda at: self.error(suffix, f"at {at} is 255, which is NaN in E8M0: the "
                                                  "checkpoint is damaged"))


def e8m0(stored: NDArray[np.uint8], error) -> NDArray[np.float64]:
    if (bad := stored == 255).any():
        raise error(np.argwhere(bad)[0].tolist())
    return np.ldexp(1.0, stored.astype(np.int64) - 127)


def unpack_stream(words: NDArray, bits: int, count: int) -> NDArray[np.uint8]:
    """``count`` values of ``bits`` bits from each row of 32-bit ``words`` [R, W], a dense stream
    from the least significant bit on; a value may lie in two words."""
    words = np.ascontiguousarray(words).view(np.uint32)
    at = np.arange(count) * bits
    word, shift = at // 32, (at % 32).astype(np.uint64)
    rows = max(1, _BLOCK // max(count, 1))
    found = np.empty((len(words), count), dtype=np.uint8)
    for start in range(0, len(words), rows):
        part = words[start:start + rows].astype(np.uint64)
        after = np.pad(part[:, 1:], ((0, 0), (0, 1)))
        pair = part | after << np.uint64(32)
        found[start:start + rows] = pair[:, word] >> shift & np.uint64((1 << bits) - 1)
    return found


def unpack_words(words: NDArray, bits: int, count: int) -> NDArray[np.uint8]:
    """Unpack words of ``32 // bits`` whole values, the bits above unused; else like
    :func:`unpack_stream`."""
    words = np.ascontiguousarray(words).view(np.uint32)
    found = np.empty((len(words), words.shape[1], 32 // bits), dtype=np.uint8)
    for at in range(32 // bits):
        found[:, :, at] = words >> np.uint32(at * bits) & np.uint32((1 << bits) - 1)
    return found.reshape(len(words), -1)[:, :count]


def nibbles(packed: NDArray[np.uint8], high_first: bool = False) -> NDArray[np.uint8]:
    """Two values per byte along the last axis, the low nibble first unless told otherwise."""
    low, high = packed & np.uint8(15), packed >> np.uint8(4)
    pair = (high, low) if high_first else (low, high)
    return np.stack(pair, axis=-1).reshape(*packed.shape[:-1], -1)


def pad_columns(codes: NDArray[np.uint8], group_size: int, filling: int = 0) -> NDArray[np.uint8]:
    """``codes`` [N, K] with columns of ``filling`` until groups are whole."""
    return np.pad(codes, ((0, 0), (0, -codes.shape[1] % group_size)), constant_values=filling)


def order_by_group(group_of: NDArray, groups: int, group_size: int, error
                   ) -> NDArray[np.int64] | None:
    """Stored columns such that groups lie together, for input features of ``group_of`` [I]:
    int64 [groups · group_size], -1 where a group is short; None if the features already do.

    ``error(text)`` makes the error for a group that does not exist or has too many features.
    """
    index = group_of.astype(np.int64)
    if (index == np.arange(len(index)) // group_size).all():
        return None
    if (bad := (index < 0) | (index >= groups)).any():
        at = int(bad.argmax())
        raise error(f"at [{at}] must be a group 0...{groups - 1}, not {index[at]}")
    count = np.bincount(index, minlength=groups)
    if (most := int(count.max())) > group_size:
        raise error(f"gives group {int(count.argmax())} {most} features, and a group has at most "
                    f"{group_size}")
    order = np.argsort(index, kind="stable")
    columns = np.full(groups * group_size, -1, dtype=np.int64)
    starts = np.cumsum(count) - count
    within = np.arange(len(index)) - starts[index[order]]
    columns[index[order] * group_size + within] = order
    return columns


def by_columns(codes: NDArray[np.uint8], columns: NDArray[np.int64] | None, group_size: int,
               filling: int = 0) -> NDArray[np.uint8]:
    """``codes`` [N, I] by stored column, ``filling`` in the padding."""
    if columns is None:
        return pad_columns(codes, group_size, filling)
    return np.where(columns >= 0, codes[:, columns], np.uint8(filling))
