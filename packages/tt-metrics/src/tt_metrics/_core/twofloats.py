"""Totals as unevaluated sums of two float64s, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["added", "few_summed", "folded", "pairs_added", "renewed", "two_sum"]

Array = NDArray[np.float64]
T = TypeVar("T", float, NDArray[np.float64])


def renewed(high: Array, low: Array | float = 0.0) -> Array:
    """Give ``high + low`` as two floats, shape (2, ...): the rounded sum and what that lost."""
    total, error = two_sum(high, np.asarray(low, np.float64))
    return np.array([total, error])


def added(a: Array, b: Array) -> Array:
    """Add two floats of shape (2, ...) each; the relative error is about 1e-32 for equal signs."""
    return np.array(pairs_added((a[0], a[1]), (b[0], b[1])))


def pairs_added(a: tuple[T, T], b: tuple[T, T]) -> tuple[T, T]:
    """Add two pairs of numbers or arrays, as `added` does."""
    high, error = two_sum(a[0], b[0])
    low = error + (a[1] + b[1])
    total = high + low
    return total, low - (total - high)


def folded(terms: Sequence[Array]) -> Array:
    """Sum at least one array of equal shapes (...) into two floats, shape (2, ...)."""
    if len(terms) == 1:
        return np.array([terms[0], np.zeros_like(terms[0])])
    stack = np.array(terms)
    pairs = np.array([stack, np.zeros_like(stack)])
    while pairs.shape[1] > 1:
        half = pairs.shape[1] // 2
        sums = added(pairs[:, :half], pairs[:, half : 2 * half])
        pairs = np.concatenate([sums, pairs[:, 2 * half :]], axis=1)
    whole: Array = pairs[:, 0]
    return whole


def few_summed(terms: Array) -> Array:
    """Sum a few numbers per row, shape (..., k), as two floats of shape (2, ...).

    Each number is cut in two at the same power of two: the upper parts are multiples of one unit so
    coarse that sums of them are exact, and what rounding loses of the lower parts is below 1e-20 of
    the largest number (S. M. Rump, T. Ogita and S. Oishi, Accurate floating-point summation,
    part I, SIAM Journal on Scientific Computing 31, 2008: ExtractVector).
    """
    above = np.frexp(np.abs(terms).max(axis=-1, keepdims=True))[1] + terms.shape[-1].bit_length()
    if above.max() > 1023:  # the unit would be infinite
        return renewed(np.add.reduce(terms, axis=-1))
    unit = np.ldexp(1.0, above)
    upper = (terms + unit) - unit
    lower = terms - upper
    return renewed(np.add.reduce(upper, axis=-1), np.add.reduce(lower, axis=-1))


def two_sum(a: T, b: T) -> tuple[T, T]:
    """Give the rounded sum and the rounding error, which is a float64 itself.

    Six operations without a branch (D. E. Knuth, The Art of Computer Programming, volume 2, section
    4.2.2, theorem B).
    """
    total = a + b
    seen = total - a
    return total, (a - (total - seen)) + (b - seen)
