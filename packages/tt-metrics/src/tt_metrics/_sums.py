"""Sums over all items that do not depend on how the data was split."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from tt_metrics._errors import MetricInputError
from tt_metrics._state import State, entry

__all__ = ["Sums", "accurate_sum"]

T = TypeVar("T", float, NDArray[np.float64])

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

    def total(self, name: str) -> float:
        """One total, rounded to a float64."""
        return sum(self._totals[self.names.index(name)])

    def mean(self, name: str) -> float:
        """One total over the number of items, rounded once."""
        high, low = self._totals[self.names.index(name)]
        return float((Fraction(high) + Fraction(low)) / self._count)

    def update(self, y_true: Any, y_predicted: Any, /) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # checked in `_add`
            columns = self.columns(y_true, y_predicted)
            sums = [accurate_sum(column) for column in columns]
        self._add(len(columns[0]), sums)

    def to_dict(self) -> dict[str, Any]:
        return {"count": self._count, "totals": np.array(self._totals)}

    def merge(self, data: Mapping[str, Any], /) -> None:
        totals = [(float(high), float(low)) for high, low in entry(data, "totals")]
        self._add(int(entry(data, "count")), totals)

    def _add(self, count: int, sums: Sequence[TwoFloats]) -> None:
        totals = [_added(a, b) for a, b in zip(self._totals, sums, strict=True)]
        for name, (high, _) in zip(self.names, totals, strict=True):
            if not math.isfinite(high):
                msg = f"The sum of {name} must stay below 1.8e308 (float64); scale the data down."
                raise MetricInputError(msg)
        self._totals, self._count = totals, self._count + count


def accurate_sum(values: NDArray[np.float64]) -> TwoFloats:
    """Sum an array of shape (n,), adding up what each addition rounds away.

    `LANES` sums run side by side; the error of one addition is a float64 itself and found by six
    operations without a branch (D. E. Knuth, The Art of Computer Programming, volume 2, section
    4.2.2, theorem B). What is left is added exactly.
    """
    whole = len(values) - len(values) % LANES
    total, lost = np.zeros((2, LANES if whole else 0))
    for start in range(0, whole, LANES):
        total, error = _two_sum(total, values[start : start + LANES])
        lost += error
    terms = [*total.tolist(), *lost.tolist(), *values[whole:].tolist()]
    try:
        high = math.fsum(terms)
        return high, math.fsum([*terms, -high])
    except (OverflowError, ValueError):
        return math.nan, math.nan


def _two_sum(a: T, b: T) -> tuple[T, T]:
    total = a + b
    seen = total - a
    return total, (a - (total - seen)) + (b - seen)


def _added(a: TwoFloats, b: TwoFloats) -> TwoFloats:
    high, error = _two_sum(a[0], b[0])
    low = error + (a[1] + b[1])
    return high + low, low - ((high + low) - high)
