"""Targets as class numbers, predictions as checked probabilities."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_array, as_matching, as_numbers, matched, require
from tt_metrics._core.labels import LabelReader
from tt_metrics._errors import MetricInputError

__all__ = ["Predicted", "ProbabilityReader"]


class Predicted(NamedTuple):
    """Items with what was predicted for them.

    Attributes:
        true: Class numbers of shape (n,), or 0 and 1 of shape (n, L) for several labels per item.
        predicted: Probabilities of the second class, shape (n,); of all classes, shape (n, K); or
            of each label, shape (n, L).
    """

    true: NDArray[Any]
    predicted: NDArray[Any]


class ProbabilityReader:
    """Reads targets and probabilities, and refuses what are none.

    Args:
        labels: All labels, in the order of the columns; left out, 0, 1, 2, ...
        multilabel: Each item has several labels, each of which applies or not.
    """

    def __init__(self, labels: Sequence[Any] | None = None, *, multilabel: bool = False) -> None:
        if multilabel and labels is not None:
            msg = "labels are for one class per item; with multilabel=True leave them out."
            raise MetricInputError(msg)
        self._labels = LabelReader(labels=labels)
        self.multilabel = multilabel

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What makes two readers read alike."""
        return self._labels.labels, self.multilabel

    def read(self, y_true: Any, y_predicted: Any) -> Predicted:
        """Give class numbers and probabilities."""
        predicted = as_numbers(y_predicted, "y_predicted")
        if predicted.min() < 0 or predicted.max() > 1:
            inside = (predicted >= 0) & (predicted <= 1)
            require(inside, predicted, "y_predicted", "must be probabilities in [0, 1]")
        if self.multilabel:
            return _labelled(*as_matching(y_true, predicted))
        true, predicted = matched(self._classes(y_true), predicted)
        self._check_columns(int(true.max()), predicted)
        if predicted.ndim == 2:
            sums = predicted.sum(axis=1, dtype=np.float64)
            near = np.abs(sums - 1) <= _resolution(y_predicted, predicted) ** 0.5
            require(near, sums, "y_predicted", "must have rows that sum to 1")
        return Predicted(true, predicted)

    def _classes(self, y_true: Any) -> NDArray[Any]:
        true = as_array(y_true, "y_true")
        read = self._labels.read(true, true)
        if read.names is not None:
            msg = (
                "Text labels need `labels`, in the order of the columns of the probabilities; "
                f"without it {', '.join(read.names[:3])} ... came."
            )
            raise MetricInputError(msg)
        return read.true

    def _check_columns(self, largest: int, predicted: NDArray[Any]) -> None:
        columns = 2 if predicted.ndim == 1 else predicted.shape[1]
        named = self._labels.num_classes or columns
        if predicted.ndim > 2 or largest >= columns or columns != named:
            msg = (
                "Probabilities need the shape (n,), for the second of two labels, or (n, K) with "
                f"one column per class; their shape is {predicted.shape}, the largest class number "
                f"is {largest}, labels is {self._labels.labels}."
            )
            raise MetricInputError(msg)


def _labelled(true: NDArray[Any], predicted: NDArray[Any]) -> Predicted:
    if true.ndim > 2:
        msg = f"Several labels per item need the shape (n, L); the shape is {true.shape}."
        raise MetricInputError(msg)
    require((true == 0) | (true == 1), true, "y_true", "must be 0 or 1 for each label")
    return Predicted(true.reshape(len(true), -1), predicted.reshape(len(true), -1))


def _resolution(values: Any, array: NDArray[Any]) -> float:
    """The distance of 1 to the next number of the type that came; bfloat16 is float32 by now."""
    if str(getattr(values, "dtype", "")).endswith("bfloat16"):
        return 2.0**-7
    return float(np.finfo(array.dtype if array.dtype.kind == "f" else np.float64).eps)
