"""Numbers per item that are kept: for scores of texts, where each item's share matters."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_weights
from tt_metrics._core.state import Draw, Kinds, State, entry
from tt_metrics._errors import MetricStateError, NoDataError

__all__ = ["Segments"]

Rows = NDArray[np.float64]


class Segments(State):
    """An n x d table: d numbers for each of n items, in the order they came.

    Keeping the rows (8 d bytes per item) is what intervals and paired comparisons of two systems
    need later. Sums over a column are correctly rounded, so they do not depend on the order.
    """

    names: ClassVar[tuple[str, ...]]
    """What the d columns are called."""

    def __init__(self) -> None:
        self._chunks: list[Rows] = []
        self._weights: list[NDArray[np.float64] | None] = []

    @abstractmethod
    def columns(self, y_true: Any, y_predicted: Any) -> Sequence[NDArray[np.float64]]:
        """Score a batch: one array of shape (n,) per name."""

    @property
    def key(self) -> tuple[Hashable, ...]:
        return (type(self).__name__,)

    @property
    def count(self) -> int:
        return sum(map(len, self._chunks))

    @property
    def rows(self) -> Rows:
        """The table, of shape (n, d)."""
        if len(self._chunks) != 1:
            weights = self.weights
            self._chunks = [np.concatenate([np.empty((0, len(self.names))), *self._chunks])]
            self._weights = [weights]
        return self._chunks[0]

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """The weight of each item, shape (n,); None where none came."""
        if all(weights is None for weights in self._weights):
            return None
        return np.concatenate(
            [
                np.ones(len(chunk)) if weights is None else weights
                for chunk, weights in zip(self._chunks, self._weights, strict=True)
            ]
        )

    def mean(self, name: str) -> float:
        """Mean of one column, weighted where weights came."""
        column, weights = self.rows[:, self.names.index(name)], self.weights
        if weights is None:
            return math.fsum(column) / len(column)
        if not weights.any():
            msg = f"A mean needs items that weigh more than 0; all {len(column)} weigh nothing."
            raise NoDataError(msg)
        return math.fsum(column * weights) / math.fsum(weights)

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> _Part:
        rows = np.column_stack(self.columns(y_true, y_predicted))
        return _Part(rows, None if weight is None else as_weights(weight, len(rows)))

    def add(self, part: _Part, /) -> None:
        self._chunks.append(part.rows)
        self._weights.append(part.weights)

    def to_dict(self) -> dict[str, Any]:
        weights = self.weights
        return {
            "rows": self.rows.copy(),
            "weights": None if weights is None else weights.copy(),
        }

    def parsed(self, data: Mapping[str, Any], /) -> _Part:
        rows, weights = np.array(entry(data, "rows"), np.float64), entry(data, "weights")
        if rows.ndim != 2 or rows.shape[1] != len(self.names):
            msg = (
                f"A table of {type(self).__name__} must have {len(self.names)} columns; one of "
                f"shape {rows.shape} came."
            )
            raise MetricStateError(msg)
        return _Part(rows, None if weights is None else np.array(weights, np.float64))

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        part = self.measured(y_true, y_predicted, weight)
        return Kinds(np.arange(len(part.rows)), len(part.rows), self._drawer(part))

    def own_kinds(self) -> tuple[NDArray[np.int64], Draw] | None:
        part = _Part(self.rows, self.weights)
        return np.ones(len(part.rows), np.int64), self._drawer(part)

    def _drawer(self, part: _Part) -> Draw:
        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            for row in times:
                index = np.repeat(np.arange(len(row)), row)
                weights = None if part.weights is None else part.weights[index]
                drawn = copy.copy(self)
                drawn._chunks, drawn._weights = [part.rows[index]], [weights]
                yield drawn

        return draw


class _Part(NamedTuple):
    rows: Rows
    weights: NDArray[np.float64] | None
