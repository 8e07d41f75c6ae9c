"""How many labels were among the k with the highest scores."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._classification.hits import Hits
from tt_metrics._core.inputs import as_array, as_whole
from tt_metrics._core.labels import LabelReader
from tt_metrics._errors import MetricInputError

__all__ = ["TopHits"]

BLOCK = 1 << 16  # scores compared at a time: the work arrays stay in the CPU's cache


class TopHits(Hits):
    """An item is right if fewer than k scores are above that of its label.

    A score equal to it in a later column counts as above.

    Args:
        k: At least 1 and less than the number of labels.
        num_classes: K, if it is known.
        labels: All labels, in the order of the columns of scores.
    """

    def __init__(
        self, k: int, *, num_classes: int | None = None, labels: Sequence[Any] | None = None
    ) -> None:
        super().__init__()
        self.k = as_whole(k, "k", 1)
        self._reader = LabelReader(num_classes=num_classes, labels=labels)
        self._check_size(self._reader.num_classes)

    @property
    def key(self) -> tuple[Hashable, ...]:
        return "TopHits", self.k, *self._reader.key

    def found(self, y_true: Any, y_predicted: Any) -> NDArray[np.bool_]:
        """Tell which items have their label among the k highest."""
        scores = as_array(y_predicted, "y_predicted")
        if scores.ndim != 2:
            msg = f"Top-k accuracy needs scores of shape (n, K); their shape is {scores.shape}."
            raise MetricInputError(msg)
        self._check_size(scores.shape[1])
        true = self._reader.read(y_true, scores).true
        found = np.empty(len(true), np.bool_)
        step = max(1, BLOCK // scores.shape[1])
        for start in range(0, len(true), step):
            block = slice(start, start + step)
            found[block] = _above(true[block, None], scores[block]) < self.k
        return found

    def _check_size(self, size: int | None) -> None:
        if size is not None and size <= self.k:
            msg = f"k must be less than the number of classes, {size}; it is {self.k}."
            raise MetricInputError(msg)


def _above(true: NDArray[Any], scores: NDArray[Any]) -> NDArray[np.intp]:
    """How many scores rank above that of the label, shape (n,)."""
    own = np.take_along_axis(scores, true.astype(np.intp), axis=1)
    above = scores > own
    above |= (scores == own) & (np.arange(scores.shape[1]) > true)
    counts: NDArray[np.intp] = np.count_nonzero(above, axis=1)
    return counts
