"""The state of every metric that is a mean of losses."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_matching
from tt_metrics._core.state import Kinds, State, entry
from tt_metrics._core.twofloats import added, few_summed, folded
from tt_metrics._errors import MetricInputError, MetricStateError, NoDataError
from tt_metrics._regression.outputs import Reading, check_width, read_outputs

__all__ = ["Losses", "blocks"]

Array = NDArray[np.float64]

BLOCK = 1 << 15  # numbers worked on at a time: they stay in the CPU's cache
FEW = 512  # entries whose exact sum costs no more than numpy's calls do


class Losses(State):
    """Totals of losses per output, each kept as two floats; a subclass says which losses.

    Within a block of some thousand entries numbers are added in pairs, which for losses is right to
    3e-15 at worst and 1e-16 as a rule; blocks, batches and states are added without loss.
    """

    names: ClassVar[tuple[str, ...]]
    """What the totals are called."""

    def __init__(self) -> None:
        self._count = 0
        self._width: int | None = None
        self._weight = np.zeros(2)
        self._totals = np.zeros((2, len(self.names), 0))

    @abstractmethod
    def losses(self, true: NDArray[Any], predicted: NDArray[Any]) -> Sequence[Array]:
        """Give the losses of a block: per name an array of shape (outputs, entries)."""

    def read(self, y_true: Any, y_predicted: Any) -> Reading:
        """Give a batch as rows of numbers; here, numbers of equal shapes."""
        return read_outputs(y_true, y_predicted)

    @property
    def key(self) -> tuple[Hashable, ...]:
        return (type(self).__name__,)

    @property
    def count(self) -> int:
        return self._count

    def mean(self, name: str) -> Array:
        """The mean of one loss for each output, shape (d,); weighted where weights came."""
        high, low = self._totals[:, self.names.index(name)]
        weight = float(self._weight.sum())
        if not weight:
            msg = f"A mean needs items that weigh more than 0; all {self._count} weigh nothing."
            raise NoDataError(msg)
        if not (low.any() or self._weight[1]):
            return np.asarray(high / weight)
        exact = sum(map(Fraction, self._weight.tolist()))
        totals = zip(high.tolist(), low.tolist(), strict=True)
        return np.array([float((Fraction(a) + Fraction(b)) / exact) for a, b in totals])

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> _Part:
        reading = self.read(y_true, y_predicted)
        check_width(len(reading.predicted), self._width, MetricInputError)
        weights = reading.weights(weight)
        with np.errstate(over="ignore", invalid="ignore"):  # seen in the sums
            totals = self._summed(reading, weights)
            size = np.array([float(reading.entries), 0.0]) if weights is None else _total(weights)
        if not np.isfinite(totals[0]).all() and not reading.is_finite:
            as_matching(y_true, y_predicted)  # raises, with the value that is not finite
        return self._fitting(_Part(reading.items, len(reading.predicted), size, totals))

    def add(self, part: _Part, /) -> None:
        self._totals = added(self._totals, part.totals) if self._count else part.totals
        self._weight = added(self._weight, part.weight)
        self._count += part.items
        self._width = part.width

    def to_dict(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "width": self._width,
            "weight": self._weight.copy(),
            "totals": self._totals.copy(),
        }

    def parsed(self, data: Mapping[str, Any], /) -> _Part | None:
        count, width = int(entry(data, "count")), entry(data, "width")
        if not count:
            return None
        weight, totals = (np.array(entry(data, name), np.float64) for name in ("weight", "totals"))
        check_width(int(width), self._width, MetricStateError)
        return self._fitting(_Part(count, int(width), weight, totals))

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        reading = self.read(y_true, y_predicted)
        table, weights = self._table(reading, reading.weights(weight))

        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            share = times.astype(np.float64)
            for row, sums, size in zip(times, share @ table, share @ weights, strict=True):
                drawn = copy.copy(self)
                drawn._count, drawn._width = int(row.sum()), len(reading.predicted)
                drawn._weight = np.array([size, 0.0])
                high = sums.reshape(len(self.names), -1)
                drawn._totals = np.array([high, np.zeros_like(high)])
                yield drawn

        return Kinds(np.arange(reading.items), reading.items, draw)

    def _summed(self, reading: Reading, weights: Array | None) -> Array:
        """The totals of a batch as two floats, shape (2, names, outputs)."""
        if reading.entries <= FEW:
            return few_summed(np.array(self._columns(reading, weights, slice(None))))
        return folded(
            [
                np.array(
                    [
                        np.add.reduce(column, axis=1)
                        for column in self._columns(reading, weights, part)
                    ]
                )
                for part in blocks(len(reading.predicted), reading.entries)
            ]
        )

    def _columns(self, reading: Reading, weights: Array | None, part: slice) -> Sequence[Array]:
        columns = self.losses(reading.true[:, part], reading.predicted[:, part])
        return columns if weights is None else [column * weights[part] for column in columns]

    def _table(self, reading: Reading, weights: Array | None) -> tuple[Array, Array]:
        """What each item adds, shape (n, names * outputs), and what it weighs, shape (n,)."""
        parts = blocks(len(reading.predicted), reading.entries)
        rows = [np.concatenate(self._columns(reading, weights, part)) for part in parts]
        table = np.concatenate(rows, axis=1).T
        own = np.ones(reading.entries) if weights is None else weights
        table = table.reshape(reading.items, reading.each, -1).sum(axis=1)
        return table, own.reshape(reading.items, -1).sum(axis=1)

    def _fitting(self, part: _Part) -> _Part:
        with np.errstate(over="ignore", invalid="ignore"):
            highs = part.totals[0] + (self._totals[0] if self._count else 0.0)
            weight = part.weight[0] + self._weight[0]
        if not np.isfinite(weight):
            msg = "The sum of weight must stay below 1.8e308 (float64); scale the weights down."
            raise MetricInputError(msg)
        for name, high in zip(self.names, highs, strict=True):
            if not np.isfinite(high).all():
                msg = f"The sum of {name} must stay below 1.8e308 (float64); scale the data down."
                raise MetricInputError(msg)
        return part


class _Part(NamedTuple):
    items: int
    width: int
    weight: Array
    totals: Array


def blocks(width: int, entries: int) -> list[slice]:
    """Cut so many entries of so many numbers into parts that fit the CPU's cache."""
    step = max(BLOCK // width, 64)
    return [slice(start, start + step) for start in range(0, entries, step)]


def _total(weights: Array) -> Array:
    """Sum weights of shape (m,) as two floats, shape (2,)."""
    if len(weights) <= FEW:
        return few_summed(weights)
    return folded([np.add.reduce(weights[part]) for part in blocks(1, len(weights))])
