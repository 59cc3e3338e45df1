"""Writes digits of weights as signed power-of-two terms, the form that serial elements read.

A digit of value v takes ``slots`` slots, and the element sums ``acc' = 4 * acc + Σ t * a`` over
them, so ``v = Σ_j 4^j t_j`` with the top slot first. A term t is 0, ±1, ±2, ±4 or ±8: BitMoD
(arXiv 2411.11745) with a radix of 4 between slots and a window of four exponents inside one.
"""

from collections.abc import Iterable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitwright.models.errors import Error

__all__ = ["MAX_SLOTS", "MAX_VALUE", "TERMS", "TermError", "digit_terms", "fewest_slots",
           "relative_signs", "slot_constant", "term_code"]

TERMS = (0, 1, -1, 2, -2, 4, -4, 8, -8)
MAX_SLOTS = 3    # slots of one digit
MAX_VALUE = 40   # 4 * 8 + 8: ``Machine.acc_bits`` is derived from it


class TermError(Error, ValueError):
    """A digit that its slots cannot express. One line, for people."""


@cache
def _best(slots: int) -> dict[int, tuple[int, ...]]:
    """Value within ±``MAX_VALUE`` -> its terms of ``slots`` slots, the top one first."""
    if not 1 <= slots <= MAX_SLOTS:
        raise TermError(f"a digit takes 1…{MAX_SLOTS} slots, not {slots!r}")
    best: dict[int, tuple[int, ...]] = {}

    def cost(terms: tuple[int, ...]) -> tuple[Any, ...]:
        exponents = sorted(abs(t).bit_length() - 1 for t in terms if t)[::-1]
        return len(exponents), exponents, [t < 0 for t in terms], [abs(t) for t in terms]

    for terms in product(TERMS, repeat=slots):
        value = sum(t << 2 * j for j, t in enumerate(reversed(terms)))
        if abs(value) <= MAX_VALUE and (value not in best or cost(terms) < cost(best[value])):
            best[value] = terms
    return best


def digit_terms(values: Iterable[int], slots: int) -> list[tuple[int, ...]]:
    """The terms of every value, ``slots`` each, the top slot first.

    Of the forms of a value the one with the fewest nonzero terms is taken; of those the one whose
    largest exponent is smallest, then the next one; then the one that is negative later. Raises
    :class:`TermError` for a value that has no form.
    """
    best = _best(slots)
    values = [int(value) for value in values]
    for value in values:
        if value not in best:
            raise TermError(f"value {value} has no form of {slots} terms 0, ±1, ±2, ±4, ±8 within "
                            f"±{MAX_VALUE}; give its digit more slots (at most {MAX_SLOTS}) or "
                            "split the value into two digits")
    return [best[value] for value in values]


def fewest_slots(values: Iterable[int]) -> int:
    """Fewest slots, 1…``MAX_SLOTS``, that serve every value of a codebook.

    Raises :class:`TermError`, naming a value, if there is none.
    """
    values = [int(value) for value in values]
    for slots in range(1, MAX_SLOTS):
        if all(value in _best(slots) for value in values):
            return slots
    digit_terms(values, MAX_SLOTS)
    return MAX_SLOTS


def term_code(term: int) -> int:
    """A term as the element takes it, 4 bits: exponent, then nonzero, then its own sign; 0 for
    the zero term. In a slice the sign is relative: :func:`relative_signs`."""
    if term not in TERMS:
        raise TermError(f"a term is 0, ±1, ±2, ±4 or ±8, not {term!r}")
    return abs(term).bit_length() - 1 | 4 | (term < 0) << 3 if term else 0


def relative_signs(signs: ArrayLike) -> NDArray[np.int64]:
    """Own signs ``[..., k_tile]``, 1 for negative, relative to lane ``k & (k - 1)``: the lane left
    of it where the element's tree joins the two. Lane 0 keeps its own."""
    own = np.asarray(signs, dtype=np.int64)
    lanes = np.arange(own.shape[-1])
    parents = own[..., lanes & (lanes - 1)]
    return np.where(lanes > 0, own ^ parents, own)


def slot_constant(terms: ArrayLike) -> NDArray[np.int64]:
    """Return the constant that complementing adds to a slot's sum beyond ``Σ t * a``: ``[...,
    k_tile]`` terms of one slot to ``[...]``.

    The element negates without the +1 that two's complement asks for. An odd lane is negated
    relative to the lane before it, and *before* a shift by two exponents, so it adds −1 or −4, and
    nothing if its term is zero. Pairs of lanes are joined in a binary tree by
    ``left + (right ^ relative sign)``, and the root is complemented by the sign of lane 0.
    A zero term counts with the sign 0 here, as :func:`term_code` writes it.

    Bound, K = k_tile: K/2 lanes add −4 at most, K/2 complements −1: at most 5/2 · K per slot and
    either sign, so 21 · 5/2 · K < 53 K over the three slots of a digit. A digit's values within
    ±40 give at most 40 · 2^(act_bits−1) · K. ``acc_bits`` = act_bits + log2 K + 6 holds
    64 · 2^(act_bits−1) · K: 24 · 2^(act_bits−1) · K ≥ 192 K are left over, more than 53 K. Sums
    after the upper slots alone are smaller: their values are within (40 + 8) / 4 = 12.
    """
    term = np.asarray(terms, dtype=np.int64)
    k_tile = term.shape[-1]
    if k_tile < 4 or k_tile & (k_tile - 1):
        raise TermError(f"a slot has a power of two of lanes, 4 at least, not {k_tile}")
    negative = term < 0
    left, right = term[..., ::2], term[..., 1::2]
    shifted = np.where(np.abs(right) >= 4, 4, np.where(right == 0, 0, 1))
    total = np.where(negative[..., ::2] != negative[..., 1::2], -shifted, 0)
    sign = left < 0
    while total.shape[-1] > 1:
        other = total[..., 1::2]
        total = total[..., ::2] + np.where(sign[..., ::2] != sign[..., 1::2], -1 - other, other)
        sign = sign[..., ::2]
    return np.where(sign, -1 - total, total)[..., 0].astype(np.int64)
