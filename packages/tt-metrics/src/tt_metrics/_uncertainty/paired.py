"""Two systems on the same items: the items side by side, and data sets drawn from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_array, concatenated
from tt_metrics._core.items import Batch
from tt_metrics._core.metric import Metric
from tt_metrics._core.state import Draw, Kinds
from tt_metrics._errors import MetricInputError
from tt_metrics._ranking.inputs import ScoreReader
from tt_metrics._ranking.state import Ranking
from tt_metrics._uncertainty.resampling import (
    Bootstrap,
    Counts,
    Floats,
    check_unchanged,
    coin_flips,
    replicates,
    rows_per_block,
)

__all__ = ["Pair"]


@dataclass(frozen=True)
class Pair:
    """Two metrics with the items of one data set, item by item in the same order.

    Attributes:
        first: A metric.
        second: Another one of the same class and settings.
        ours: The items of the first.
        theirs: Those of the second; targets and weights are the same.
    """

    first: Metric[Any]
    second: Metric[Any]
    ours: Batch
    theirs: Batch

    def __len__(self) -> int:
        return len(self.ours.y_true)

    def kinds(self) -> tuple[Kinds, Kinds]:
        """The items of each metric by kind."""
        return _own_kinds(self.first, self.ours), _own_kinds(self.second, self.theirs)

    def bootstrap(self, n_resamples: int, rng: np.random.Generator) -> Floats:
        """Differences of both results on items drawn with replacement, the same for both."""
        ours, theirs = self.kinds()
        code, counts = np.unique(ours.index * theirs.size + theirs.index, return_counts=True)
        to_ours, to_theirs = (
            _Regrouped(code // theirs.size, ours.size),
            _Regrouped(code % theirs.size, theirs.size),
        )
        blocks = Bootstrap(counts).times(n_resamples, rng, width=ours.size + theirs.size)
        return self._differences(
            (ours.draw, to_ours(times), theirs.draw, to_theirs(times)) for times in blocks
        )

    def swaps(self, n_resamples: int, rng: np.random.Generator) -> Floats:
        """Differences of both results after the outputs for each item changed sides, or did not.

        Every item is swapped with probability 1/2. Of items that are of one kind for one system
        and of another kind for the other, only how many end up where matters: that is binomial.
        """
        kinds = _kinds(self.first, self._joined())
        ours, theirs = kinds.index[: len(self)], kinds.index[len(self) :]
        code, sizes = np.unique(
            np.minimum(ours, theirs) * kinds.size + np.maximum(ours, theirs), return_counts=True
        )
        low, high = code // kinds.size, code % kinds.size
        apart = low != high
        if not apart.any():
            return np.zeros(n_resamples)
        everything = np.bincount(kinds.index, minlength=kinds.size)
        fixed = np.zeros(kinds.size, np.int64)
        fixed[low[~apart]] = sizes[~apart]
        to_low, to_high = _Regrouped(low[apart], kinds.size), _Regrouped(high[apart], kinds.size)

        def blocks() -> Iterator[tuple[Draw, Counts, Draw, Counts]]:
            for rows in rows_per_block(n_resamples, 2 * kinds.size + apart.sum()):
                heads = coin_flips(sizes[apart], rows, rng)
                times = np.tile(fixed, (rows, 1))
                to_low.add_to(times, heads)
                to_high.add_to(times, sizes[apart] - heads)
                yield kinds.draw, times, kinds.draw, everything - times

        return self._differences(blocks())

    def _differences(self, blocks: Iterator[tuple[Draw, Counts, Draw, Counts]]) -> Floats:
        first, second = self.first.of(self.first._state), self.second.of(self.second._state)
        parts = [
            replicates(first, draw_ours(ours), [""]) - replicates(second, draw_theirs(theirs), [""])
            for draw_ours, ours, draw_theirs, theirs in blocks
        ]
        return np.concatenate(parts)[:, 0]

    def _joined(self) -> Batch:
        """The items of both, one after the other."""
        ours, theirs = self.ours, self.theirs
        predictions = [_comparable(self.first, items) for items in (ours, theirs)]
        if any(hasattr(one, "shape") for one in predictions):
            predictions = [as_array(one) for one in predictions]
            shapes = [one.shape for one in predictions]
            if shapes[0] != shapes[1]:
                msg = (
                    "Swapping outputs needs predictions of one shape for both systems; their "
                    f"shapes are {shapes[0]} and {shapes[1]}. Use test='bootstrap'."
                )
                raise MetricInputError(msg)
        weight = None if ours.weight is None else np.tile(as_array(ours.weight), 2)
        return Batch(concatenated([ours.y_true] * 2), concatenated(predictions), weight)


def _kinds(metric: Metric[Any], items: Batch) -> Kinds:
    kinds: Kinds = metric._state.kinds(items.y_true, items.y_predicted, items.weight)
    return kinds


def _own_kinds(metric: Metric[Any], items: Batch) -> Kinds:
    kinds = _kinds(metric, items)
    check_unchanged(metric, kinds)
    return kinds


def _comparable(metric: Metric[Any], items: Batch) -> Any:
    """Predictions that can change sides.

    Scores of two classes to rank by have no common scale; their ranks have one (A. Bandos,
    H. Rockette and D. Gur, A permutation test sensitive to differences in areas for comparing ROC
    curves from a paired design, Statistics in Medicine 24, 2005).
    """
    state = metric._state
    if not isinstance(state, Ranking) or not state.binary:
        return items.y_predicted
    scores = (
        ScoreReader(labels=metric.settings.get("labels"))
        .read(items.y_true, items.y_predicted)
        .scores
    )
    ordered = np.sort(scores)
    return np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")


class _Regrouped:
    """Adds up columns that belong to one kind.

        >>> to_kinds = _Regrouped(np.array([2, 0, 2]), 4)
        >>> to_kinds(np.array([[1, 10, 100], [2, 20, 200]])).tolist()
        [[10, 0, 101, 0], [20, 0, 202, 0]]

    Columns are sorted by kind once, so that those of a kind are neighbours: `reduceat` then sums
    all rows in one pass. `np.add.at` would go entry by entry, and a product with a table of 0 and 1
    would need c times `size` entries. What needs no sorting or no sums is left out.

    Args:
        kinds: The kind of each column, shape (c,).
        size: How many kinds there are.
    """

    def __init__(self, kinds: NDArray[np.intp], size: int) -> None:
        self._size = size
        order = np.argsort(kinds, kind="stable")
        found, self._starts = np.unique(kinds[order], return_index=True)
        self._order = None if np.array_equal(order, np.arange(len(order))) else order
        whole = len(found) > 0 and found[-1] - found[0] == len(found) - 1
        self._kinds = slice(int(found[0]), int(found[-1]) + 1) if whole else found
        self._apart = len(found) == len(kinds)

    def __call__(self, columns: Counts) -> Counts:
        """Give shape (b, size) for shape (b, c)."""
        times = np.zeros((len(columns), self._size), np.int64)
        self.add_to(times, columns)
        return times

    def add_to(self, times: Counts, columns: Counts) -> None:
        """Add columns of shape (b, c) to shape (b, size)."""
        if self._order is not None:
            columns = columns[:, self._order]
        if not self._apart:
            columns = np.add.reduceat(columns, self._starts, axis=1)
        times[:, self._kinds] += columns
