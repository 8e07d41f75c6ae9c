"""Metrics on rankings: how well scores tell the classes apart, whatever the threshold."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from tt_metrics._core.inputs import is_number
from tt_metrics._core.labels import checked_labels
from tt_metrics._core.metric import Metric
from tt_metrics._errors import MetricInputError
from tt_metrics._ranking.delong import variance
from tt_metrics._ranking.kernels import (
    Column,
    average_precision,
    equal_error_rate,
    precision_recall_area,
    recall_at_precision,
    roc_auc,
)
from tt_metrics._ranking.state import Ranking

__all__ = [
    "AveragePrecisionMetric",
    "EqualErrorRateMetric",
    "PrecisionRecallCurveAUCMetric",
    "ROCAUCMetric",
    "RankingAverage",
    "RankingMetric",
    "RecallAtPrecisionMetric",
]

RankingAverage = Literal["macro", "weighted", "micro"]
Absent = Literal["error", "skip"]


class RankingMetric(Metric[Ranking]):
    """A number for each class against the rest, and its averages.

    Of two classes only the second has a number, and `average` says nothing. Scores may be any
    finite numbers, and those of an item need not sum to 1: only their order counts.

    Args:
        y_true: Labels of shape (n,); for ``multilabel`` 0 or 1, of shape (n, K).
        y_predicted: Scores of shape (n,) or, with one column per class, (n, K). Of two columns the
            second counts.
        average: ``"macro"`` is the mean over classes; ``"weighted"`` that mean with the number of
            their items as weight; ``"micro"`` ranks the scores of all classes together; None gives
            one number per label, nan where a class or all others have no item.
        multilabel: An item may have any number of the labels.
        labels: The labels in the order of the columns of scores; of two, the second is positive.
            Left out, they are 0, 1, 2, ...
        absent: What to do in a mean with a class that has no number, as it has no items: raise an
            ``"error"``, or ``"skip"`` it. One of weight 0 is left out anyway.

    Raises:
        MetricInputError: When the result is asked for: there are only items of one class.
    """

    result_name: ClassVar[str]
    needs_negatives: ClassVar[bool] = True
    """Whether it has no number where all items are of the class."""

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        average: RankingAverage | None = "macro",
        multilabel: bool = False,
        labels: Sequence[Any] | None = None,
        absent: Absent = "error",
    ) -> None:
        _check_choice("average", average, (*get_args(RankingAverage), None))
        _check_choice("absent", absent, get_args(Absent))
        self.average = average
        self.multilabel = multilabel
        self.labels = None if labels is None else list(checked_labels(labels))
        self.absent = absent
        super().__init__(self.result_name, y_true, y_predicted)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "average": self.average,
            "multilabel": self.multilabel,
            "labels": self.labels,
            "absent": self.absent,
        }

    def make_state(self) -> Ranking:
        return Ranking(multilabel=self.multilabel, labels=self.labels)

    @abstractmethod
    def of_column(self, column: Column, /) -> float:
        """The number of one class against others."""

    def result_of(self, state: Ranking) -> float | dict[str, float]:
        """The number of the second of two classes; of more, what `average` says."""
        if state.binary:
            return self.defined(state.column(), str(state.labels[1]))
        if self.average == "micro":
            return self.defined(state.every(), "any label")
        columns = zip(state.labels, map(state.column, range(len(state.labels))), strict=True)
        if self.average is None:
            return {
                str(label): np.nan if self._missing(column) else self.of_column(column)
                for label, column in columns
            }
        return self._mean(
            (f"label {label}", column.positives if self.average == "weighted" else 1, [column])
            for label, column in columns
        )

    def defined(self, column: Column, label: str) -> float:
        """The number of one class, or an error where there is none."""
        if what := self._missing(column):
            raise MetricInputError(self._complaint(f"{what} {label}", column))
        return self.of_column(column)

    def _missing(self, column: Column) -> str:
        if not column.positives:
            return "no item of"
        return "only items of" if self.needs_negatives and not column.negatives else ""

    def _complaint(self, what: str, column: Column | None = None) -> str:
        came = "came" if column is None else column.came
        return (
            f"{self.metric_name} needs items of a class and of the others; {what} {came}. "
            "absent='skip' leaves such classes out of means."
        )

    def _mean(self, terms: Iterator[tuple[str, float, list[Column]]]) -> float:
        """The weighted mean over classes, or pairs of classes, of the mean of their columns."""
        above = below = 0.0
        for name, weight, columns in terms:
            missing = next(filter(None, map(self._missing, columns)), "")
            if not weight or (missing and self.absent == "skip"):
                continue
            if missing:
                raise MetricInputError(self._complaint(f"{missing} {name}", columns[0]))
            above += weight * sum(map(self.of_column, columns)) / len(columns)
            below += weight
        if not below:
            raise MetricInputError(self._complaint("items of only one class"))
        return above / below


def _check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        msg = f"{name} must be one of {', '.join(map(repr, choices))}; it is {value!r}."
        raise MetricInputError(msg)


class ROCAUCMetric(RankingMetric):
    """Area under the ROC curve: 'ROC_AUC'.

    The probability that a random item of the class has a higher score than a random other one,
    a tie counting half (J. A. Hanley and B. J. McNeil, Radiology 143, 1982).

    Args:
        y_true: Labels of shape (n,); for ``multilabel`` 0 or 1, of shape (n, K).
        y_predicted: Scores of shape (n,) or, with one column per class, (n, K).
        average: As in every metric on rankings: "macro", "weighted", "micro" or None per class.
        multi_class: ``"ovr"`` ranks each class against the rest; ``"ovo"`` each pair of classes,
            once by the scores of either (D. J. Hand and R. J. Till, Machine Learning 45, 2001), and
            ``"weighted"`` then gives a pair the number of its items as weight.
        multilabel: An item may have any number of the labels.
        labels: The labels in the order of the columns of scores; of two, the second is positive.
        absent: "error" or "skip", where a class has no items.
    """

    result_name = "ROC_AUC"

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        average: RankingAverage | None = "macro",
        multi_class: Literal["ovr", "ovo"] = "ovr",
        multilabel: bool = False,
        labels: Sequence[Any] | None = None,
        absent: Absent = "error",
    ) -> None:
        _check_choice("multi_class", multi_class, ("ovr", "ovo"))
        if multi_class == "ovo" and (multilabel or average not in ("macro", "weighted")):
            msg = (
                "multi_class='ovo' needs one label per item and average 'macro' or 'weighted'; "
                f"multilabel is {multilabel}, average is {average!r}."
            )
            raise MetricInputError(msg)
        self.multi_class = multi_class
        super().__init__(
            y_true,
            y_predicted,
            average=average,
            multilabel=multilabel,
            labels=labels,
            absent=absent,
        )

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | {"multi_class": self.multi_class}

    def of_column(self, column: Column, /) -> float:
        """The share of pairs that are ranked right."""
        return roc_auc(column)

    def result_of(self, state: Ranking) -> float | dict[str, float]:
        """The area of the second of two classes; of more, what `average` says."""
        if self.multi_class == "ovr" or state.binary:
            return super().result_of(state)
        return self._mean(self._pairs(state))

    def _pairs(self, state: Ranking) -> Iterator[tuple[str, float, list[Column]]]:
        for a, b in combinations(range(len(state.labels)), 2):
            both = [state.pair(a, b), state.pair(b, a)]
            weight = both[0].positives + both[0].negatives if self.average == "weighted" else 1
            yield f"label {state.labels[a]} or of label {state.labels[b]}", weight, both

    def variance_of(self, state: Ranking) -> float | None:
        """DeLong's variance of the area of two classes; None with weights or for more classes."""
        if not state.binary or state.weighted:
            return None
        order = state.column().order
        if min(len(order.negatives), len(order.positives)) < 2:
            return None
        return variance(order.negatives, order.positives)


class AveragePrecisionMetric(RankingMetric):
    """Average precision: 'Average_precision'.

    sum_t (R_t - R_(t-1)) P_t over descending thresholds t, with precision P_t and recall R_t and
    nothing interpolated: the mean, over the items of the class, of the precision at their score
    (C. D. Manning, P. Raghavan and H. Schütze, Introduction to Information Retrieval, 2008, section
    8.4). All items of equal score count as found together.
    """

    result_name = "Average_precision"
    needs_negatives = False

    def of_column(self, column: Column, /) -> float:
        """The mean precision at the positives."""
        return average_precision(column)


class PrecisionRecallCurveAUCMetric(RankingMetric):
    """Area under the precision-recall curve by the trapezoid rule: 'PrecisionRecall_AUC'.

    sum_t (R_t - R_(t-1)) (P_t + P_(t-1)) / 2 over descending thresholds t, with precision P_t and
    recall R_t: what AIToolbox reports. Straight lines between the curve's points are optimistic
    (J. Davis and M. Goadrich, The relationship between precision-recall and ROC curves, ICML 2006);
    prefer `AveragePrecisionMetric`.
    """

    result_name = "PrecisionRecall_AUC"
    needs_negatives = False

    def of_column(self, column: Column, /) -> float:
        """The area under straight lines between the points."""
        return precision_recall_area(column)


class EqualErrorRateMetric(RankingMetric):
    """Error rate at which as large a share of either class is decided wrong: 'Equal_error_rate'.

    fp / (fp + tn) = fn / (fn + tp): the false positive rate where the ROC curve, drawn with
    straight lines between its points, meets the line on which it equals the false negative rate
    (D. Maltoni, D. Maio, A. K. Jain and S. Prabhakar, Handbook of Fingerprint Recognition, 2nd
    edition, 2009, chapter 1).
    """

    result_name = "Equal_error_rate"

    def of_column(self, column: Column, /) -> float:
        """The rate where the curve meets the line."""
        return equal_error_rate(column)


class RecallAtPrecisionMetric(RankingMetric):
    """Largest recall of the thresholds with at least some precision: 'Recall_at_precision'.

    max R_t over thresholds t with P_t >= `min_precision` (E. Eban and others, Scalable learning of
    non-decomposable objectives, AISTATS 2017, make it a training goal).

    Args:
        y_true: Labels of shape (n,); for ``multilabel`` 0 or 1, of shape (n, K).
        y_predicted: Scores of shape (n,) or, with one column per class, (n, K).
        min_precision: In [0, 1]; 1e-12 less will do, as sums of weights are rounded. Where no
            threshold reaches it, recall is 0.
        average: As in every metric on rankings: "macro", "weighted", "micro" or None per class.
        multilabel: An item may have any number of the labels.
        labels: The labels in the order of the columns of scores; of two, the second is positive.
        absent: "error" or "skip", where a class has no items.
    """

    result_name = "Recall_at_precision"
    needs_negatives = False

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        min_precision: float = 0.5,
        average: RankingAverage | None = "macro",
        multilabel: bool = False,
        labels: Sequence[Any] | None = None,
        absent: Absent = "error",
    ) -> None:
        if not (is_number(min_precision) and 0 <= min_precision <= 1):
            msg = f"min_precision must be a number in [0, 1]; it is {min_precision!r}."
            raise MetricInputError(msg)
        self.min_precision = float(min_precision)
        super().__init__(
            y_true,
            y_predicted,
            average=average,
            multilabel=multilabel,
            labels=labels,
            absent=absent,
        )

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | {"min_precision": self.min_precision}

    def of_column(self, column: Column, /) -> float:
        """The largest recall."""
        return recall_at_precision(column, self.min_precision)[0]

    @property
    def threshold(self) -> float:
        """The highest threshold with that recall, for two classes; inf where none has it.

        Scores of at least this are to be taken as the second class.
        """
        self.get_metric_dict()  # says what is missing, if anything
        if not self._state.binary:
            msg = "A threshold is there for two classes; scores of several classes came."
            raise MetricInputError(msg)
        return recall_at_precision(self._state.column(), self.min_precision)[1]
