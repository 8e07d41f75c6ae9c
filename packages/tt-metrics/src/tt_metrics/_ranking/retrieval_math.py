"""How well each query's documents are ranked, for many queries at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_array, as_numbers
from tt_metrics._errors import MetricInputError
from tt_metrics._ranking.inputs import as_exact, as_float64

__all__ = ["Documents", "average_precision", "ndcg", "read_queries", "reciprocal_rank"]

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Documents(NamedTuple):
    """All queries' documents one after the other, each query's by descending score.

    Attributes:
        relevance: Of each document, at least 0.
        starts: Where each query starts.
        place: Of each document in its query, from 0.
        group_starts: Where runs of equal scores within a query start.
        group_sizes: How long each run is.
    """

    relevance: Floats
    starts: Array
    place: Array
    group_starts: Array
    group_sizes: Array

    def ranks(self) -> Array:
        """How many documents of the query have at least the score, for each document."""
        ends = self.place[self.group_starts] + self.group_sizes
        ranks: Array = np.repeat(ends, self.group_sizes)
        return ranks


def read_queries(y_true: Any, y_predicted: Any) -> Documents:
    """Sort relevances and scores, given as arrays (q, d) or as q rows of any lengths."""
    relevance, lengths = _rows(y_true, "y_true", as_float64)
    scores, others = _rows(y_predicted, "y_predicted", as_exact)
    if len(lengths) != len(others) or (lengths != others).any():
        msg = (
            "y_true and y_predicted need one number per document of each query; "
            f"{_difference(lengths, others)}."
        )
        raise MetricInputError(msg)
    starts = np.cumsum(lengths) - lengths
    _require_not_negative(relevance, starts)
    order = _descending(scores, starts, lengths)
    place = np.arange(len(scores)) - np.repeat(starts, lengths)
    scores = scores[order]
    new = place == 0
    new[1:] |= scores[1:] != scores[:-1]
    group_starts = np.flatnonzero(new)
    sizes = np.diff(group_starts, append=len(scores))
    return Documents(relevance[order], starts, place, group_starts, sizes)


def _require_not_negative(relevance: Floats, starts: Array) -> None:
    good = relevance >= 0
    if not good.all():
        at = int(good.argmin())
        query = int(np.searchsorted(starts, at, "right")) - 1
        msg = (
            f"y_true must be at least 0; it holds {relevance[at]} at index "
            f"{(query, at - int(starts[query]))}."
        )
        raise MetricInputError(msg)


def _rows(values: Any, name: str, floats: Callable[[Array, str], Array]) -> tuple[Floats, Array]:
    """All rows in one, and their lengths; floats makes them such, or says why it cannot."""
    if isinstance(values, (list, tuple)) and values:
        rows = [as_numbers(row, f"{name}[{i}]") for i, row in enumerate(values)]
        if all(row.ndim == 1 for row in rows):
            rows = [floats(row, f"{name}[{i}]") for i, row in enumerate(rows)]
            return np.concatenate(rows).astype(np.float64), np.array([len(row) for row in rows])
    array = as_numbers(as_array(values, name), name)
    if array.ndim != 2:
        msg = (
            f"{name} must have shape (queries, documents), or be a list of one row per query; "
            f"its shape is {array.shape}. Put a single query into a list."
        )
        raise MetricInputError(msg)
    numbers = floats(array, name).astype(np.float64)
    return numbers.ravel(), np.full(len(array), array.shape[1])


def _difference(lengths: Array, others: Array) -> str:
    if len(lengths) != len(others):
        return f"y_true has {len(lengths)} queries, y_predicted {len(others)}"
    query = int((lengths != others).argmax())
    return f"query {query} has {lengths[query]} in y_true, {others[query]} in y_predicted"


def _descending(values: Floats, starts: Array, lengths: Array) -> Array:
    """The order of the documents by value, query by query."""
    if (lengths == lengths[0]).all():
        within = np.argsort(-values.reshape(len(lengths), -1), axis=1)
        return (within + starts[:, None]).ravel()
    return np.lexsort([-values, np.repeat(np.arange(len(lengths)), lengths)])


def ndcg(documents: Documents, k: int | None) -> Floats:
    """Discounted gain of each query over the largest possible one; 0 where nothing is relevant."""
    relevance, starts, place, group_starts, sizes = documents
    discounts = 1 / np.log2(np.arange(2, place.max() + 3))
    if k is not None:
        discounts[k:] = 0
    sums = np.concatenate([[0.0], np.cumsum(discounts)])
    first = place[group_starts]
    shares = (sums[first + sizes] - sums[first]) / sizes  # a tied document's mean discount
    lengths = np.diff(starts, append=len(place))
    ideal = relevance[_descending(relevance, starts, lengths)]
    with np.errstate(over="ignore"):  # refused below
        gains = np.add.reduceat(relevance * np.repeat(shares, sizes), starts)
        best = np.add.reduceat(ideal * discounts[place], starts)
    if not (np.isfinite(gains) & np.isfinite(best)).all():
        msg = (
            "Sums of a query's relevances (y_true) must stay below 1.8e308 (float64); one does "
            "not. Scale the data down."
        )
        raise MetricInputError(msg)
    return np.divide(gains, best, out=np.zeros(len(starts)), where=best > 0)


def average_precision(documents: Documents, k: int | None) -> Floats:
    """Mean over each query's relevant documents of the precision at their rank."""
    relevant, ranks = documents.relevance > 0, documents.ranks()
    found = np.cumsum(relevant)
    last = documents.group_starts + documents.group_sizes - 1
    before: Array = (found - relevant)[documents.starts]
    lengths = np.diff(documents.starts, append=len(ranks))
    hits = np.repeat(found[last], documents.group_sizes) - np.repeat(before, lengths)
    counted = relevant if k is None else relevant & (ranks <= k)
    sums = np.add.reduceat(np.where(counted, hits / ranks, 0.0), documents.starts)
    all_relevant = np.add.reduceat(relevant.astype(np.int64), documents.starts)
    return sums / np.maximum(all_relevant, 1)


def reciprocal_rank(documents: Documents, k: int | None) -> Floats:
    """1 over the rank of each query's first relevant document; 0 where there is none."""
    ranks = np.where(documents.relevance > 0, documents.ranks(), np.inf)
    first = np.minimum.reduceat(ranks, documents.starts)
    return np.where(first <= (np.inf if k is None else k), 1 / first, 0.0)
