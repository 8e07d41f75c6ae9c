"""Several labels per item, looked at item by item."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._classification.hits import Hits
from tt_metrics._classification.multilabel import TableReader
from tt_metrics._core.inputs import as_weights
from tt_metrics._core.state import Draw, Kinds, State, entry
from tt_metrics._errors import MetricStateError

__all__ = ["SampleCounts", "SubsetHits"]

Codes = NDArray[np.int64]


class _Part(NamedTuple):
    width: int
    codes: Codes
    counts: NDArray[Any]
    items: int


class SampleCounts(State):
    """How many items have each triple (labels hit, labels predicted, labels true).

    Every score of single items that is averaged over items follows from it. The counts are
    integers, so merging is exact; with sample weights they are sums of weights, in float64. There
    are at most as many triples as items, and with few labels far fewer.

    Args:
        threshold: A probability of at least this means that an item has the label; in (0, 1].
        num_classes: L. Left out, it is the number of columns of the first batch.
        labels: What the L columns are called; only their number matters here.

    Attributes:
        width: L; 0 before any data where it is not known.
        counts: Shape (m,): how often each of the m triples came.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        self._reader = TableReader(threshold=threshold, num_classes=num_classes, labels=labels)
        self._items = 0
        self.width = self._reader.num_classes or 0
        self._codes: Codes = np.zeros(0, np.int64)  # triples as numbers, ascending
        self.counts: NDArray[Any] = np.zeros(0, np.int64)

    @property
    def key(self) -> tuple[Hashable, ...]:
        return "SampleCounts", *self._reader.key

    @property
    def count(self) -> int:
        return self._items

    @property
    def weighted(self) -> bool:
        """Whether sample weights came, so that entries are no counts."""
        return self.counts.dtype.kind == "f"

    @property
    def triples(self) -> tuple[Codes, Codes, Codes]:
        """Labels hit, predicted and true of each triple, three arrays of shape (m,)."""
        rest, support = np.divmod(self._codes, self.width + 1)
        hits, predicted = np.divmod(rest, self.width + 1)
        return hits, predicted, support

    @property
    def right(self) -> int | float:
        """The number, or weight, of items all of whose labels were predicted right."""
        hits, predicted, support = self.triples
        right: int | float = self.counts[(hits == predicted) & (hits == support)].sum().item()
        return right

    @property
    def total(self) -> int | float:
        """The number, or weight, of all items."""
        total: int | float = self.counts.sum().item()
        return total

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> _Part:
        """Count a batch: labels (n, L) of 0 and 1; labels or probabilities (n, L)."""
        codes, width = self._coded(y_true, y_predicted)
        self._reader.check_width(width, self.width)
        weights = None if weight is None else as_weights(weight, len(codes))
        return _Part(width, *_histogram(codes, weights), len(codes))

    def add(self, part: _Part, /) -> None:
        codes = np.concatenate([self._codes, part.codes])
        counts = np.concatenate([self.counts, part.counts])
        self._codes, self.counts = _histogram(codes, counts)
        self.width = part.width
        self._items += part.items

    def to_dict(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "triples": np.column_stack(self.triples),
            "counts": self.counts.copy(),
            "items": self._items,
        }

    def parsed(self, data: Mapping[str, Any], /) -> _Part | None:
        width, items = int(entry(data, "width")), int(entry(data, "items"))
        triples = np.asarray(entry(data, "triples"), np.int64).reshape(-1, 3)
        if not items:
            return None
        if self.width not in (0, width):
            msg = f"States must count the same number of labels; {width} came for {self.width}."
            raise MetricStateError(msg)
        codes = _code(triples[:, 0], triples[:, 1], triples[:, 2], width)
        return _Part(width, codes, np.array(entry(data, "counts")), items)

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        codes, width = self._coded(y_true, y_predicted)
        distinct, index = np.unique(codes, return_inverse=True)
        if weight is None:
            return Kinds(index, len(distinct), self._drawer(width, distinct))
        weights = as_weights(weight, len(codes))

        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            for row in times:
                counts = np.bincount(index, row * weights, len(distinct))
                yield self._drawn(width, distinct, counts, int(row.sum()))

        return Kinds(np.arange(len(codes)), len(codes), draw)

    def own_kinds(self) -> tuple[NDArray[np.int64], Draw] | None:
        if self.weighted:
            return None
        return self.counts, self._drawer(self.width, self._codes)

    def _drawer(self, width: int, codes: Codes) -> Draw:
        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            for row in times:
                yield self._drawn(width, codes, row, int(row.sum()))

        return draw

    def _drawn(self, width: int, codes: Codes, counts: NDArray[Any], items: int) -> SampleCounts:
        drawn = object.__new__(SampleCounts)
        drawn._reader, drawn.width, drawn._items = self._reader, width, items
        drawn._codes, drawn.counts = codes, counts
        return drawn

    def _coded(self, y_true: Any, y_predicted: Any) -> tuple[Codes, int]:
        """The triple of each item as one number, and L."""
        true, predicted = self._reader.read(y_true, y_predicted)
        hits, named, there = (
            np.count_nonzero(table, axis=1) for table in (true & predicted, predicted, true)
        )
        width = true.shape[1]
        return _code(hits, named, there, width), width


def _code(hits: Any, predicted: Any, support: Any, width: int) -> Codes:
    codes: Codes = (hits * (width + 1) + predicted) * (width + 1) + support
    return codes


def _histogram(codes: Codes, counts: NDArray[Any] | None) -> tuple[Codes, NDArray[Any]]:
    """Distinct codes in ascending order, and the sum of the counts of each."""
    if counts is None:
        return np.unique(codes, return_counts=True)
    distinct, index = np.unique(codes, return_inverse=True)
    sums = np.zeros(len(distinct), counts.dtype)
    np.add.at(sums, index, counts)
    return distinct, sums


class SubsetHits(Hits):
    """Of items with several labels, how many have all of them predicted right.

    Args:
        threshold: A probability of at least this means that an item has the label; in (0, 1].
        num_classes: L, if it is known.
        labels: What the L columns are called; only their number matters here.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        super().__init__()
        self._reader = TableReader(threshold=threshold, num_classes=num_classes, labels=labels)

    @property
    def key(self) -> tuple[Hashable, ...]:
        return "SubsetHits", *self._reader.key

    def found(self, y_true: Any, y_predicted: Any) -> NDArray[np.bool_]:
        """Tell which items have exactly the labels that were predicted."""
        true, predicted = self._reader.read(y_true, y_predicted)
        found: NDArray[np.bool_] = (true == predicted).all(axis=1)
        return found
