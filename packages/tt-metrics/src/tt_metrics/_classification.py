"""Metrics on class labels, all computed from one confusion matrix."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tt_metrics._confusion import Confusion
from tt_metrics._errors import MetricInputError, NoDataError
from tt_metrics._interval import Interval, wilson
from tt_metrics._metric import Metric

__all__ = ["AccuracyMetric", "Average", "F1ScoreMetric", "PrecisionMetric", "RecallMetric"]

Average = Literal["binary", "macro", "micro", "weighted"]
Counts = NDArray[np.int64]


class _LabelMetric(Metric[Confusion]):
    """A metric whose state is a confusion matrix."""

    result_name: ClassVar[str]

    def __init__(
        self, y_true: Any, y_predicted: Any, positive_class_thresh: float, num_classes: int | None
    ) -> None:
        self.positive_class_thresh = positive_class_thresh
        self.num_classes = num_classes
        super().__init__(self.result_name, y_true, y_predicted)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "positive_class_thresh": self.positive_class_thresh,
            "num_classes": self.num_classes,
        }

    def make_state(self) -> Confusion:
        return Confusion(threshold=self.positive_class_thresh, num_classes=self.num_classes)


class AccuracyMetric(_LabelMetric):
    """Share of items whose label is predicted: 'Accuracy'.

    Args:
        y_true: Labels 0, 1, ... of shape (n,).
        y_predicted: Labels or probabilities of label 1, of shape (n,), or scores of shape (n, K).
        positive_class_thresh: A probability of at least this makes label 1.
        num_classes: K, where it is known; labels beyond it are then an error.
    """

    result_name = "Accuracy"

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        positive_class_thresh: float = 0.5,
        *,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(y_true, y_predicted, positive_class_thresh, num_classes)

    def result_of(self, state: Confusion) -> float:
        """Correct ones over all."""
        return int(state.counts.trace()) / state.count

    def ci(self, confidence: float = 0.95) -> Interval:
        """Wilson's interval: where the accuracy on unlimited data of this kind lies."""
        if not self.count:
            msg = "An interval needs data; none came. Fill the metric with `update` first."
            raise NoDataError(msg)
        return wilson(int(self._state.counts.trace()), self.count, confidence)


class _AveragedMetric(_LabelMetric):
    """A ratio of counts per class, and its averages.

    Args:
        y_true: Labels 0, 1, ... of shape (n,).
        y_predicted: Labels or probabilities of label 1, of shape (n,), or scores of shape (n, K).
        positive_class_thresh: A probability of at least this makes label 1.
        average: ``"binary"`` is the value of label 1 and allows no label above it; ``"macro"`` the
            mean over the labels that occur in targets or predictions; ``"weighted"`` that mean with
            the number of targets as weight; ``"micro"`` the ratio of the sums.
        zero_division: The value where the ratio is 0 / 0, such as the precision of a label that was
            never predicted.
        num_classes: K, where it is known; labels beyond it are then an error.
    """

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        positive_class_thresh: float = 0.5,
        *,
        average: Average = "binary",
        zero_division: float = 0.0,
        num_classes: int | None = None,
    ) -> None:
        if average not in get_args(Average):
            msg = f"average must be one of {', '.join(get_args(Average))}; it is {average!r}."
            raise MetricInputError(msg)
        if not 0 <= zero_division <= 1:
            msg = f"zero_division must be a number in [0, 1]; it is {zero_division}."
            raise MetricInputError(msg)
        self.average = average
        self.zero_division = zero_division
        super().__init__(y_true, y_predicted, positive_class_thresh, num_classes)

    @property
    def settings(self) -> dict[str, Any]:
        own = {"average": self.average, "zero_division": self.zero_division}
        return super().settings | own

    @staticmethod
    @abstractmethod
    def ratio(hits: Any, predicted: Any, support: Any) -> tuple[Any, Any]:
        """Numerator and denominator, from how often a label was right, was predicted, was true."""

    def result_of(self, state: Confusion) -> float:
        """The average that was asked for."""
        counts = state.counts
        hits, predicted, support = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
        if self.average == "micro":
            return float(self._divided(hits.sum(), predicted.sum(), support.sum()))
        values = self._divided(hits, predicted, support)
        if self.average == "binary":
            return self._of_label_1(values, predicted + support)
        weights = support if self.average == "weighted" else predicted + support > 0
        return float(np.average(values, weights=weights))

    def _divided(self, hits: Any, predicted: Any, support: Any) -> NDArray[np.float64]:
        above, below = map(np.asarray, self.ratio(hits, predicted, support))
        result = np.full(above.shape, self.zero_division, np.float64)
        np.divide(above, below, out=result, where=below > 0)
        return result

    def _of_label_1(self, values: NDArray[np.float64], seen: Counts) -> float:
        if seen[2:].any():
            msg = (
                "average='binary' is for the labels 0 and 1; the label "
                f"{int(np.flatnonzero(seen)[-1])} came. Use average='macro', 'micro' or 'weighted'."
            )
            raise MetricInputError(msg)
        return float(values[1]) if len(values) > 1 else float(self.zero_division)


class PrecisionMetric(_AveragedMetric):
    """Share of right ones among the items predicted as a label: 'Precision'."""

    result_name = "Precision"

    @staticmethod
    def ratio(hits: Any, predicted: Any, support: Any) -> tuple[Any, Any]:  # noqa: ARG004  (one shape)
        """Right among predicted."""
        return hits, predicted


class RecallMetric(_AveragedMetric):
    """Share of right ones among the items of a label: 'Recall'."""

    result_name = "Recall"

    @staticmethod
    def ratio(hits: Any, predicted: Any, support: Any) -> tuple[Any, Any]:  # noqa: ARG004  (one shape)
        """Right among true."""
        return hits, support


class F1ScoreMetric(_AveragedMetric):
    """Harmonic mean of precision and recall: 'F1_score'."""

    result_name = "F1_score"

    @staticmethod
    def ratio(hits: Any, predicted: Any, support: Any) -> tuple[Any, Any]:
        """2 hits / (predicted + true), which needs neither precision nor recall."""
        return 2 * hits, predicted + support
