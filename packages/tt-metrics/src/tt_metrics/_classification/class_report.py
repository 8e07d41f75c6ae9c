"""Precision, recall and F1 of every label, and their averages, from one state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._classification.averages import Tallies, divided, mean, tallies
from tt_metrics._classification.label_metric import check_weight
from tt_metrics._classification.multilabel import LabelCounts
from tt_metrics._core.confusion import Confusion

__all__ = ["Averaged", "ClassReport", "class_report"]


@dataclass(frozen=True)
class Averaged:
    """One line of averages.

    Attributes:
        precision: Right ones among those predicted.
        recall: Right ones among those there are.
        f1: Harmonic mean of the two, averaged itself.
        support: The number, or weight, of targets of all labels.
    """

    precision: float
    recall: float
    f1: float
    support: int | float


@dataclass(frozen=True)
class ClassReport:
    """Scores per label, all arrays of shape (k,), and their averages.

    Attributes:
        labels: The k labels.
        precision: Right ones among the items predicted as a label.
        recall: Right ones among the items of a label.
        f1: 2 hits / (predicted + true).
        support: The number, or weight, of items of each label.
        accuracy: Share of items whose label was predicted; None where items have several labels.
        averages: By name: ``micro``, ``macro`` and ``weighted``.
    """

    labels: tuple[Any, ...]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[Any]
    accuracy: float | None
    averages: dict[str, Averaged]

    def to_dict(self) -> dict[str, Any]:
        """Give it as scikit-learn's ``classification_report(..., output_dict=True)`` does.

        One entry per label, ``accuracy`` (``micro avg`` where items have several labels),
        ``macro avg`` and ``weighted avg``.
        """
        columns = (self.precision, self.recall, self.f1, self.support)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        report: dict[str, Any] = {
            str(label): _line(*row) for label, row in zip(self.labels, rows, strict=True)
        }
        for name, line in self.averages.items():
            if name == "micro" and self.accuracy is not None:
                report["accuracy"] = self.accuracy
            else:
                report[f"{name} avg"] = _line(line.precision, line.recall, line.f1, line.support)
        return report


def _line(precision: float, recall: float, f1: float, support: float) -> dict[str, float]:
    return {"precision": precision, "recall": recall, "f1-score": f1, "support": support}


def class_report(state: Confusion | LabelCounts, *, zero_division: float = 0.0) -> ClassReport:
    """Compute the scores of every label, and their averages.

    Args:
        state: One that has seen data.
        zero_division: The value of 0 / 0; with nan such labels are left out of the means.

    Raises:
        NoDataError: All items weigh 0.
    """
    check_weight(state.counts.any())
    each, labels = tallies(state)
    scores = _scores(each, zero_division)
    whole = each.summed()
    averages = {
        "micro": Averaged(*_scores(whole, zero_division), whole.support),
        "macro": Averaged(*_means(scores), whole.support),
        "weighted": Averaged(*_means(scores, each.support), whole.support),
    }
    one_label = isinstance(state, Confusion)
    accuracy = divided(whole.hits, each.total, zero_division) if one_label else None
    return ClassReport(labels, *scores, each.support, accuracy, averages)


def _scores(each: Tallies, zero_division: float) -> tuple[Any, Any, Any]:
    return (
        divided(each.hits, each.predicted, zero_division),
        divided(each.hits, each.support, zero_division),
        divided(2 * each.hits, each.predicted + each.support, zero_division),
    )


def _means(scores: tuple[Any, Any, Any], weights: Any = None) -> tuple[float, float, float]:
    precision, recall, f1 = (mean(score, weights) for score in scores)
    return precision, recall, f1
