"""Counting pairs of labels, fast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["tally", "tally_scores"]

BLOCK = 1 << 16  # labels counted at a time: the work arrays stay in the CPU's cache
INT64 = np.dtype(np.int64)
SMALL = 1 << 13  # scores looked at in one go; for more, BLAS would wake its threads


def tally(
    true: NDArray[Any],
    predicted: NDArray[Any],
    size: int,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[Any]:
    """Count pairs of labels below ``size``, both of shape (n,), into a (size, size) matrix."""
    cells = np.zeros(size * size, np.int64 if weights is None else np.float64)
    step = max(BLOCK, cells.size)  # else adding up the cells would cost more than the counting
    for start in range(0, len(true), step):
        block = slice(start, start + step)
        index = true[block].astype(np.int64)
        index *= size
        np.add(index, predicted[block], out=index, casting="unsafe")
        share = None if weights is None else weights[block]
        cells += np.bincount(index, share, cells.size)
    return cells.reshape(size, size)


def tally_scores(y_true: Any, scores: Any, size: int) -> NDArray[np.int64] | None:
    """Count a small batch of integer labels (n,) and scores (n, size); None if anything is unusual.

    One scalar product finds a score that is not finite, and making one index of two a label that is
    out of range.
    """
    if (
        type(y_true) is not np.ndarray
        or type(scores) is not np.ndarray
        or y_true.dtype is not INT64
        or scores.shape != (y_true.size, size)
        or y_true.ndim != 1
        or size < 2
        or not 0 < scores.size <= SMALL
        or scores.dtype.char not in "fd"
    ):
        return None
    if not math.isfinite(np.vdot(scores, scores)):  # unlike dot, it does not warn of overflow
        return None
    try:
        cells = np.ravel_multi_index((y_true, scores.argmax(axis=1)), (size, size))
    except ValueError:
        return None
    return np.bincount(cells, minlength=size * size).reshape(size, size)
