"""How many labels were predicted right: all that an accuracy needs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._classification.agreeing import agreeing
from tt_metrics._core.inputs import as_array, as_weights
from tt_metrics._core.labels import LabelReader
from tt_metrics._core.state import Draw, Kinds, State, entry

__all__ = ["Hits", "LabelHits"]


class _Part(NamedTuple):
    right: int | float
    total: int | float
    items: int


class Hits(State):
    """Right items and all items, or their weights; a subclass says which items are right.

    Attributes:
        right: The number, or weight, of right items.
        total: The number, or weight, of all items.
    """

    additive = ("right", "total", "items")

    def __init__(self) -> None:
        self.right: int | float = 0
        self.total: int | float = 0
        self._items = 0

    @abstractmethod
    def found(self, y_true: Any, y_predicted: Any) -> NDArray[np.bool_]:
        """Tell which items are right, shape (n,)."""

    @property
    def count(self) -> int:
        return self._items

    @property
    def weighted(self) -> bool:
        """Whether sample weights came."""
        return isinstance(self.total, float)

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> _Part:
        """Count a batch."""
        hits = self.found(y_true, y_predicted)
        if weight is None:
            return _Part(int(np.count_nonzero(hits)), len(hits), len(hits))
        weights = as_weights(weight, len(hits))
        return _Part(float(weights[hits].sum()), float(weights.sum()), len(hits))

    def add(self, part: _Part, /) -> None:
        self.right += part.right
        self.total += part.total
        self._items += part.items

    def to_dict(self) -> dict[str, Any]:
        return {"right": self.right, "total": self.total, "items": self._items}

    def parsed(self, data: Mapping[str, Any], /) -> _Part:
        right, total = (np.asarray(entry(data, name)).item() for name in ("right", "total"))
        return _Part(right, total, int(entry(data, "items")))

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        hits = self.found(y_true, y_predicted)
        if weight is None:
            return Kinds(hits.astype(np.intp), 2, self._drawn_counts)
        weights = as_weights(weight, len(hits))
        table = np.column_stack([weights * hits, weights])

        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            for row, (right, total) in zip(times, times @ table, strict=True):
                yield self._drawn(float(right), float(total), int(row.sum()))

        return Kinds(np.arange(len(hits)), len(hits), draw)

    def own_kinds(self) -> tuple[NDArray[np.int64], Draw] | None:
        if self.weighted:
            return None
        return np.array([self.total - self.right, self.right], np.int64), self._drawn_counts

    def _drawn_counts(self, times: NDArray[np.int64], /) -> Iterator[State]:
        for wrong, right in times.tolist():
            yield self._drawn(right, wrong + right, wrong + right)

    def _drawn(self, right: float, total: float, items: int) -> State:
        drawn = object.__new__(type(self))
        drawn.__dict__.update(self.__dict__)
        drawn.right, drawn.total, drawn._items = right, total, items
        return drawn


class LabelHits(Hits):
    """An item is right if its label was predicted.

    Args:
        threshold: A probability of at least this makes the second label; in (0, 1].
        num_classes: K, if it is known; labels beyond it are then an error.
        labels: All labels, in the order of the columns of scores.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        super().__init__()
        self._reader = LabelReader(threshold=threshold, num_classes=num_classes, labels=labels)

    @property
    def key(self) -> tuple[Hashable, ...]:
        return "LabelHits", *self._reader.key

    def found(self, y_true: Any, y_predicted: Any) -> NDArray[np.bool_]:
        """Tell which items have the label that was predicted."""
        read = self._reader.read(y_true, y_predicted)
        found: NDArray[np.bool_] = read.true == read.predicted
        return found

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> _Part:
        """Count a batch: labels of shape (n,); labels or probabilities (n,), or scores (n, K)."""
        if weight is None and self._reader.labels is None:
            y_true, y_predicted = as_array(y_true, "y_true"), as_array(y_predicted, "y_predicted")
            right = agreeing(y_true, y_predicted, self._reader.num_classes)
            if right is not None:
                return _Part(right, len(y_true), len(y_true))
        return super().measured(y_true, y_predicted, weight)
