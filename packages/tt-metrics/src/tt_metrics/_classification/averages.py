"""Ratios of counts per label, and their averages."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tt_metrics._classification.multilabel import LabelCounts
from tt_metrics._core.confusion import Confusion
from tt_metrics._core.inputs import is_number
from tt_metrics._errors import MetricInputError

__all__ = [
    "Average",
    "Tallies",
    "checked_zero_division",
    "divided",
    "mean",
    "others",
    "positive",
    "rejections",
    "tallies",
]

Average: TypeAlias = Literal["binary", "micro", "macro", "weighted", "samples"]


class Tallies(NamedTuple):
    """How often labels were predicted right, predicted, and true, each of shape (k,) or a number.

    `total` is the number of items, or of items times labels where labels were summed. `rejecting`
    gives what `negatives` does where these are sums of weights: there a difference would be off by
    the rounding of the largest weight.
    """

    hits: Any
    predicted: Any
    support: Any
    total: Any
    rejecting: Callable[[], tuple[Any, Any]] | None = None

    @property
    def negatives(self) -> tuple[Any, Any]:
        """Of the items without a label: how often it was not predicted, and how often it was."""
        if self.rejecting is not None:
            return self.rejecting()
        false = self.predicted - self.hits
        return self.total - self.support - false, false

    def summed(self) -> Tallies:
        """All labels taken together."""
        hits, predicted, support = (column.sum().item() for column in self[:3])
        total = self.total * len(self.hits)
        return Tallies(hits, predicted, support, total, self.rejecting and self._summed_negatives)

    def _summed_negatives(self) -> tuple[Any, Any]:
        right, false = self.negatives
        return right.sum().item(), false.sum().item()


def tallies(state: Confusion | LabelCounts) -> tuple[Tallies, tuple[Any, ...]]:
    """Count each label, and say which labels these are.

    They are all labels where the state was told which there are or which columns a table has;
    otherwise those that occur in targets or predictions.
    """
    counts = state.counts
    if isinstance(state, LabelCounts):
        hits = counts[:, 1, 1]
        false = counts[:, 0, 1]
        negatives = counts[:, 0, 0], false
        both = Tallies(hits, hits + false, hits + counts[:, 1, 0], state.total, lambda: negatives)
        return both, state.labels
    hits, predicted, support = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    total = support.sum().item()
    labels, seen = state.labels, None
    if state._reader.labels is None:
        seen = (predicted + support) > 0
        if not seen.all():
            labels = tuple(label for label, here in zip(labels, seen.tolist(), strict=True) if here)
            hits, predicted, support = hits[seen], predicted[seen], support[seen]

    def rejecting() -> tuple[Any, Any]:
        right, false = rejections(counts)
        return (right, false) if seen is None else (right[seen], false[seen])

    return Tallies(hits, predicted, support, total, rejecting if state.weighted else None), labels


def positive(state: Confusion) -> Tallies:
    """Count the positive label: label 1, or the second one.

    Raises:
        MetricInputError: Other labels than the first two came.
    """
    counts, named = state.counts, state._names is not None
    if named and len(counts) != 2:
        msg = (
            "average='binary' needs two labels, the second of which is the positive one; "
            f"{state.labels} came. Say which there are with labels=."
        )
        raise MetricInputError(msg)
    if len(counts) > 2 and (counts[2:].any() or counts[:, 2:].any()):
        other = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))[-1]
        msg = (
            f"average='binary' is for two labels, {state.labels[0]} and {state.labels[1]}; the "
            f"label {state.labels[other]} came. Use average='macro', 'micro' or 'weighted'."
        )
        raise MetricInputError(msg)
    cells = counts[:2, :2].tolist()
    if len(cells) < 2:
        return Tallies(0, 0, 0, cells[0][0])
    (right_first, false), (missed, hits) = cells
    total = right_first + false + missed + hits
    return Tallies(hits, hits + false, hits + missed, total, lambda: (right_first, false))


def rejections(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`Tallies.negatives` of each label of a confusion matrix, without a difference."""
    rows = others(counts)
    return others(rows.T).diagonal(), rows.diagonal()


def others(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the sum of all other rows, without a difference."""
    return _before(table) + _before(table[::-1])[::-1]


def _before(table: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros_like(table)
    np.cumsum(table[:-1], axis=0, out=sums[1:])
    return sums


def divided(above: Any, below: Any, zero_division: float) -> Any:
    """Divide numbers or arrays; 0 / 0 is ``zero_division``."""
    if not isinstance(below, np.ndarray):
        return above / below if below else zero_division
    empty = below == 0
    if not empty.any():
        return above / below
    result = np.full(below.shape, zero_division, np.float64)
    np.divide(above, below, out=result, where=~empty)
    return result


def mean(values: NDArray[np.float64], weights: NDArray[Any] | None = None) -> float:
    """Mean of the values that are not nan; weights that are all 0 are as none."""
    if math.isnan(total := float(values.sum())):
        kept = ~np.isnan(values)
        values, weights = values[kept], None if weights is None else weights[kept]
        if not len(values):
            return math.nan
        total = float(values.sum())
    if weights is not None and (weight := weights.sum()):
        return float((values * weights).sum() / weight)
    return total / len(values)


def checked_zero_division(value: float | Literal["nan"]) -> float | Literal["nan"]:
    """Give a number in [0, 1], or ``"nan"``, which unlike nan equals itself."""
    number = float(value) if is_number(value) or value == "nan" else -1
    if math.isnan(number):
        return "nan"
    if not 0 <= number <= 1:
        msg = f"zero_division must be a number in [0, 1], or nan; it is {value!r}."
        raise MetricInputError(msg)
    return number
