"""The curves behind the areas, as points to draw or to choose a threshold from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.labels import checked_labels
from tt_metrics._core.metric import Metric
from tt_metrics._errors import MetricInputError
from tt_metrics._ranking.kernels import Column, curve
from tt_metrics._ranking.state import Ranking

__all__ = ["PrecisionRecallCurve", "PrecisionRecallCurveMetric", "ROCCurve", "ROCCurveMetric"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ROCCurve:
    """Points by descending threshold, from (0, 0) to (1, 1), as `sklearn.metrics.roc_curve`.

    Attributes:
        fpr: False positive rate, shape (t,).
        tpr: True positive rate, shape (t,).
        thresholds: Scores of at least this are positive, shape (t,); the first is infinite.
    """

    fpr: Floats
    tpr: Floats
    thresholds: NDArray[Any]


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Points by ascending threshold, as `sklearn.metrics.precision_recall_curve`.

    Attributes:
        precision: Shape (t + 1,); the last is 1.
        recall: Shape (t + 1,); the last is 0.
        thresholds: Scores of at least this are positive, shape (t,).
    """

    precision: Floats
    recall: Floats
    thresholds: NDArray[Any]


class _CurveMetric(Metric[Ranking]):
    """A metric whose result is a curve, of two classes.

    It shares its state with the metrics on rankings that have the same ``labels``.
    """

    def __init__(
        self,
        name: str,
        y_true: Any,
        y_predicted: Any,
        drop_intermediate: bool,
        labels: Sequence[Any] | None,
    ) -> None:
        self.drop_intermediate = drop_intermediate
        self.labels = None if labels is None else list(checked_labels(labels))
        super().__init__(name, y_true, y_predicted)

    @property
    def settings(self) -> dict[str, Any]:
        return {"drop_intermediate": self.drop_intermediate, "labels": self.labels}

    def make_state(self) -> Ranking:
        return Ranking(labels=self.labels)

    def _column(self, state: Ranking, needs_negatives: bool) -> Column:
        if not state.binary:
            msg = (
                f"{self.metric_name} is a curve of two classes; scores of {len(state.labels)} "
                "came. Pass one column, and whether the item is of its class."
            )
            raise MetricInputError(msg)
        column = state.column()
        for items, label in ((column.negatives, 0), (column.positives, 1)):
            if not items and (label or needs_negatives):
                msg = (
                    f"{self.metric_name} needs items of label {state.labels[label]}; none "
                    f"{column.came}."
                )
                raise MetricInputError(msg)
        return column


class ROCCurveMetric(_CurveMetric):
    """True against false positive rate at every threshold: 'ROC_curve', a `ROCCurve`.

    tp / (tp + fn) against fp / (fp + tn) (T. Fawcett, An introduction to ROC analysis, Pattern
    Recognition Letters 27, 2006).

    Args:
        y_true: Labels of shape (n,).
        y_predicted: Scores of shape (n,), or (n, 2), of which the second column counts.
        drop_intermediate: Leave out points on a straight line between their neighbours, which
            changes neither the curve nor its area.
        labels: The negative and the positive label; left out, 0 and 1.
    """

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        drop_intermediate: bool = True,
        labels: Sequence[Any] | None = None,
    ) -> None:
        super().__init__("ROC_curve", y_true, y_predicted, drop_intermediate, labels)

    def result_of(self, state: Ranking) -> ROCCurve:
        """The curve's points."""
        column = self._column(state, needs_negatives=True)
        thresholds, alarms, hits = curve(column)
        if self.drop_intermediate and len(thresholds) > 2:
            kept = _ends_and(np.diff(alarms, 2) != 0, np.diff(hits, 2) != 0)
            thresholds, alarms, hits = thresholds[kept], alarms[kept], hits[kept]
        return ROCCurve(
            np.concatenate([[0.0], alarms / alarms[-1]]),
            np.concatenate([[0.0], hits / hits[-1]]),
            np.concatenate([[np.inf], thresholds]).astype(thresholds.dtype),
        )


class PrecisionRecallCurveMetric(_CurveMetric):
    """Precision and recall at every threshold: 'PrecisionRecall_curve', a `PrecisionRecallCurve`.

    tp / (tp + fp) and tp / (tp + fn) (J. Davis and M. Goadrich, The relationship between
    precision-recall and ROC curves, ICML 2006).

    Args:
        y_true: Labels of shape (n,).
        y_predicted: Scores of shape (n,), or (n, 2), of which the second column counts.
        drop_intermediate: Of thresholds with one recall, leave out all but the first and the last.
        labels: The negative and the positive label; left out, 0 and 1.
    """

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        drop_intermediate: bool = False,
        labels: Sequence[Any] | None = None,
    ) -> None:
        super().__init__("PrecisionRecall_curve", y_true, y_predicted, drop_intermediate, labels)

    def result_of(self, state: Ranking) -> PrecisionRecallCurve:
        """The curve's points."""
        thresholds, alarms, hits = curve(self._column(state, needs_negatives=False))
        if self.drop_intermediate and len(thresholds) > 2:
            kept = _ends_and(np.diff(hits[:-1]) != 0, np.diff(hits[1:]) != 0)
            thresholds, alarms, hits = thresholds[kept], alarms[kept], hits[kept]
        return PrecisionRecallCurve(
            np.concatenate([(hits / (hits + alarms))[::-1], [1.0]]),
            np.concatenate([(hits / hits[-1])[::-1], [0.0]]),
            thresholds[::-1],
        )


def _ends_and(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The first and the last point, and of those between the ones that either mask names."""
    return np.concatenate([[True], first | second, [True]])
