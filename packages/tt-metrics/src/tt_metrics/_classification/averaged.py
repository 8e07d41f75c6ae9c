"""The base of precision, recall and their kin."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

from tt_metrics._classification.averages import (
    Average,
    Tallies,
    checked_zero_division,
    divided,
    mean,
    positive,
    tallies,
)
from tt_metrics._classification.label_metric import MultilabelMetric, check_weight
from tt_metrics._classification.multilabel import LabelCounts
from tt_metrics._classification.samples import SampleCounts
from tt_metrics._core.confusion import Confusion
from tt_metrics._errors import MetricInputError

__all__ = ["AveragedMetric", "Counted"]

Counted: TypeAlias = Confusion | LabelCounts | SampleCounts


class AveragedMetric(MultilabelMetric[Counted]):
    """A ratio of counts per label, and its averages.

    `F1ScoreMetric` says what the settings mean.
    """

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        positive_class_thresh: float = 0.5,
        *,
        average: Average | None = "binary",
        zero_division: float | Literal["nan"] = 0.0,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
        multilabel: bool = False,
    ) -> None:
        _check_average(average, multilabel)
        self.average = average
        self.zero_division = checked_zero_division(zero_division)
        super().__init__(
            y_true,
            y_predicted,
            positive_class_thresh,
            num_classes=num_classes,
            labels=labels,
            multilabel=multilabel,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """How labels are read, and what is made of the values per label."""
        return super().settings | {
            "average": self.average,
            "zero_division": self.zero_division,
        }

    @abstractmethod
    def ratio(self, counts: Tallies, /) -> tuple[Any, Any]:
        """Numerator and denominator: arrays for arrays, numbers for numbers."""

    def make_state(self) -> Counted:
        """A confusion matrix; with several labels per item, counts of each label or item."""
        if self.average == "samples":
            return SampleCounts(**self._reading)
        return (LabelCounts if self.multilabel else Confusion)(**self._reading)

    def result_of(self, state: Counted) -> float | dict[str, float]:
        """The average that was asked for."""
        check_weight(state.counts.any())
        if isinstance(state, SampleCounts):
            return mean(self._values(Tallies(*state.triples, state.width)), state.counts)
        if self.average in ("binary", "micro"):
            return float(self._values(self._one(state)))
        counts, labels = tallies(state)
        values = self._values(counts)
        if self.average is None:
            return {str(label): v for label, v in zip(labels, values.tolist(), strict=True)}
        return mean(values, counts.support if self.average == "weighted" else None)

    def _one(self, state: Confusion | LabelCounts) -> Tallies:
        """The counts of the positive label, or of all labels taken together."""
        if self.average == "micro" or isinstance(state, LabelCounts):
            return tallies(state)[0].summed()
        return positive(state)

    def _values(self, counts: Tallies) -> Any:
        return divided(*self.ratio(counts), float(self.zero_division))

    def _proportion(self, state: Counted, averages: Sequence[str]) -> tuple[int, int] | None:
        """Numerator and denominator where they count items, each of them once."""
        if self.average not in averages or not isinstance(state, Confusion) or state.weighted:
            return None
        above, below = self.ratio(self._one(state))
        return (int(above), int(below)) if below else None


def _check_average(average: Any, multilabel: bool) -> None:
    if average is not None and average not in get_args(Average):
        msg = f"average must be None or one of {', '.join(get_args(Average))}; it is {average!r}."
        raise MetricInputError(msg)
    if average == ("binary" if multilabel else "samples"):
        msg = (
            f"average={average!r} is for items with "
            f"{'one label' if multilabel else 'several labels'}; multilabel is {multilabel}. "
            "Use average='macro', 'micro' or 'weighted'."
        )
        raise MetricInputError(msg)
