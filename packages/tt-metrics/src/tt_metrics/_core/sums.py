"""Sums over all items that do not depend on how the data was split."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_weights
from tt_metrics._core.state import Kinds, State, entry
from tt_metrics._core.twofloats import pairs_added, two_sum
from tt_metrics._errors import MetricInputError, NoDataError

__all__ = ["Sums", "accurate_sum"]

LANES = 2048  # few enough to stay in the CPU's cache, enough to make numpy's calls cheap

TwoFloats = tuple[float, float]
"""A number as the unevaluated sum of a float64 and what it rounded away."""


class Sums(State):
    """Totals of some numbers per item, each kept as two floats; a subclass says which numbers.

    A total's relative error is far below float64's resolution (about 1e-30 for terms of one sign),
    so any split of the data, merged in any order, gives the same float64 or its neighbour.
    """

    names: ClassVar[tuple[str, ...]]
    """What the totals are called."""

    def __init__(self) -> None:
        self._count = 0
        self._weight: TwoFloats = (0.0, 0.0)
        self._totals: list[TwoFloats] = [(0.0, 0.0)] * len(self.names)

    @abstractmethod
    def columns(self, y_true: Any, y_predicted: Any) -> Sequence[NDArray[np.float64]]:
        """Give the terms of each total for a batch: one array of shape (n,) per name."""

    @property
    def key(self) -> tuple[Hashable, ...]:
        return (type(self).__name__,)

    @property
    def count(self) -> int:
        return self._count

    @property
    def weight(self) -> float:
        """The sum of the items' weights; without weights their number."""
        return sum(self._weight)

    def total(self, name: str) -> float:
        """One total, rounded to a float64; with weights, of the weighted terms."""
        return sum(self._totals[self.names.index(name)])

    def mean(self, name: str) -> float:
        """One total over the weight of all items, rounded once."""
        high, low = self._totals[self.names.index(name)]
        if not self.weight:
            msg = f"A mean needs items that weigh more than 0; all {self._count} weigh nothing."
            raise NoDataError(msg)
        return float((Fraction(high) + Fraction(low)) / sum(map(Fraction, self._weight)))

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> _Part:
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            columns = self.columns(y_true, y_predicted)
            items = len(columns[0])
            if weight is None:
                return self._fitting(_Part(items, (items, 0.0), list(map(accurate_sum, columns))))
            weights = as_weights(weight, items)
            sums = [accurate_sum(column * weights) for column in columns]
        return self._fitting(_Part(items, accurate_sum(weights), sums))

    def add(self, part: _Part, /) -> None:
        self._count += part.items
        self._weight = pairs_added(self._weight, part.weight)
        self._totals = self._with(part.totals)

    def to_dict(self) -> dict[str, Any]:
        totals = np.array(self._totals, np.float64).reshape(-1, 2)
        return {"count": self._count, "weight": np.array(self._weight), "totals": totals}

    def parsed(self, data: Mapping[str, Any], /) -> _Part:
        high, low = np.asarray(entry(data, "weight"), np.float64).tolist()
        rows = np.asarray(entry(data, "totals"), np.float64).tolist()
        totals = [(above, below) for above, below in rows]
        return self._fitting(_Part(int(entry(data, "count")), (high, low), totals))

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        columns = self.columns(y_true, y_predicted)
        items = len(columns[0])
        weights = np.ones(items) if weight is None else as_weights(weight, items)
        table = np.column_stack([*columns, np.ones(items)]) * weights[:, None]

        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            sums = times.astype(np.float64) @ table
            for row, (*totals, own) in zip(times, sums.tolist(), strict=True):
                drawn = copy.copy(self)
                drawn._count, drawn._weight = int(row.sum()), (own, 0.0)
                drawn._totals = [(total, 0.0) for total in totals]
                yield drawn

        return Kinds(np.arange(items), items, draw)

    def _with(self, totals: Sequence[TwoFloats]) -> list[TwoFloats]:
        return [pairs_added(a, b) for a, b in zip(self._totals, totals, strict=True)]

    def _fitting(self, part: _Part) -> _Part:
        for name, (high, _) in zip(self.names, self._with(part.totals), strict=True):
            if not math.isfinite(high):
                msg = f"The sum of {name} must stay below 1.8e308 (float64); scale the data down."
                raise MetricInputError(msg)
        return part


class _Part(NamedTuple):
    items: int
    weight: TwoFloats
    totals: list[TwoFloats]


def accurate_sum(values: NDArray[np.float64]) -> TwoFloats:
    """Sum an array of shape (n,), adding up what each addition rounds away.

    `LANES` sums run side by side; what is left is added exactly.
    """
    whole = len(values) - len(values) % LANES
    total, lost = np.zeros((2, LANES if whole else 0))
    for start in range(0, whole, LANES):
        total, error = two_sum(total, values[start : start + LANES])
        lost += error
    terms = [*total.tolist(), *lost.tolist(), *values[whole:].tolist()]
    try:
        high = math.fsum(terms)
        return high, math.fsum([*terms, -high])
    except (OverflowError, ValueError):
        return math.nan, math.nan
