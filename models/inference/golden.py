"""Multiplies matrices exactly: integers in, integers out, no rounding.

    y[m, n] = sum_g ( scale[n, g] * sum_{k in g} w[n, k] * a[m, f(k)]
                      + offset[n, g] * sum_{k in g} a[m, f(k)] )

``f(k)`` is the input feature of column ``k``, and ``a`` is zero where a column is padding.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.quantization.quantized_matrix import QuantizedMatrix, gather

_FLOAT64_EXACT = 1 << 53
ACCUMULATOR_MAX = (1 << 31) - 1   # accumulators are int32
_INT64_SAFE = 1 << 62


def _activations(a: ArrayLike, qm: QuantizedMatrix) -> NDArray[np.int64]:
    """``a`` as int64 [M, k_logical]."""
    array = np.asarray(a)
    if array.dtype.kind not in "iu":
        raise TypeError(f"activations must be integers, not {array.dtype}")
    widths = (qm.k_logical, qm.k) if qm.columns is None else (qm.k_logical,)
    if array.ndim != 2 or array.shape[1] not in widths:
        raise ValueError(f"activations must be [M, {qm.k_logical}], not {array.shape}")
    if array[:, qm.k_logical:].any():
        raise ValueError(f"activations from column {qm.k_logical} on are padding and must be 0")
    if array.size and (int(array.max()) > 32767 or int(array.min()) < -32768):
        raise ValueError("activations must fit 16 bits, not "
                         f"{int(array.min())}...{int(array.max())}")
    return array[:, :qm.k_logical].astype(np.int64)


def _bound(qm: QuantizedMatrix, most: int) -> int:
    """No sum of products of activations within +-``most``, in any order, is greater."""
    magnitude = np.abs(qm.effective)
    # float64 has the range; its rounding is far below the margin of the limits compared with.
    if (rough := float(magnitude.sum(axis=1, dtype=np.float64).max())) >= _INT64_SAFE:
        return int(rough) * most
    return int(magnitude.sum(axis=1).max()) * most


def mpgemm_reference(a: ArrayLike, qm: QuantizedMatrix) -> NDArray[np.int64]:
    """The definition term by term in int64. Same contract as :func:`mpgemm`."""
    a = _activations(a, qm)
    if _bound(qm, int(np.abs(a).max(initial=0))) >= _INT64_SAFE:
        raise OverflowError("sums of this matrix and these activations do not fit int64")
    y = np.zeros((a.shape[0], qm.n), dtype=np.int64)
    columns: NDArray[np.int64] = qm.gather(a)
    for g in range(qm.groups):
        group = slice(g * qm.group_size, (g + 1) * qm.group_size)
        part = columns[:, group]
        y += qm.scale[:, g] * (part @ qm.weights[:, group].T)
        y += qm.offset[:, g] * part.sum(axis=1)[:, None]
    return y


def mpgemm(a: ArrayLike, qm: QuantizedMatrix) -> NDArray[np.int64]:
    """``y`` of the module's formula, int64 [M, N], exact.

    ``a`` is integer [M, k_logical], 16 bits at most, by input feature; for a matrix without
    ``columns`` also [M, K] with zeros in the padding.
    ``OverflowError`` if a sum might not fit int64, which takes activations of more than eight
    bits and scales near their limit.
    """
    integers = _activations(a, qm)
    bound = _bound(qm, int(np.abs(integers).max(initial=0)))
    if bound >= _FLOAT64_EXACT:
        return mpgemm_reference(integers, qm)
    # Products and partial sums are integers below 2**53: float64 holds them in any order.
    weights = qm.by_feature.astype(np.float64)
    return (integers.astype(np.float64) @ weights.T).astype(np.int64)


def accumulator_bound(qm: QuantizedMatrix, act_bits: int = 8) -> NDArray[np.int64]:
    """Greatest ``|y|`` of each channel, int64 [N], over all activations of ``act_bits`` bits.

    No partial sum of whole groups, in any order, exceeds it, and some activations reach it unless
    a feature stands in several columns, whose partial sums may exceed the last. An accumulator of
    ``b`` bits holds channel ``n`` when the bound is below ``2**(b-1)``.
    """
    if not 1 <= act_bits <= 16:
        raise ValueError(f"act_bits must be 1 to 16, not {act_bits!r}")
    low, high = 1 << (act_bits - 1), (1 << (act_bits - 1)) - 1
    bounds = np.empty(qm.n, dtype=np.int64)
    for part, matrix in qm.parts():
        if _bound(matrix, low) >= _INT64_SAFE:
            raise OverflowError("the accumulator bound of this matrix does not fit int64")
        up = np.maximum(matrix.effective, 0).sum(axis=1)
        down = up - matrix.effective.sum(axis=1)
        bounds[part] = np.maximum(up * high + down * low, up * low + down * high)
    return bounds


class PreparedMatrix:
    """One matrix, made ready once for products with many activations.

    ``weights`` float64 [k_logical, n] are :attr:`QuantizedMatrix.by_feature`; ``columns`` and
    ``channel_scale`` are the matrix's.
    """

    def __init__(self, qm: QuantizedMatrix) -> None:
        self.n, self.k_logical = qm.n, qm.k_logical
        self.columns, self.channel_scale = qm.columns, qm.channel_scale
        self._bound = _bound(qm, 1)
        self.weights = np.ascontiguousarray(qm.by_feature.astype(np.float64)).T

    @property
    def nbytes(self) -> int:
        return self.weights.nbytes

    def __call__(self, a: NDArray[np.integer]) -> NDArray[np.int64]:
        """:func:`mpgemm` of ``a`` integer [M, k_logical]. ``OverflowError`` where float64 might
        round, which takes sums far beyond the accumulators' 32 bits."""
        if self._bound * int(np.abs(a.astype(np.int64)).max(initial=0)) >= _FLOAT64_EXACT:
            raise OverflowError("sums of this matrix and these activations exceed 2**53")
        product: NDArray[np.int64] = (a.astype(np.float64) @ self.weights).astype(np.int64)
        return product

    def by_column(self, a: NDArray[Any]) -> NDArray[Any]:
        """``a`` [M, k_logical] in the order of the stored columns."""
        return a if self.columns is None else gather(a, self.columns)


def dequantize_output(y: ArrayLike, qm: QuantizedMatrix | PreparedMatrix, sx: ArrayLike,
                      bias: ArrayLike | None = None) -> NDArray[np.float64]:
    """``(sx[m] * channel_scale[n]) * y[m, n] + bias[n]``, float64 [M, N], in that order."""
    scales = np.multiply.outer(np.asarray(sx, dtype=np.float64), qm.channel_scale)
    out: NDArray[np.float64] = scales * np.asarray(y)
    return out if bias is None else out + np.asarray(bias, dtype=np.float64)
