"""What a ranking of two classes gives: areas, precisions and curves, from sorted scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Column",
    "Cut",
    "Order",
    "average_precision",
    "curve",
    "equal_error_rate",
    "precision_recall_area",
    "recall_at_precision",
    "roc_auc",
]

Array = NDArray[Any]
Masses = NDArray[Any]  # int64 counts, or float64 sums of weights

ROUNDING = 1e-12
MODERATE = 2.0**400  # sums of weights up to here, and down to its inverse, are safe to multiply
BLOCK = 1 << 13  # positive scores looked up at a time: small enough for the CPU's cache


class Groups(NamedTuple):
    """Runs of equal positive scores, ascending, as places in the two sorted arrays.

    Attributes:
        start: Where a run starts among the positives.
        end: Where it ends.
        below: How many negatives are below its score.
        upto: How many negatives are at most its score.
    """

    start: Array
    end: Array
    below: Array
    upto: Array


@dataclass(frozen=True, eq=False)
class Order:
    """The scores of two classes, each in ascending order.

    Attributes:
        negatives: Scores of the items that are not of the class.
        positives: Scores of those that are.
        negative_items: Where the weight of each negative stands among the weights of all items.
        positive_items: The same for the positives.
    """

    negatives: Array
    positives: Array
    negative_items: slice | Array | None = None
    positive_items: slice | Array | None = None

    def groups(self) -> Iterator[Groups]:
        """Find the runs of equal positives, some at a time."""
        start, positives = 0, self.positives
        while start < len(positives):
            end = min(start + BLOCK, len(positives))
            end = int(np.searchsorted(positives, positives[end - 1], "right"))
            yield _groups(self.negatives, positives, start, end)
            start = end

    @cached_property
    def kept_groups(self) -> tuple[Groups, ...]:
        """All runs, to be used many times with different weights."""
        return tuple(self.groups())


def _groups(negatives: Array, positives: Array, start: int, end: int) -> Groups:
    block = positives[start:end]
    first = np.flatnonzero(np.concatenate([[True], block[1:] != block[:-1]]))
    values = block if len(first) == len(block) else block[first]
    low, high = np.searchsorted(negatives, values[[0, -1]], "left")
    near = negatives[low : high + 1]  # all of them that the block can fall among
    below = np.searchsorted(near, values, "left")
    upto = below.copy()
    if len(near):
        tied = np.flatnonzero(near.take(below, mode="clip") == values)
        upto[tied] = np.searchsorted(negatives[low:], values[tied], "right")
    first += start
    return Groups(first, np.append(first[1:], end), below + low, upto + low)


@dataclass(frozen=True, eq=False)
class Column:
    """One class against the rest.

    Attributes:
        order: The scores.
        negative_weights: The weight of each negative, in their order: float64, or int64 where it
            says how often the item occurs. None where all count once.
        positive_weights: The same for the positives.
    """

    order: Order
    negative_weights: Masses | None = None
    positive_weights: Masses | None = None

    @property
    def negatives(self) -> float:
        """The number, or weight, of all negatives."""
        tails = self.negative_tails
        return len(self.order.negatives) if tails is None else tails[0].item()

    @property
    def positives(self) -> float:
        """The number, or weight, of all positives."""
        tails = self.positive_tails
        return len(self.order.positives) if tails is None else tails[0].item()

    @property
    def came(self) -> str:
        """What messages say of items that count: with weights, they weigh something."""
        weights = self.positive_weights
        weighted = weights is not None and weights.dtype.kind == "f"
        return "with weight above 0 came" if weighted else "came"

    @cached_property
    def negative_tails(self) -> Masses | None:
        """The weight of the negatives from each place to the end, shape (negatives + 1,)."""
        return _tails(self.negative_weights)

    @cached_property
    def positive_tails(self) -> Masses | None:
        """The same for the positives."""
        return _tails(self.positive_weights)

    def steps(self) -> Iterator[Steps]:
        """What is ranked at and above each positive score, scores ascending, some at a time."""
        negative, positive = self.negative_tails, self.positive_tails
        if negative is None or positive is None:
            p, n = len(self.order.positives), len(self.order.negatives)
            for start, end, below, upto in self.order.groups():
                yield Steps(start, p - end, p - start, n - upto, n - below)
            return
        for start, end, below, upto in self.order.kept_groups:
            yield Steps(start, positive[end], positive[start], negative[upto], negative[below])


class Steps(NamedTuple):
    """Numbers, or weights, of positives (hits) and negatives (false alarms) by threshold.

    Attributes:
        start: Where the score stands among the sorted positives.
        hits_above: Positives above the score.
        hits: Positives at or above it.
        alarms_above: Negatives above the score.
        alarms: Negatives at or above it.
    """

    start: Array
    hits_above: Masses
    hits: Masses
    alarms_above: Masses
    alarms: Masses

    def precision(self) -> NDArray[np.float64]:
        """The precision at each score as threshold."""
        return _precision(self.hits, self.alarms)

    def precision_above(self) -> NDArray[np.float64]:
        """The precision at the next higher score; 1 where nothing is above."""
        return _precision(self.hits_above, self.alarms_above)


def _precision(hits: Masses, alarms: Masses) -> NDArray[np.float64]:
    marked = hits + alarms
    precision = np.ones(len(marked))
    np.divide(hits, marked, out=precision, where=marked > 0)
    return precision


def _tails(weights: Masses | None) -> Masses | None:
    if weights is None:
        return None
    tails = np.zeros(len(weights) + 1, weights.dtype)
    np.cumsum(weights[::-1], out=tails[-2::-1])
    return tails


def roc_auc(column: Column) -> float:
    """The share of pairs of a positive and a negative that are ranked right, ties half.

    That is the area under the ROC curve by the trapezoid rule (J. A. Hanley and B. J. McNeil,
    Radiology 143, 1982). Without weights it is a ratio of integers, correctly rounded.
    """
    order = column.order
    swapped = column.negative_weights is None and len(order.positives) > len(order.negatives)
    if swapped:  # fewer scores to look up; right pairs become wrong ones
        column = Column(Order(order.positives, order.negatives))
    column = _moderate(column)
    lost = sum(
        ((step.hits - step.hits_above) * (step.alarms + step.alarms_above)).sum().item()
        for step in column.steps()
    )
    pairs = 2 * column.positives * column.negatives
    return float((lost if swapped else pairs - lost) / pairs)


def _moderate(column: Column) -> Column:
    """Scale the weights of a class by a power of two where products of sums would not fit."""
    weights = [column.negative_weights, column.positive_weights]
    totals = column.negatives, column.positives
    if all(1 / MODERATE < total < MODERATE for total in totals):
        return column
    scaled = [
        None if values is None else np.ldexp(values, -np.frexp(total)[1])
        for values, total in zip(weights, totals, strict=True)
    ]
    return Column(column.order, *scaled)


def average_precision(column: Column) -> float:
    """The mean over the positives of the precision at their score as threshold.

    Equal to the sum of precision times step in recall; nothing is interpolated.
    """
    sums = (
        np.add.reduce((step.hits - step.hits_above) * step.precision()) for step in column.steps()
    )
    return float(math.fsum(sums) / column.positives)


def precision_recall_area(column: Column) -> float:
    """The area under straight lines between the points of the precision-recall curve."""
    sums = (
        np.add.reduce(
            (step.hits - step.hits_above) * (step.precision() + step.precision_above()) / 2
        )
        for step in column.steps()
    )
    return float(math.fsum(sums) / column.positives)


def recall_at_precision(column: Column, min_precision: float) -> tuple[float, float]:
    """The largest recall with at least that precision, and the highest threshold that gives it.

    A precision that is too small by less than 1e-12 is enough: sums of weights are rounded. Where
    no threshold will do, recall is 0 at an infinite threshold, which marks nothing.
    """
    for step in column.steps():
        good = (step.precision() >= min_precision - ROUNDING) & (step.hits > 0)
        if good.any():
            hits = step.hits[good.argmax()]
            highest = step.start[step.hits == hits][-1]
            threshold = column.order.positives[highest]
            return float(hits / column.positives), float(threshold)
    return 0.0, math.inf


def equal_error_rate(column: Column) -> float:
    """Where the ROC curve, of straight lines, meets the line on which both errors are equal."""
    negatives, positives = column.negatives, column.positives
    sums = (
        (step, step.alarms_above / negatives + step.hits_above / positives)
        for step in column.steps()
    )
    # The sum of the rates falls as scores rise; above the last positive it is at most 1.
    step, above = next((step, above) for step, above in sums if above[-1] <= 1)
    at = int((above <= 1).argmax())
    alarm, hit = float(step.alarms[at] / negatives), float(step.hits[at] / positives)
    if alarm + hit <= 1:
        return 1 - hit  # met between two positive scores, where the curve is level
    share = (alarm + hit - 1) / (alarm + hit - float(above[at]))
    return alarm + share * (float(step.alarms_above[at] / negatives) - alarm)


class Cut(NamedTuple):
    """Every distinct score as threshold, descending, each array of shape (t,).

    Attributes:
        thresholds: The scores.
        alarms: The number, or weight, of negatives at or above each.
        hits: The number, or weight, of positives at or above each.
    """

    thresholds: Array
    alarms: Masses
    hits: Masses


def curve(column: Column) -> Cut:
    """Count what each threshold marks; scores of items without weight are no thresholds."""
    order = column.order
    thresholds = np.unique(np.concatenate([order.negatives, order.positives]))[::-1]
    alarms = _at_least(order.negatives, column.negative_tails, thresholds)
    hits = _at_least(order.positives, column.positive_tails, thresholds)
    marks = np.diff(alarms, prepend=0) + np.diff(hits, prepend=0) > 0
    return Cut(thresholds[marks], alarms[marks], hits[marks])


def _at_least(scores: Array, tails: Masses | None, thresholds: Array) -> Masses:
    below = np.searchsorted(scores, thresholds, "left")
    return len(scores) - below if tails is None else tails[below]
