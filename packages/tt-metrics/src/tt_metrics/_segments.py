"""Numbers per item that are kept: for scores of texts, where each item's share matters."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tt_metrics._state import State, entry

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
            self._chunks = [np.concatenate([np.empty((0, len(self.names))), *self._chunks])]
        return self._chunks[0]

    def mean(self, name: str) -> float:
        """Mean of one column."""
        column = self.rows[:, self.names.index(name)]
        return math.fsum(column) / len(column)

    def update(self, y_true: Any, y_predicted: Any, /) -> None:
        self._chunks.append(np.column_stack(self.columns(y_true, y_predicted)))

    def to_dict(self) -> dict[str, Any]:
        return {"rows": self.rows.copy()}

    def merge(self, data: Mapping[str, Any], /) -> None:
        self._chunks.append(np.array(entry(data, "rows"), np.float64))
