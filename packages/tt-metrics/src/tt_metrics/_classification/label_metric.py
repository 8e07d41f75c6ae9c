"""What all metrics on labels share: which settings say how labels are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from tt_metrics._core.labels import checked_labels
from tt_metrics._core.metric import Metric
from tt_metrics._core.state import State
from tt_metrics._errors import NoDataError

__all__ = ["LabelMetric", "MultilabelMetric", "check_weight", "share"]

S = TypeVar("S", bound=State)


class LabelMetric(Metric[S]):
    """A metric on class labels.

    A label whose items all weigh 0 does not count as occurring, unlike in scikit-learn.

    Args:
        y_true: Labels of shape (n,): 0, 1, 2, ... or texts, or those of `labels`.
        y_predicted: Labels, or probabilities of the second label, of shape (n,), or scores of
            shape (n, K), which mean their largest column (the first of equals).
        positive_class_thresh: A probability of at least this makes the second label.
        num_classes: K, where it is known; labels beyond it are then an error.
        labels: All labels, in the order of the columns of scores; others are then an error.
    """

    result_name: ClassVar[str]

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        positive_class_thresh: float = 0.5,
        *,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        self.positive_class_thresh = positive_class_thresh
        self.num_classes = num_classes
        self.labels = None if labels is None else list(checked_labels(labels))
        super().__init__(self.result_name, y_true, y_predicted)

    @property
    def settings(self) -> dict[str, Any]:
        """How labels are read."""
        return {
            "positive_class_thresh": self.positive_class_thresh,
            "num_classes": self.num_classes,
            "labels": self.labels,
        }

    @property
    def _reading(self) -> dict[str, Any]:
        """The same, as states call it."""
        return {
            "threshold": self.positive_class_thresh,
            "num_classes": self.num_classes,
            "labels": self.labels,
        }


class MultilabelMetric(LabelMetric[S]):
    """A metric on items with one label each, or with several or none.

    Args:
        y_true: As in `LabelMetric`; with `multilabel` 0 and 1 of shape (n, L).
        y_predicted: As in `LabelMetric`; with `multilabel` labels 0 and 1, or probabilities, of
            shape (n, L).
        positive_class_thresh: A probability of at least this makes the second label, or with
            `multilabel` that of its column.
        num_classes: K or L, where it is known; labels beyond it are then an error.
        labels: All labels, in the order of the columns; others are then an error.
        multilabel: Items may have several labels or none.
    """

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        positive_class_thresh: float = 0.5,
        *,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
        multilabel: bool = False,
    ) -> None:
        self.multilabel = multilabel
        super().__init__(
            y_true, y_predicted, positive_class_thresh, num_classes=num_classes, labels=labels
        )

    @property
    def settings(self) -> dict[str, Any]:
        """How labels are read."""
        return super().settings | {"multilabel": self.multilabel}


def share(part: float, whole: float) -> float:
    """Divide counts or sums of weights."""
    check_weight(whole)
    return part / whole


def check_weight(some: object) -> None:
    """Refuse items that all weigh nothing: ``some`` is what they weigh, or whether they do."""
    if not some:
        msg = "A share needs items that weigh more than 0; all weigh nothing."
        raise NoDataError(msg)
