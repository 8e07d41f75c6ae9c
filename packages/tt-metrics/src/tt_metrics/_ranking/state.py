"""Scores by class: what every metric on rankings needs."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_weights
from tt_metrics._core.state import Draw, Kinds, State, entry
from tt_metrics._errors import MetricStateError
from tt_metrics._ranking.inputs import Ranked, ScoreReader
from tt_metrics._ranking.kernels import Column, Order
from tt_metrics._ranking.parts import Key, Part, arrangement, classes, joined, order_of, part_of

__all__ = ["Ranking"]

Array = NDArray[Any]


class Ranking(State):
    """All scores and their targets; of two classes sorted, 9 bytes per item for float64 scores.

    Scores may be any finite numbers: only their order counts. float16 and float32 stay what they
    are. Sorted scores are kept until the next data comes, so metrics that share the state sort
    once; with more than two classes that doubles its size.

    Args:
        multilabel: Targets are of shape (n, K), 0 or 1: an item may have any number of the labels.
        labels: The labels in the order of the columns of scores; of two, the second is positive.
            Left out, they are 0, 1, 2, ...
    """

    def __init__(self, *, multilabel: bool = False, labels: Sequence[Any] | None = None) -> None:
        self._reader = ScoreReader(multilabel=multilabel, labels=labels)
        self._parts: list[Part] = []
        self._times: NDArray[np.int64] | None = None  # how often each item was drawn
        self._orders: dict[tuple[Key, bool], Order] = {}

    @property
    def key(self) -> tuple[Hashable, ...]:
        return "Ranking", self._reader.multilabel, self._reader.labels

    @property
    def count(self) -> int:
        if self._times is not None:
            return int(self._times.sum())
        return sum(len(part.scores) for part in self._parts)

    @property
    def binary(self) -> bool:
        """Whether items have one score each, for the second of two classes."""
        return self._parts[0].scores.ndim == 1

    @property
    def weighted(self) -> bool:
        """Whether sample weights came, or items were drawn several times."""
        return self._times is not None or any(part.weights is not None for part in self._parts)

    @property
    def labels(self) -> tuple[Any, ...]:
        """The labels in the order of the columns of scores."""
        return self._reader.labels or tuple(range(classes(self._parts[0].scores)))

    def column(self, label: int = 1) -> Column:
        """Items with a label, by its number, against all others; the score is the label's."""
        return self._column(("rest", label))

    def pair(self, label: int, other: int) -> Column:
        """Items of one class against those of another; the score is the first one's."""
        return self._column(("pair", label, other))

    def every(self) -> Column:
        """Each item once for each label, with the score of the label: all in one ranking."""
        return self._column(("all",))

    def _column(self, key: Key) -> Column:
        part = self._whole()
        order = self._order(key, part)
        weights = self._times if part.weights is None else part.weights
        if part.weights is not None and self._times is not None:
            weights = part.weights * self._times
        if weights is None:
            return Column(order)
        return Column(order, weights[order.negative_items], weights[order.positive_items])

    def _order(self, key: Key, part: Part) -> Order:
        with_items = self.weighted
        order = self._orders.get((key, with_items)) or order_of(part, key, with_items)
        if key[0] != "pair" or self._times is not None:  # pairs are many, and asked for once
            self._orders[key, with_items] = order
        return order

    def _whole(self) -> Part:
        """All items as one part."""
        if len(self._parts) > 1:
            self._parts = [joined(self._parts)]
        return self._parts[0]

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Part:
        """Sort a batch: scores (n,) or (n, 2) of two classes, (n, K) of more or of labels."""
        ranked, weights = self._read(y_true, y_predicted, weight)
        return part_of(ranked, weights)

    def _read(self, y_true: Any, y_predicted: Any, weight: Any) -> tuple[Ranked, Array | None]:
        ranked = self._reader.read(y_true, y_predicted)
        self._check_shape(ranked.scores)
        return ranked, None if weight is None else as_weights(weight, len(ranked.scores))

    def add(self, part: Part, /) -> None:
        self._parts.append(part)
        self._orders = {}

    def to_dict(self) -> dict[str, Any]:
        if not self._parts:
            return {"targets": None, "scores": None, "weights": None}
        part = self._whole()
        return {n: None if a is None else a.copy() for n, a in part._asdict().items()}

    def parsed(self, data: Mapping[str, Any], /) -> Part | None:
        targets, scores, weights = (entry(data, name) for name in Part._fields)
        if scores is None:
            return None
        scores, targets = np.asarray(scores), np.array(targets)
        self._check_shape(scores)
        weights = None if weights is None else np.array(weights, np.float64)
        return part_of(Ranked(targets, scores), weights)

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        drawn_from = Ranking(multilabel=self._reader.multilabel, labels=self._reader.labels)
        (targets, scores), weights = drawn_from._read(y_true, y_predicted, weight)
        index = np.arange(len(scores))
        if scores.ndim == 1:
            order = arrangement(targets, scores)
            index[order] = np.arange(len(scores))
        drawn_from.add(part_of(Ranked(targets, scores), weights))
        return Kinds(index, len(scores), drawn_from._drawer())

    def own_kinds(self) -> tuple[NDArray[np.int64], Draw] | None:
        return np.ones(len(self._whole().scores), np.int64), self._drawer()

    def _drawer(self) -> Draw:
        source = copy.copy(self)
        source._parts, source._orders = [self._whole()], {}

        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            for row in times:
                drawn = copy.copy(source)  # it shares the sorted scores
                drawn._times = row
                yield drawn

        return draw

    def _check_shape(self, scores: Array) -> None:
        if not self._parts or self._parts[0].scores.shape[1:] == scores.shape[1:]:
            return
        msg = (
            "Scores must be of the same classes in every batch; there were "
            f"{classes(self._parts[0].scores)} classes, now there are {classes(scores)}."
        )
        raise MetricStateError(msg)
