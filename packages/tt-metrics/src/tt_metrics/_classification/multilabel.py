"""Several labels per item: what is counted of tables of 0 and 1."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_numbers, as_weights, require
from tt_metrics._core.labels import LabelReader, at_least
from tt_metrics._core.state import Kinds, State, entry
from tt_metrics._errors import MetricInputError, MetricStateError

__all__ = ["LabelCounts", "TableReader"]

Table = NDArray[np.bool_]

BLOCK = 1 << 13  # kinds multiplied at a time: all of them as floats would take too much memory


class TableReader:
    """The one place where it is decided which labels an item has.

    Args:
        threshold: A probability of at least this means that an item has the label; in (0, 1].
        num_classes: L, if it is known.
        labels: What the L columns are called.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        checked = LabelReader(threshold=threshold, num_classes=num_classes, labels=labels)
        self.threshold = checked.threshold
        self.num_classes = checked.num_classes
        self.labels = checked.labels

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What makes two readers read alike."""
        return self.threshold, self.num_classes, self.labels

    def read(self, y_true: Any, y_predicted: Any) -> tuple[Table, Table]:
        """Give which labels the items have and were predicted to have, both of shape (n, L)."""
        true, predicted = as_numbers(y_true, "y_true"), as_numbers(y_predicted, "y_predicted")
        if true.ndim != 2 or true.shape != predicted.shape:
            msg = (
                "With multilabel=True, y_true and y_predicted must both have shape (n, labels); "
                f"their shapes are {true.shape} and {predicted.shape}."
            )
            raise MetricInputError(msg)
        self.check_width(true.shape[1])
        return _indicators(true, "y_true"), self._decided(predicted)

    def check_width(self, width: int, known: int = 0) -> None:
        """Refuse tables of another number of labels than was said, or than came before."""
        expected = self.num_classes or known or width
        if width != expected:
            msg = f"Tables must have one column per label, {expected}; {width} columns came."
            raise MetricInputError(msg)

    def names(self, width: int) -> tuple[Any, ...]:
        """What the columns are called."""
        return self.labels or tuple(range(width))

    def _decided(self, predicted: NDArray[Any]) -> Table:
        if predicted.dtype.kind != "f":
            return _indicators(predicted, "y_predicted")
        inside = (predicted >= 0) & (predicted <= 1)
        require(inside, predicted, "y_predicted", "must be labels 0 and 1 or probabilities")
        decided: Table = at_least(predicted, self.threshold)
        return decided


def _indicators(array: NDArray[Any], name: str) -> Table:
    if array.dtype.kind == "b":
        return array
    if array.min() < 0 or array.max() > 1 or array.dtype.kind == "f":
        rule = "must be 0 or 1 for each item and label"
        require((array == 0) | (array == 1), array, name, rule)
    return array.astype(np.bool_)


class _Part(NamedTuple):
    counts: NDArray[Any]
    items: int


class LabelCounts(State):
    """How often each of L labels was there and was predicted: integers, so merging is exact.

    With sample weights the entries are sums of weights, in float64.

    Args:
        threshold: A probability of at least this means that an item has the label; in (0, 1].
        num_classes: L. Left out, it is the number of columns of the first batch.
        labels: What the L columns are called. Left out, they are 0, 1, 2, ...
    """

    additive = ("counts", "items")

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        self._reader = TableReader(threshold=threshold, num_classes=num_classes, labels=labels)
        self._items = 0
        self.counts: NDArray[Any] = np.zeros((self._reader.num_classes or 0, 2, 2), np.int64)
        """Shape (L, 2, 2): per label ``[[tn, fp], [fn, tp]]``, rows true and columns predicted."""

    @property
    def key(self) -> tuple[Hashable, ...]:
        return "LabelCounts", *self._reader.key

    @property
    def count(self) -> int:
        return self._items

    @property
    def labels(self) -> tuple[Any, ...]:
        """What the L columns are called."""
        return self._reader.names(len(self.counts))

    @property
    def total(self) -> int | float:
        """The number, or weight, of all items."""
        total: int | float = self.counts[:1].sum().item()
        return total

    @property
    def weighted(self) -> bool:
        """Whether sample weights came, so that entries are no counts."""
        return self.counts.dtype.kind == "f"

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> _Part:
        """Count a batch: labels (n, L) of 0 and 1; labels or probabilities (n, L)."""
        true, predicted = self._reader.read(y_true, y_predicted)
        self._reader.check_width(true.shape[1], len(self.counts))
        items = len(true)
        if weight is None:
            return _Part(_counted(true, predicted), items)
        return _Part(_weighed(true, predicted, as_weights(weight, items)), items)

    def add(self, part: _Part, /) -> None:
        self.counts = self.counts + part.counts if len(self.counts) else part.counts
        self._items += part.items

    def to_dict(self) -> dict[str, Any]:
        return {"counts": self.counts.copy(), "items": self._items}

    def parsed(self, data: Mapping[str, Any], /) -> _Part | None:
        part = _Part(np.array(entry(data, "counts")), int(entry(data, "items")))
        if not part.items:
            return None
        if len(self.counts) not in (0, len(part.counts)):
            msg = f"States must count the same labels; {len(part.counts)} came for {self.labels}."
            raise MetricStateError(msg)
        return part

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        true, predicted = self._reader.read(y_true, y_predicted)
        outcomes = _outcomes(true, predicted)
        if weight is not None:
            rows = _rows(outcomes) * as_weights(weight, len(true))[:, None]
            return self._kinds_of(np.arange(len(true)), rows)
        packed = np.packbits(np.hstack([true, predicted]), axis=1)
        patterns = packed.view(f"V{packed.shape[1]}")[:, 0]
        _, first, index = np.unique(patterns, return_index=True, return_inverse=True)
        return self._kinds_of(index, _rows(outcomes[:, first]))

    def _kinds_of(self, index: NDArray[np.intp], rows: NDArray[Any]) -> Kinds:
        """What to draw from: each kind adds its row of 4 L numbers to the counts."""

        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            sums = np.zeros((len(times), rows.shape[1]))
            for start in range(0, len(rows), BLOCK):
                block = slice(start, start + BLOCK)
                sums += times[:, block].astype(np.float64) @ rows[block].astype(np.float64)
            if rows.dtype.kind != "f":  # whole numbers are exact up to 2^53
                sums = sums.astype(np.int64)
            for row, counts in zip(times, sums.reshape(len(times), -1, 2, 2), strict=True):
                drawn = object.__new__(LabelCounts)
                drawn._reader, drawn._items = self._reader, int(row.sum())
                drawn.counts = counts
                yield drawn

        return Kinds(index, len(rows), draw)


def _outcomes(true: Table, predicted: Table) -> NDArray[np.bool_]:
    """Which labels are true negatives, false positives, false negatives, true positives.

    Shape (4, n, L).
    """
    neither, both = ~(true | predicted), true & predicted
    return np.stack([neither, predicted & ~true, true & ~predicted, both])


def _counted(true: Table, predicted: Table) -> NDArray[np.int64]:
    """Sum up the outcomes of each label, in the order of `LabelCounts.counts`."""
    both, named, there = (
        np.add.reduce(table, axis=0, dtype=np.int64)
        for table in (true & predicted, predicted, true)
    )
    neither = len(true) - named - there + both
    counts = np.column_stack([neither, named - both, there - both, both])
    return counts.reshape(-1, 2, 2)


def _weighed(true: Table, predicted: Table, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Do so with sample weights; no difference of sums, whose rounding could be below 0."""
    sums = np.column_stack([weights @ outcome for outcome in _outcomes(true, predicted)])
    return sums.reshape(-1, 2, 2)


def _rows(outcomes: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The outcomes item by item, shape (n, 4 L), in the order of `LabelCounts.counts`."""
    return outcomes.transpose(1, 2, 0).reshape(outcomes.shape[1], -1).view(np.uint8)
