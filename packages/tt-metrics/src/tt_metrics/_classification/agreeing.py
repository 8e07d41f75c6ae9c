"""Counting the labels that were predicted right, fast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["agreeing"]

BLOCK = 1 << 15  # labels compared at a time: they stay in the CPU's cache from check to check
SCORES = 1 << 13  # scores looked at at a time: for more, BLAS would wake its threads

Array = NDArray[Any]

UNSIGNED = {
    kind.char: (np.dtype(f"u{kind.itemsize}"), 1 << (8 * kind.itemsize - (kind.kind == "i")))
    for kind in map(np.dtype, "?bBhHiIlLqQ")
}
"""By the code of an integer type: the unsigned type of its size, and above which values it ends."""


def agreeing(true: Array, predicted: Array, num_classes: int | None) -> int | None:
    """Count the items whose integer label was predicted; None if anything is unusual.

    Args:
        true: Labels of shape (n,).
        predicted: Labels of shape (n,), or scores of shape (n, K).
        num_classes: K, if it is known.
    """
    if true.ndim != 1 or not true.size or not _is_whole(true):
        return None
    if predicted.ndim == 2:
        return _of_scores(true, predicted, num_classes)
    if predicted.shape != true.shape or not _is_whole(predicted):
        return None
    right = 0
    for start in range(0, len(true), BLOCK):
        some, others = true[start : start + BLOCK], predicted[start : start + BLOCK]
        if not (_are_labels(some, num_classes) and _are_labels(others, num_classes)):
            return None
        right += int(np.count_nonzero(some == others))
    return right


def _is_whole(labels: Array) -> bool:
    return labels.dtype.char in UNSIGNED and labels.dtype.isnative


def _of_scores(true: Array, scores: Array, num_classes: int | None) -> int | None:
    items, size = scores.shape
    if (
        items != len(true)
        or not 2 <= size <= SCORES
        or size != (num_classes or size)
        or scores.dtype.char not in "fd"
        or not scores.dtype.isnative
    ):
        return None
    right, step = 0, SCORES // size
    for start in range(0, items, step):
        some, block = true[start : start + step], scores[start : start + step]
        total = np.vdot(block, block)  # not finite if a score is not; unlike dot it never warns
        if not (math.isfinite(total) and _are_labels(some, size)):
            return None
        right += int(np.count_nonzero(some == block.argmax(axis=1)))
    return right


def _are_labels(labels: Array, num_classes: int | None) -> bool:
    """Whether all integers are from 0 up, and below the number of classes if it is known.

    Read as unsigned ones, negative integers are the largest: one look finds both ends.
    """
    unsigned, limit = UNSIGNED[labels.dtype.char]
    if num_classes is not None and num_classes < limit:
        limit = num_classes
    return bool(np.maximum.reduce(labels.view(unsigned)) < limit)
