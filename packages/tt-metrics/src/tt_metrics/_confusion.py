"""The counts behind every metric on class labels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._errors import MetricInputError
from tt_metrics._inputs import as_labels, as_pair, decide
from tt_metrics._state import State, entry

__all__ = ["Confusion"]

Counts = NDArray[np.int64]

BLOCK = 1 << 16  # labels tallied at a time: the work arrays stay in the CPU's cache
MOST_GROWN = 4096  # the matrix of as many classes takes 128 MiB


class Confusion(State):
    """How often each class was predicted for each class: integers, so merging is exact.

    Args:
        threshold: A probability of at least this makes label 1; in (0, 1].
        num_classes: K. Left out, the matrix grows to the largest label that comes.
    """

    def __init__(self, *, threshold: float = 0.5, num_classes: int | None = None) -> None:
        if not 0 < threshold <= 1:
            msg = f"A threshold must be above 0 and at most 1; it is {threshold}."
            raise MetricInputError(msg)
        if num_classes is not None and num_classes < 1:
            msg = f"num_classes must be at least 1; it is {num_classes}."
            raise MetricInputError(msg)
        self.threshold = float(threshold)
        self.num_classes = num_classes
        size = num_classes or 0
        self.counts: Counts = np.zeros((size, size), np.int64)
        """Shape (K, K): rows are true classes, columns predicted ones."""

    @property
    def key(self) -> tuple[Hashable, ...]:
        return "Confusion", self.threshold, self.num_classes

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    def update(self, y_true: Any, y_predicted: Any, /) -> None:
        """Count a batch: labels of shape (n,); labels or probabilities (n,), or scores (n, K)."""
        truth, prediction = as_pair(y_true, y_predicted)
        true = as_labels(truth, "y_true")
        predicted = decide(prediction, self.threshold)
        size = 1 + max(int(true.max()), int(predicted.max()))
        self._check_columns(prediction, int(true.max()))
        self._grow(size)
        self.counts += tally(true, predicted, len(self.counts))

    def to_dict(self) -> dict[str, Any]:
        return {"counts": self.counts.copy()}

    def merge(self, data: Mapping[str, Any], /) -> None:
        counts = np.asarray(entry(data, "counts"), np.int64)
        size = len(counts)
        self._grow(size)
        self.counts[:size, :size] += counts

    def _check_columns(self, prediction: NDArray[Any], largest: int) -> None:
        if prediction.ndim != 2:
            return
        columns = prediction.shape[1]
        if largest >= columns or columns != (self.num_classes or columns):
            msg = (
                "Scores need one column per class; their shape is "
                f"{prediction.shape}, the largest label is {largest}, num_classes is "
                f"{self.num_classes}."
            )
            raise MetricInputError(msg)

    def _grow(self, size: int) -> None:
        if size <= len(self.counts):
            return
        if size > (self.num_classes or MOST_GROWN):
            msg = (
                f"Labels must be below {self.num_classes or MOST_GROWN}; {size - 1} came. "
                "Give num_classes if there really are so many classes."
            )
            raise MetricInputError(msg)
        missing = size - len(self.counts)
        self.counts = np.pad(self.counts, (0, missing))


def tally(true: NDArray[Any], predicted: NDArray[Any], size: int) -> Counts:
    """Count pairs of labels below ``size``, both of shape (n,), into a (size, size) matrix."""
    cells = np.zeros(size * size, np.int64)
    step = max(BLOCK, cells.size)  # else adding up the cells would cost more than the counting
    for start in range(0, len(true), step):
        block = slice(start, start + step)
        index = true[block].astype(np.int64) * size + predicted[block].astype(np.int64)
        cells += np.bincount(index, minlength=cells.size)
    return cells.reshape(size, size)
