"""How many labels were predicted right or wrong."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

from tt_metrics._classification.hits import Hits, LabelHits
from tt_metrics._classification.label_metric import LabelMetric, MultilabelMetric, share
from tt_metrics._classification.multilabel import LabelCounts
from tt_metrics._classification.samples import SampleCounts, SubsetHits
from tt_metrics._classification.top_hits import TopHits
from tt_metrics._core.confusion import Confusion
from tt_metrics._core.inputs import as_whole

__all__ = ["AccuracyMetric", "HammingLossMetric", "TopKAccuracyMetric"]

Right: TypeAlias = Hits | Confusion | SampleCounts
Counted: TypeAlias = Hits | Confusion | LabelCounts


class AccuracyMetric(MultilabelMetric[Right]):
    """Share of items whose label was predicted: 'Accuracy'.

    sum w [p = y] / sum w, with w = 1 where no weights came (C. D. Manning, P. Raghavan and H.
    Schütze, Introduction to Information Retrieval, 2008, section 8.3). With several labels per item
    all of an item's labels have to be right.

    Args:
        y_true: Labels of shape (n,): 0, 1, 2, ... or texts, or those of `labels`. With
            `multilabel` 0 and 1 of shape (n, L).
        y_predicted: Labels, or probabilities of the second label, of shape (n,), or scores of
            shape (n, K), which mean their largest column (the first of equals). With `multilabel`
            labels or probabilities of shape (n, L).
        positive_class_thresh: A probability of at least this makes the second label.
        num_classes: K or L, where it is known; labels beyond it are then an error.
        labels: All labels, in the order of the columns; others are then an error.
        multilabel: Items may have several labels or none.
    """

    result_name = "Accuracy"

    def make_state(self) -> Right:
        """Two numbers: right ones and all."""
        return SubsetHits(**self._reading) if self.multilabel else LabelHits(**self._reading)

    def served_by(self) -> tuple[Hashable, ...]:
        """The key of the counts that other label metrics need."""
        return (SampleCounts if self.multilabel else Confusion)(**self._reading).key

    def result_of(self, state: Right) -> float:
        """Right ones over all."""
        return share(state.right, state.total)

    def proportion_of(self, state: Right) -> tuple[int, int] | None:
        """Right ones among all, where no weights came."""
        return None if state.weighted else (int(state.right), state.count)


class HammingLossMetric(MultilabelMetric[Counted]):
    """Share of labels that were predicted wrong: 'Hamming_loss'.

    With one label per item it is 1 - accuracy; with several, the share of all n L entries
    (G. Tsoumakas and I. Katakis, Multi-label classification: an overview, International Journal
    of Data Warehousing and Mining 3, 2007).

    Args:
        y_true: Labels as `AccuracyMetric` takes them.
        y_predicted: Labels, probabilities or scores, as `AccuracyMetric` takes them.
        positive_class_thresh: A probability of at least this makes the second label.
        num_classes: K or L, where it is known; labels beyond it are then an error.
        labels: All labels, in the order of the columns; others are then an error.
        multilabel: Items may have several labels or none.
    """

    result_name = "Hamming_loss"

    def make_state(self) -> Counted:
        """Right ones and all; with several labels per item the counts of each label."""
        return LabelCounts(**self._reading) if self.multilabel else LabelHits(**self._reading)

    def served_by(self) -> tuple[Hashable, ...] | None:
        """The key of the confusion matrix that other label metrics need."""
        return None if self.multilabel else Confusion(**self._reading).key

    def result_of(self, state: Counted) -> float:
        """Wrong ones over all."""
        if isinstance(state, LabelCounts):
            wrong = state.counts[:, 0, 1].sum() + state.counts[:, 1, 0].sum()
            return share(wrong.item(), state.counts.sum().item())
        return share(state.total - state.right, state.total)

    def proportion_of(self, state: Counted) -> tuple[int, int] | None:
        """Wrong ones among all, where each item has one label and no weights came."""
        if isinstance(state, LabelCounts) or state.weighted:
            return None
        return int(state.total - state.right), state.count


class TopKAccuracyMetric(LabelMetric[TopHits]):
    """Share of items whose label is among the k with the highest scores: 'Top_5_accuracy'.

    sum w [r <= k] / sum w, where r is the rank of the item's label by score: for k = 5, 1 less the
    top-5 error of O. Russakovsky and others, ImageNet large scale visual recognition challenge,
    International Journal of Computer Vision 115, 2015.

    Of equal scores the later column counts as the higher one, as in scikit-learn; `AccuracyMetric`
    takes the first of equals, as `argmax` does.

    Args:
        y_true: Labels of shape (n,): 0, 1, ..., K - 1, or those of `labels`.
        y_predicted: Scores of shape (n, K), with K above k.
        k: How many labels may be named.
        num_classes: K, where it is known; another number of columns is then an error.
        labels: All labels, in the order of the columns.
    """

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        k: int = 5,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        self.k = as_whole(k, "k", 1)
        self.result_name = f"Top_{self.k}_accuracy"  # type: ignore[misc]  # here it depends on k
        super().__init__(y_true, y_predicted, num_classes=num_classes, labels=labels)

    @property
    def settings(self) -> dict[str, Any]:
        """How many labels may be named, and which labels there are."""
        return {"k": self.k, "num_classes": self.num_classes, "labels": self.labels}

    def make_state(self) -> TopHits:
        """Two numbers: right ones and all."""
        return TopHits(self.k, num_classes=self.num_classes, labels=self.labels)

    def result_of(self, state: TopHits) -> float:
        """Right ones over all."""
        return share(state.right, state.total)

    def proportion_of(self, state: TopHits) -> tuple[int, int] | None:
        """Right ones among all, where no weights came."""
        return None if state.weighted else (int(state.right), state.count)
