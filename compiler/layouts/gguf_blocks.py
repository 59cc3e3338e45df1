"""GGUF's block types: a row is cut into blocks of 32 or 256 weights, each with its scales."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bitwright.compiler.layouts.layer_tensors import FLOATS, Tensors, e8m0
from bitwright.compiler.layouts.layout import Layout
from bitwright.compiler.layouts.native_matrix import NativeMatrix
from bitwright.models.command_line.printable import show
from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.file_formats.mapped_file import CheckpointError

__all__ = ["GGUF_TYPES", "GgufBlocks", "check_gguf", "read_gguf"]

# Codes [blocks, weights], scales and offsets [blocks, groups], or None for no offsets.
Block = tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64] | None]
_SIGN = np.uint8(8)


def _half(stored: NDArray[np.uint8]) -> NDArray[np.float64]:
    """F16 from two bytes [blocks, 2], as [blocks, 1]."""
    return np.ascontiguousarray(stored).view("<f2").astype(np.float64)


def _halves(stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Low nibbles of the bytes, then the high ones."""
    return np.concatenate([stored & 15, stored >> 4], axis=-1)


def _q4_0(block: NDArray[np.uint8]) -> Block:
    """``d · (q - 8)``"""
    return _halves(block[:, 2:]) ^ _SIGN, _half(block[:, :2]), None


def _q4_1(block: NDArray[np.uint8]) -> Block:
    """``d · q + m``"""
    d, m = _half(block[:, :2]), _half(block[:, 2:4])
    return _halves(block[:, 4:]) ^ _SIGN, d, 8 * d + m


def _q8_0(block: NDArray[np.uint8]) -> Block:
    return block[:, 2:], _half(block[:, :2]), None


def _q4_k(block: NDArray[np.uint8]) -> Block:
    """``d · s · q - dmin · m`` with ``s`` and ``m`` of 6 bits for each 32 weights, packed in 12
    bytes: those of groups 0 to 3 in the low 6 bits of bytes 0 to 3 and 4 to 7; of groups 4 to 7
    the low 4 bits in the nibbles of bytes 8 to 11, the high 2 on top of the former."""
    d, dmin = _half(block[:, :2]), _half(block[:, 2:4])
    first, second, third = np.split(block[:, 4:16], 3, axis=1)
    six, two = np.uint8(0x3F), np.uint8(0x30)
    s = np.concatenate([first & six, third & 15 | first >> 2 & two], axis=1)
    m = np.concatenate([second & six, third >> 4 | second >> 2 & two], axis=1)
    codes = _halves(block[:, 16:].reshape(len(block), 4, 32)).reshape(len(block), 256)
    scale = d * s
    return codes ^ _SIGN, scale, 8 * scale - dmin * m


def _q6_k(block: NDArray[np.uint8]) -> Block:
    """``d · s · (q - 32)`` with ``s`` a signed byte for each 16 weights. Per half of 128 weights,
    64 bytes hold the low four bits (low nibbles first) and 32 the high two, for 32 weights at a
    time."""
    low = _halves(block[:, :128].reshape(len(block), 2, 64)).reshape(len(block), 2, 4, 32)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    high = block[:, 128:192].reshape(len(block), 2, 1, 32) >> shifts & np.uint8(3)
    codes = (low | high << np.uint8(4)).reshape(len(block), 256)
    s = block[:, 192:208].view(np.int8).astype(np.float64)
    return codes ^ np.uint8(32), _half(block[:, 208:]) * s, None


def _tq1_0(block: NDArray[np.uint8]) -> Block:
    """Base 3, five weights to a byte (four in the last 4 bytes), the first one on top: digit ``i``
    is the whole part of 3 times the fraction ``byte · 3^i / 256``."""
    parts = []
    for start, stop, digits in ((0, 32, 5), (32, 48, 5), (48, 52, 4)):
        power = np.array([3**i for i in range(digits)], dtype=np.uint16)[:, None]
        fraction = block[:, None, start:stop] * power & np.uint16(255)
        parts.append((fraction * np.uint16(3) >> np.uint16(8)).reshape(len(block), -1))
    return _ternary(np.concatenate(parts, axis=1).astype(np.uint8)), _half(block[:, 52:]), None


def _tq2_0(block: NDArray[np.uint8]) -> Block:
    """Two bits: in each half of 32 bytes, the bits 0 and 1 of all bytes first."""
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    digits = block[:, :64].reshape(len(block), 2, 1, 32) >> shifts & np.uint8(3)
    return _ternary(digits.reshape(len(block), 256)), _half(block[:, 64:]), None


def _ternary(digits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if (digits == 3).any():
        raise ValueError("holds the digit 3, and -1, 0 and 1 are stored as 0, 1 and 2")
    return digits - np.uint8(1) & np.uint8(3)


def _mxfp4(block: NDArray[np.uint8]) -> Block:
    def nan(at: list[int]) -> ValueError:
        return ValueError("holds the scale 255, which is NaN in E8M0")
    return _halves(block[:, 1:]), e8m0(block[:, :1], nan), None


GGUF_TYPES: dict[str, tuple[str, Callable[[NDArray[np.uint8]], Block]]] = {
    "Q4_0": ("int4", _q4_0), "Q4_1": ("int4", _q4_1), "Q8_0": ("int8", _q8_0),
    "Q4_K": ("int4", _q4_k), "Q6_K": ("int6", _q6_k), "TQ1_0": ("ternary", _tq1_0),
    "TQ2_0": ("ternary", _tq2_0), "MXFP4": ("fp4", _mxfp4)}
"""Types that are read: datatype, and what takes blocks apart."""


def check_gguf(file: Tensors, name: str) -> None:
    """Raise :class:`CheckpointError` for a tensor that is no matrix of a type that is read."""
    where = f"{file.path}: tensor {show(name)}"
    if name not in file.names:
        raise CheckpointError(f"{where} is missing")
    kind, shape = file.dtype(name), file.shape(name)
    if kind not in GGUF_TYPES:
        raise CheckpointError(f"{where} is of type {kind}, which is not read; "
                              f"{', '.join(GGUF_TYPES)} are")
    if len(shape) != 2 or 0 in shape:
        raise CheckpointError(f"{where} must be a matrix, not of shape {list(shape)}")


def read_gguf(file: Tensors, name: str) -> NativeMatrix:
    """The matrix ``name`` [O, I]. Raises as :func:`check_gguf`, and for damaged blocks."""
    check_gguf(file, name)
    where = f"{file.path}: tensor {show(name)}"
    kind, shape = file.dtype(name), file.shape(name)
    datatype, apart = GGUF_TYPES[kind]
    try:
        codes, scale, offset = apart(file.raw(name))
    except ValueError as error:
        raise CheckpointError(f"{where} {error}: the checkpoint is damaged") from None
    if not np.isfinite(scale).all() or not (offset is None or np.isfinite(offset).all()):
        raise CheckpointError(f"{where} has a scale that is not finite: the checkpoint is damaged")
    n, k = shape
    groups = k // codes.shape[1] * scale.shape[1]
    return NativeMatrix(
        layout=f"gguf {kind}", datatype=DATATYPES[datatype], codes=codes.reshape(n, k),
        group_size=k // groups, scale=scale.reshape(n, groups), k_logical=k,
        offset=None if offset is None or not offset.any() else offset.reshape(n, groups))


class GgufBlocks(Layout):
    """The layout of a GGUF file: every matrix has a block type of its own, or is in floats."""
    name = "gguf"
    summary = ", ".join(GGUF_TYPES)
    datatypes = tuple(dict.fromkeys(datatype for datatype, _ in GGUF_TYPES.values()))
    suffixes = ("weight",)
    marks = ("weight",)
    whole_tensors = True

    def holds(self, tensors: Tensors, module: str) -> bool:
        name = f"{module}.weight"
        return name in tensors.names and tensors.dtype(name) not in FLOATS

    def read(self, tensors: Tensors, module: str, n: int, k: int) -> NativeMatrix:
        return read_gguf(tensors, f"{module}.weight")
