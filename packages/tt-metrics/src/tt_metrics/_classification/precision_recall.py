"""Ratios of counts per label: precision, recall and their kin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from tt_metrics._classification.averaged import AveragedMetric, Counted
from tt_metrics._classification.averages import Average, Tallies
from tt_metrics._core.inputs import is_number
from tt_metrics._errors import MetricInputError

__all__ = [
    "F1ScoreMetric",
    "FBetaScoreMetric",
    "JaccardMetric",
    "PrecisionMetric",
    "RecallMetric",
    "SpecificityMetric",
]


class F1ScoreMetric(AveragedMetric):
    """Harmonic mean of precision and recall: 'F1_score'.

    2 hits / (predicted + support), which needs neither precision nor recall (C. J. van Rijsbergen,
    Information Retrieval, 2nd edition, 1979, chapter 7).

    Args:
        y_true: Labels of shape (n,): 0, 1, 2, ... or texts, or those of `labels`. With
            `multilabel` 0 and 1 of shape (n, L).
        y_predicted: Labels, or probabilities of the second label, of shape (n,), or scores of
            shape (n, K), which mean their largest column (the first of equals). With `multilabel`
            labels or probabilities of shape (n, L).
        positive_class_thresh: A probability of at least this makes the second label.
        average: ``"binary"`` is the value of label 1, or of the second one of `labels`, and allows
            no third; ``"macro"`` the mean over the labels; ``"weighted"`` that mean with the number
            of targets as weight (plain where there are none); ``"micro"`` the ratio of the sums;
            ``"samples"``, with `multilabel`, the mean over the items; None gives a dict of the
            value of each label. Labels are those that occur in targets or predictions, or all of
            `labels`; with `multilabel` all columns. A label whose items all weigh 0 does not occur
            (in scikit-learn it does).
        zero_division: The value where the ratio is 0 / 0, such as the precision of a label that was
            never predicted: a number in [0, 1], or nan, which means leave it out.
        num_classes: K or L, where it is known; labels beyond it are then an error.
        labels: All labels, in the order of the columns; others are then an error.
        multilabel: Items may have several labels or none.
    """

    result_name = "F1_score"

    def ratio(self, counts: Tallies, /) -> tuple[Any, Any]:
        """Hits, and the mean of what was predicted and what is true."""
        return 2 * counts.hits, counts.predicted + counts.support


class PrecisionMetric(AveragedMetric):
    """Share of right ones among the items predicted as a label: 'Precision'.

    hits / predicted = tp / (tp + fp) (C. D. Manning, P. Raghavan and H. Schütze, Introduction to
    Information Retrieval, 2008, section 8.3), with the settings of `F1ScoreMetric`.
    """

    result_name = "Precision"

    def ratio(self, counts: Tallies, /) -> tuple[Any, Any]:
        """Right among predicted."""
        return counts.hits, counts.predicted

    def proportion_of(self, state: Counted) -> tuple[int, int] | None:
        """Right among predicted, for one label or all together."""
        return self._proportion(state, ("binary", "micro"))


class RecallMetric(AveragedMetric):
    """Share of right ones among the items of a label: 'Recall'.

    hits / support = tp / (tp + fn) (C. D. Manning, P. Raghavan and H. Schütze, Introduction to
    Information Retrieval, 2008, section 8.3), with the settings of `F1ScoreMetric`.
    """

    result_name = "Recall"

    def ratio(self, counts: Tallies, /) -> tuple[Any, Any]:
        """Right among true."""
        return counts.hits, counts.support

    def proportion_of(self, state: Counted) -> tuple[int, int] | None:
        """Right among true, for one label or all together."""
        return self._proportion(state, ("binary", "micro"))


class SpecificityMetric(AveragedMetric):
    """Share of items without a label for which it was not predicted: 'Specificity'.

    tn / (tn + fp), the recall of "not this label" (J. Yerushalmy, Statistical problems in assessing
    methods of medical diagnosis, Public Health Reports 62, 1947), with the settings of
    `F1ScoreMetric`.
    """

    result_name = "Specificity"

    def ratio(self, counts: Tallies, /) -> tuple[Any, Any]:
        """Neither true nor predicted among not true."""
        right, false = counts.negatives
        return right, right + false

    def proportion_of(self, state: Counted) -> tuple[int, int] | None:
        """Not predicted among not true, for one label."""
        return self._proportion(state, ("binary",))


class FBetaScoreMetric(AveragedMetric):
    """Weighted harmonic mean of precision and recall: 'F_beta_score'.

    (1 + b^2) hits / (b^2 support + predicted): recall counts b times as much as precision
    (C. J. van Rijsbergen, Information Retrieval, 2nd edition, 1979, chapter 7).

    Args:
        y_true: Labels as `F1ScoreMetric` takes them.
        y_predicted: Labels, probabilities or scores, as `F1ScoreMetric` takes them.
        positive_class_thresh: A probability of at least this makes the second label.
        beta: b, at least 0.
        average: As in `F1ScoreMetric`.
        zero_division: The value of 0 / 0: a number in [0, 1], or nan, which means leave it out.
        num_classes: K or L, where it is known; labels beyond it are then an error.
        labels: All labels, in the order of the columns; others are then an error.
        multilabel: Items may have several labels or none.
    """

    result_name = "F_beta_score"

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        positive_class_thresh: float = 0.5,
        *,
        beta: float = 1.0,
        average: Average | None = "binary",
        zero_division: float | Literal["nan"] = 0.0,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
        multilabel: bool = False,
    ) -> None:
        if not (is_number(beta) and 0 <= beta < math.inf):
            msg = f"beta must be a number of at least 0; it is {beta!r}."
            raise MetricInputError(msg)
        self.beta = float(beta)
        super().__init__(
            y_true,
            y_predicted,
            positive_class_thresh,
            average=average,
            zero_division=zero_division,
            num_classes=num_classes,
            labels=labels,
            multilabel=multilabel,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """How labels are read, and what is made of the values per label."""
        return super().settings | {"beta": self.beta}

    def ratio(self, counts: Tallies, /) -> tuple[Any, Any]:
        """Hits and errors, where missed ones count b^2 times; for b > 1 all of it over b^2."""
        if self.beta > 1:  # b^2 may overflow
            b2 = (1 / self.beta) ** 2
            return (1 + b2) * counts.hits, counts.support + b2 * counts.predicted
        b2 = self.beta**2
        return (1 + b2) * counts.hits, b2 * counts.support + counts.predicted


class JaccardMetric(AveragedMetric):
    """Overlap of the items predicted as a label and those that have it: 'Jaccard'.

    hits / (predicted + support - hits), intersection over union (P. Jaccard, The distribution of
    the flora in the alpine zone, New Phytologist 11, 1912), with the settings of `F1ScoreMetric`.
    """

    result_name = "Jaccard"

    def ratio(self, counts: Tallies, /) -> tuple[Any, Any]:
        """Both among either."""
        return counts.hits, counts.predicted + counts.support - counts.hits
