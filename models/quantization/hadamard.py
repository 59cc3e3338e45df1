"""Rotates activations and weights by Hadamard matrices. Outliers spread over all features, and no
product changes.

With ``Q`` orthogonal, ``(x Q) (W Q).T = x W.T``: weights are rotated once, offline, and activations
when the layer runs, before they are quantized (QuaRot, arXiv 2404.00456; BitNet v2, arXiv
2504.18415). ``Q = D H / sqrt(n)`` where ``H`` holds only +1 and -1, so that the online part is sums
and differences: ``n log2(n / m) + n m`` of them with the orders below. The diagonal ``D`` of signs
keeps features' common mean from gathering in the first rotated one.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["base_order", "hadamard", "has_rotation", "rotate", "rotate_weight", "signs"]

Array = NDArray[np.floating]
MOST_BASE = 256


def _is_prime(q: int) -> bool:
    return q > 1 and all(q % d for d in range(2, int(q ** 0.5) + 1))


def _kind(m: int) -> int:
    """1 or 2 where Paley's first or second construction of order ``m`` starts from a prime, else 0.
    """
    if m % 4 == 0 and _is_prime(m - 1):
        return 1
    q = m // 2 - 1
    return 2 if m % 4 == 0 and q % 4 == 1 and _is_prime(q) else 0


def base_order(n: int) -> int:
    """The least ``m`` with ``n = m * 2**a`` for which a matrix is known here: 1, or 12, 20, 28, 36,
    44, 60, 68, 76, 84 … up to 256 by Paley's constructions. ``ValueError`` where there is none."""
    m = n // (n & -n) if n > 0 else 0  # the odd part
    while 0 < m <= MOST_BASE and n % m == 0:
        if m == 1 or _kind(m):
            return m
        m *= 2
    raise ValueError(f"no Hadamard matrix of order {n} is known here: it must be a power of two "
                     f"times 1, 12, 20, 28, 36 or another order of Paley's up to {MOST_BASE}")


def has_rotation(n: int) -> bool:
    """Say whether :func:`rotate` takes ``n`` features."""
    try:
        return base_order(n) > 0
    except ValueError:
        return False


def _paley(m: int) -> NDArray[np.int8]:
    kind = _kind(m)
    q = m - 1 if kind == 1 else m // 2 - 1
    squares = np.full(q, -1)
    squares[np.arange(1, q) ** 2 % q] = 1
    squares[0] = 0
    core = squares[(np.arange(q)[:, None] - np.arange(q)[None, :]) % q]
    conference = np.zeros((q + 1, q + 1), dtype=np.int8)
    conference[0, 1:], conference[1:, 0], conference[1:, 1:] = 1, -1 if kind == 1 else 1, core
    if kind == 1:
        return conference + np.eye(m, dtype=np.int8)
    plain = np.array([[1, 1], [1, -1]], dtype=np.int8)
    diagonal = np.array([[1, -1], [-1, -1]], dtype=np.int8)
    return np.kron(conference, plain) + np.kron(np.eye(q + 1, dtype=np.int8), diagonal)


@lru_cache(maxsize=8)
def _base(m: int) -> NDArray[np.int8]:
    found = np.ones((1, 1), dtype=np.int8) if m == 1 else _paley(m)
    found.setflags(write=False)
    return found


def hadamard(n: int) -> NDArray[np.int8]:
    """The matrix ``H`` [n, n] of +1 and -1 with ``H @ H.T = n * I`` that :func:`rotate` is fast
    for: Paley's of order :func:`base_order`, by Sylvester's of the rest. ``ValueError`` for an
    order of which none is known."""
    found = _base(base_order(n))
    while len(found) < n:
        found = np.kron(found, np.array([[1, 1], [1, -1]], dtype=np.int8))
    return found


def signs(n: int) -> NDArray[np.int8]:
    """``D``: the first ``n`` signs of Rudin and Shapiro's sequence, -1 where a number in binary has
    an odd count of neighbouring ones. Its Walsh spectrum is flat."""
    k = np.arange(n)
    return (1 - 2 * (np.bitwise_count(k & k >> 1) & 1)).astype(np.int8)


def rotate(x: Array) -> Array:
    """``x @ Q`` along the last axis, in the dtype of ``x``, by the fast transform."""
    n = x.shape[-1]
    m = base_order(n)
    y = (x * signs(n).astype(x.dtype)).reshape(-1, m, n // m)
    if m > 1:
        y = np.matmul(_base(m).T.astype(x.dtype), y)
    width = 1
    while width < n // m:
        pairs = y.reshape(len(y), -1, 2, width)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        y = np.stack([first + second, first - second], axis=2)
        width *= 2
    result: Array = y.reshape(x.shape) * x.dtype.type(n ** -0.5)
    return result


def rotate_weight(weight: Array) -> Array:
    """``weight`` [N, K] as it must be for rotated activations: ``weight @ Q``, worked out in
    float64, in its dtype."""
    result: Array = rotate(weight.astype(np.float64)).astype(weight.dtype)
    return result

