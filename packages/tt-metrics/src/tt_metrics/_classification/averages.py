"""Ratios of counts per label, and their averages."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tt_metrics._classification.multilabel import LabelCounts
from tt_metrics._core.confusion import Confusion
from tt_metrics._errors import MetricInputError

__all__ = ["Average", "Tallies", "checked_zero_division", "divided", "mean", "positive", "tallies"]

Average: TypeAlias = Literal["binary", "micro", "macro", "weighted", "samples"]


class Tallies(NamedTuple):
    """How often labels were predicted right, predicted, and true, each of shape (k,) or a number.

    `total` is the number of items, or of items times labels where labels were summed.
    """

    hits: Any
    predicted: Any
    support: Any
    total: Any

    def summed(self) -> Tallies:
        """All labels taken together."""
        hits, predicted, support = (column.sum().item() for column in self[:3])
        return Tallies(hits, predicted, support, self.total * len(self.hits))


def tallies(state: Confusion | LabelCounts) -> tuple[Tallies, tuple[Any, ...]]:
    """Count each label, and say which labels these are.

    They are all labels where the state was told which there are or which columns a table has;
    otherwise those that occur in targets or predictions.
    """
    counts = state.counts
    if isinstance(state, LabelCounts):
        hits = counts[:, 1, 1]
        both = Tallies(hits, hits + counts[:, 0, 1], hits + counts[:, 1, 0], counts[0].sum().item())
        return both, state.labels
    hits, predicted, support = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    total = support.sum().item()
    labels = state.labels
    if state._reader.labels is None:
        seen = (predicted + support) > 0
        if not seen.all():
            labels = tuple(label for label, here in zip(labels, seen.tolist(), strict=True) if here)
            hits, predicted, support = hits[seen], predicted[seen], support[seen]
    return Tallies(hits, predicted, support, total), labels


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
    return Tallies(hits, hits + false, hits + missed, right_first + false + missed + hits)


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
    number = float(value) if isinstance(value, (int, float, np.number)) or value == "nan" else -1
    if math.isnan(number):
        return "nan"
    if not 0 <= number <= 1:
        msg = f"zero_division must be a number in [0, 1], or nan; it is {value!r}."
        raise MetricInputError(msg)
    return number
