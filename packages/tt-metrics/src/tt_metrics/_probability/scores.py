"""Scores of predicted probabilities: log loss and Brier score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.labels import checked_labels
from tt_metrics._core.metric import Metric
from tt_metrics._errors import MetricInputError
from tt_metrics._probability.inputs import ProbabilityReader
from tt_metrics._regression.losses import Losses
from tt_metrics._regression.outputs import Reading

__all__ = ["BrierScoreMetric", "LogLossMetric"]

Array = NDArray[np.float64]

CLIP = float(np.finfo(np.float64).eps)


class _ProbabilityLosses(Losses):
    """Losses of probabilities: of a class's probability where there are two, or of K columns."""

    def __init__(self, labels: Sequence[Any] | None, *, multilabel: bool) -> None:
        super().__init__()
        self._reader = ProbabilityReader(labels, multilabel=multilabel)

    @property
    def key(self) -> tuple[Hashable, ...]:
        return *super().key, *self._reader.key

    def read(self, y_true: Any, y_predicted: Any) -> Reading:
        true, predicted = self._reader.read(y_true, y_predicted)
        items = len(true)
        return Reading(true.reshape(items, -1).T, predicted.reshape(items, -1).T, items)

    def losses(self, true: NDArray[Any], predicted: NDArray[Any]) -> tuple[Array]:
        probabilities = predicted.astype(np.float64)
        if len(true) == len(predicted):
            return (self._of_two(true, probabilities).mean(axis=0, keepdims=True),)
        return (self._of_many(true, probabilities),)

    @abstractmethod
    def _of_two(self, true: NDArray[Any], second: Array) -> Array:
        """The losses where classes are 0 and 1, from the probability of class 1: one shape."""

    @abstractmethod
    def _of_many(self, true: NDArray[Any], predicted: Array) -> Array:
        """The losses, shape (1, m), of classes (1, m) from their probabilities (K, m)."""


class LogLosses(_ProbabilityLosses):
    """Sum of the negative logarithms of the right class's probability."""

    names = ("log",)

    def _of_two(self, true: NDArray[Any], second: Array) -> Array:
        return _negative_log(np.where(true, second, 1 - second))

    def _of_many(self, true: NDArray[Any], predicted: Array) -> Array:
        return _negative_log(np.take_along_axis(predicted, true, axis=0))


class BrierSums(_ProbabilityLosses):
    """Sum of the squared differences of probabilities and outcomes.

    Args:
        labels: All labels, in the order of the columns.
        multilabel: Each item has several labels.
        scale_by_half: See `BrierScoreMetric`.
    """

    names = ("squared",)

    def __init__(
        self,
        labels: Sequence[Any] | None,
        *,
        multilabel: bool,
        scale_by_half: bool | Literal["auto"],
    ) -> None:
        super().__init__(labels, multilabel=multilabel)
        self._scale_by_half = scale_by_half

    @property
    def key(self) -> tuple[Hashable, ...]:
        return *super().key, self._scale_by_half

    def _of_two(self, true: NDArray[Any], second: Array) -> Array:
        difference: Array = second - true
        return difference * difference * (2 if self._scale_by_half is False else 1)

    def _of_many(self, true: NDArray[Any], predicted: Array) -> Array:
        right = np.take_along_axis(predicted, true, axis=0)
        np.put_along_axis(predicted, true, right - 1, axis=0)
        squares: Array = (predicted * predicted).sum(axis=0, keepdims=True)
        half = len(predicted) == 2 if self._scale_by_half == "auto" else self._scale_by_half
        return squares / 2 if half else squares


class _ProbabilityMetric(Metric[_ProbabilityLosses]):
    """The mean of a loss of probabilities."""

    result_name: ClassVar[str]

    def __init__(
        self, y_true: Any, y_predicted: Any, labels: Sequence[Any] | None, multilabel: bool
    ) -> None:
        self.labels = None if labels is None else list(checked_labels(labels))
        self.multilabel = multilabel
        super().__init__(self.result_name, y_true, y_predicted)

    @property
    def settings(self) -> dict[str, Any]:
        return {"labels": self.labels, "multilabel": self.multilabel}

    def result_of(self, state: _ProbabilityLosses) -> float:
        """The mean loss."""
        return float(state.mean(state.names[0])[0])


class LogLossMetric(_ProbabilityMetric):
    """Mean of ``-log`` of the probability that the right class was given: 'Log_loss'.

    Also called cross-entropy (I. J. Good, Rational decisions, Journal of the Royal Statistical
    Society B 14, 1952). A probability below 2.2e-16 (float64's eps) counts as that, and one above 1
    less that as that, whatever type they come in: so does scikit-learn for float64, while it
    takes the larger eps of a smaller type.

    Args:
        y_true: Labels of shape (n,); 0 or 1 of shape (n, L) with `multilabel`.
        y_predicted: Probabilities of the second of two labels, shape (n,); or of all classes, shape
            (n, K), in rows that sum to 1; or of each label, shape (n, L), with `multilabel`.
        labels: All labels, in the order of the columns; left out, 0, 1, 2, ...
        multilabel: Each item has L labels that apply or not; the result is the mean over labels.
    """

    result_name = "Log_loss"

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        labels: Sequence[Any] | None = None,
        multilabel: bool = False,
    ) -> None:
        super().__init__(y_true, y_predicted, labels, multilabel)

    def make_state(self) -> LogLosses:
        return LogLosses(self.labels, multilabel=self.multilabel)


class BrierScoreMetric(_ProbabilityMetric):
    """Mean squared difference of probabilities and outcomes: 'Brier_score'.

    Per item it is ``sum_k (p_k - t_k)^2`` over the classes, with t_k = 1 for the right one and 0
    for others (G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly
    Weather Review 78, 1950). Half of it, ``(p - t)^2``, is usual for two classes.

    Args:
        y_true: Labels of shape (n,); 0 or 1 of shape (n, L) with `multilabel`.
        y_predicted: Probabilities of the second of two labels, shape (n,); or of all classes, shape
            (n, K), in rows that sum to 1; or of each label, shape (n, L), with `multilabel`.
        labels: All labels, in the order of the columns; left out, 0, 1, 2, ...
        multilabel: Each item has L labels that apply or not; the result is the mean over labels.
        scale_by_half: Take half; ``"auto"`` does for two classes only, so the best possible score
            is 0 and the worst is 1 for two classes and 2 for more, as in scikit-learn.
    """

    result_name = "Brier_score"

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        labels: Sequence[Any] | None = None,
        multilabel: bool = False,
        scale_by_half: bool | Literal["auto"] = "auto",
    ) -> None:
        if scale_by_half not in (True, False, "auto"):
            msg = f"scale_by_half must be True, False or 'auto'; it is {scale_by_half!r}."
            raise MetricInputError(msg)
        self.scale_by_half = scale_by_half
        super().__init__(y_true, y_predicted, labels, multilabel)

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "scale_by_half": self.scale_by_half}

    def make_state(self) -> BrierSums:
        return BrierSums(self.labels, multilabel=self.multilabel, scale_by_half=self.scale_by_half)


def _negative_log(probabilities: Array) -> Array:
    losses: Array = -np.log(probabilities.clip(CLIP, 1 - CLIP))
    return losses
