"""The counts behind every metric on class labels."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_weights
from tt_metrics._core.labels import LabelReader
from tt_metrics._core.state import Draw, Kinds, State, entry
from tt_metrics._core.tally import tally, tally_scores
from tt_metrics._errors import MetricInputError, MetricStateError

__all__ = ["Confusion"]

Counts = NDArray[Any]  # int64; float64 where sample weights came
Names = tuple[str, ...] | None

MOST_CLASSES = 4096  # found in the data: the matrix of as many takes 128 MiB


_Part = tuple[Counts, int, Names]
"""Counts, the number of items, and their labels if these are texts.

A plain tuple: a named one would cost 0.2 us of the 9 that a small batch takes.
"""


class Confusion(State):
    """How often each class was predicted for each class: integers, so merging is exact.

    With sample weights the entries are sums of weights, in float64.

    Args:
        threshold: A probability of at least this makes the second label; in (0, 1].
        num_classes: K. Left out, the matrix grows to the largest label that comes.
        labels: All labels, in the order of rows and columns. Left out, they are 0, 1, 2, ... or the
            texts that come, sorted.
    """

    additive = ("counts", "items")

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        self._reader = LabelReader(threshold=threshold, num_classes=num_classes, labels=labels)
        self._names: Names = None
        self._items = 0
        size = self._reader.num_classes or 0
        self.counts: Counts = np.zeros((size, size), np.int64)
        """Shape (K, K): rows are true classes, columns predicted ones."""

    @property
    def key(self) -> tuple[Hashable, ...]:
        return "Confusion", *self._reader.key

    @property
    def count(self) -> int:
        return self._items

    @property
    def labels(self) -> tuple[Any, ...]:
        """The K labels in the order of rows and columns."""
        return self._reader.labels or self._names or tuple(range(len(self.counts)))

    @property
    def right(self) -> int | float:
        """The number, or weight, of items whose label was predicted."""
        return _total(self.counts.diagonal())

    @property
    def total(self) -> int | float:
        """The number, or weight, of all items."""
        return _total(self.counts)

    @property
    def weighted(self) -> bool:
        """Whether sample weights came, so that entries are no counts."""
        return self.counts.dtype.kind == "f"

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> _Part:
        """Count a batch: labels of shape (n,); labels or probabilities (n,), or scores (n, K)."""
        if weight is None and self._reader.labels is None and self._names is None:
            quick = tally_scores(y_true, y_predicted, len(self.counts))
            if quick is not None:
                return quick, len(y_true), None
        read = self._reader.read(y_true, y_predicted)
        self._check_kind(read.names)
        self._check_size(read.size)
        items = len(read.true)
        weights = None if weight is None else as_weights(weight, items)
        return tally(read.true, read.predicted, read.size, weights), items, read.names

    def add(self, part: _Part, /) -> None:
        counts, items, names = part
        if names is not None or len(counts) != len(self.counts):
            counts = self._aligned(counts, names)
        if counts.dtype is self.counts.dtype:
            self.counts += counts
        else:
            self.counts = self.counts + counts
        self._items += items

    def to_dict(self) -> dict[str, Any]:
        names = None if self._names is None else list(self._names)
        return {"counts": self.counts.copy(), "items": self._items, "names": names}

    def parsed(self, data: Mapping[str, Any], /) -> _Part | None:
        counts, names = np.asarray(entry(data, "counts")), entry(data, "names")
        items, texts = int(entry(data, "items")), None if names is None else tuple(names)
        if not items:
            return None
        self._check_kind(texts)
        return counts, items, texts

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        read = self._reader.read(y_true, y_predicted)
        cells = read.true.astype(np.intp) * read.size + read.predicted
        if weight is None:
            return Kinds(cells, read.size**2, self._drawer(read.size, read.names))
        weights = as_weights(weight, len(cells))
        index = np.arange(len(cells))
        return Kinds(
            index, len(cells), self._weighted_drawer(cells, weights, read.size, read.names)
        )

    def own_kinds(self) -> tuple[NDArray[np.int64], Draw] | None:
        if self.weighted:
            return None
        return self.counts.ravel().astype(np.int64), self._drawer(len(self.counts), self._names)

    def _drawer(self, size: int, names: Names) -> Draw:
        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            for row in times:
                yield self._drawn(row.reshape(size, size), int(row.sum()), names)

        return draw

    def _weighted_drawer(
        self, cells: NDArray[np.intp], weights: NDArray[np.float64], size: int, names: Names
    ) -> Draw:
        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            for row in times:
                counts = np.bincount(cells, row * weights, size * size)
                yield self._drawn(counts.reshape(size, size), int(row.sum()), names)

        return draw

    def _drawn(self, counts: Counts, items: int, names: Names) -> Confusion:
        drawn = object.__new__(Confusion)
        drawn._reader, drawn._names = self._reader, names
        drawn.counts, drawn._items = counts, items
        return drawn

    def _check_size(self, size: int) -> None:
        if self._reader.num_classes is None and size > MOST_CLASSES:
            msg = (
                f"A confusion matrix grows to {MOST_CLASSES} classes on its own; {size} came. "
                "Give num_classes or labels if there really are so many."
            )
            raise MetricInputError(msg)

    def _check_kind(self, names: Names) -> None:
        if self._items and (names is None) != (self._names is None):
            kinds = ("numbers", "texts") if names else ("texts", "numbers")
            msg = f"Labels must stay of one type; they were {kinds[0]}, now {kinds[1]} came."
            raise MetricStateError(msg)

    def _aligned(self, counts: Counts, names: Names) -> Counts:
        """Bring other counts and the own ones to one set of labels; give the other ones."""
        if names is None:
            size = max(len(counts), len(self.counts))
            self.counts = _padded(self.counts, size)
            return _padded(counts, size)
        if names == self._names:
            return counts
        together = tuple(sorted({*(self._names or ()), *names}))
        self.counts = _spread(self.counts, self._names or (), together)
        self._names = together
        return _spread(counts, names, together)


def _total(counts: Counts) -> int | float:
    """The sum; of floats the nearest one, so that a part is never more than the whole."""
    if counts.dtype.kind == "f":
        return math.fsum(counts.ravel())
    total: int = counts.sum().item()
    return total


def _padded(counts: Counts, size: int) -> Counts:
    return np.pad(counts, (0, size - len(counts))) if len(counts) < size else counts


def _spread(counts: Counts, names: Sequence[str], onto: Sequence[str]) -> Counts:
    """Put rows and columns of some labels to their places among more labels."""
    places = [onto.index(name) for name in names]
    spread = np.zeros((len(onto), len(onto)), counts.dtype)
    spread[np.ix_(places, places)] = counts
    return spread
