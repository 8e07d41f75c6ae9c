"""The correlation of ranks, which needs all values."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_matching, as_weights
from tt_metrics._core.metric import Metric
from tt_metrics._core.state import Draw, Kinds, State, entry
from tt_metrics._errors import MetricInputError, MetricStateError, NoDataError
from tt_metrics._ranking.inputs import as_exact
from tt_metrics._regression.outputs import MultiOutput, averaged, check_width, checked_multioutput

__all__ = ["Pairs", "SpearmanCorrelationMetric"]

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

MODERATE = 2.0**200  # weights up to here, and down to its inverse, are safe to multiply


class _Part(NamedTuple):
    values: Array  # shape (2, n, d): targets and predictions
    weights: Array | None


class Pairs(State):
    """All targets and predictions, in float64: 16 bytes per item and output."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._codes: Codes | None = None  # of a drawn state, which has them from the whole

    @property
    def key(self) -> tuple[Hashable, ...]:
        return (type(self).__name__,)

    @property
    def count(self) -> int:
        return sum(part.values.shape[1] for part in self._parts)

    def correlations(self) -> Array:
        """The correlation of the ranks of targets and predictions per output, shape (d,)."""
        whole = self._whole()
        codes = _coded(whole.values) if self._codes is None else self._codes
        weights = np.ones(codes.shape[1]) if whole.weights is None else whole.weights
        if not weights.any():
            msg = f"Ranks need items that weigh more than 0; all {self.count} weigh nothing."
            raise NoDataError(msg)
        weights = _moderate(weights)
        true, predicted = codes.transpose(0, 2, 1)
        pairs = zip(true, predicted, strict=True)
        return np.array([_correlation(a, b, weights) for a, b in pairs])

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> _Part:
        true, predicted = as_matching(y_true, y_predicted)
        if true.ndim > 2:
            msg = (
                "Ranks are taken over items: targets and predictions need the shape (n,) or "
                f"(n, d); theirs is {true.shape}."
            )
            raise MetricInputError(msg)
        true, predicted = as_exact(true, "y_true"), as_exact(predicted, "y_predicted")
        values = np.array([true, predicted], np.float64).reshape(2, len(true), -1)
        check_width(values.shape[2], self._width, MetricInputError)
        return _Part(values, None if weight is None else as_weights(weight, len(true)))

    def add(self, part: _Part, /) -> None:
        self._parts.append(part)

    def to_dict(self) -> dict[str, Any]:
        if not self._parts:
            return {"values": np.empty((2, 0, 0)), "weights": None}
        values, weights = self._whole()
        return {
            "values": values.copy(),
            "weights": None if weights is None else weights.copy(),
        }

    def parsed(self, data: Mapping[str, Any], /) -> _Part | None:
        values, weights = np.array(entry(data, "values"), np.float64), entry(data, "weights")
        if not values.size:
            return None
        check_width(values.shape[2], self._width, MetricStateError)
        return _Part(values, None if weights is None else np.array(weights, np.float64))

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        part = self.measured(y_true, y_predicted, weight)
        items = part.values.shape[1]
        return Kinds(np.arange(items), items, self._drawer(part))

    def own_kinds(self) -> tuple[NDArray[np.int64], Draw] | None:
        return np.ones(self.count, np.int64), self._drawer(self._whole())

    def _drawer(self, part: _Part) -> Draw:
        codes = _coded(part.values)

        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            for row in times:
                weights = row.astype(np.float64)
                drawn = copy.copy(self)
                own = weights if part.weights is None else weights * part.weights
                drawn._parts, drawn._codes = [_Part(part.values, own)], codes
                yield drawn

        return draw

    def _whole(self) -> _Part:
        if len(self._parts) > 1:
            weights = None
            if any(part.weights is not None for part in self._parts):
                weights = np.concatenate([_weights(part) for part in self._parts])
            values = np.concatenate([part.values for part in self._parts], axis=1)
            self._parts = [_Part(values, weights)]
        return self._parts[0]

    @property
    def _width(self) -> int | None:
        return self._parts[0].values.shape[2] if self._parts else None


class SpearmanCorrelationMetric(Metric[Pairs]):
    """Correlation of the ranks of targets and predictions: 'Spearman_correlation'.

    `PearsonCorrelationMetric` of the ranks, where equal values share the mean of their ranks (C.
    Spearman, The proof and measurement of association between two things, American Journal of
    Psychology 15, 1904). An item of weight w counts as w equal items. Where all targets or all
    predictions are equal it is not defined: nan. The state keeps all values.

    Args:
        y_true: Numbers of shape (n,), or (n, d) with d outputs.
        y_predicted: Numbers of the same shape.
        multioutput: ``"uniform_average"`` is the mean over the outputs, ``"raw_values"`` gives each
            output's value, by its number.
    """

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        multioutput: MultiOutput = "uniform_average",
    ) -> None:
        checked_multioutput(multioutput, ("uniform_average", "raw_values"))
        self.multioutput = multioutput
        super().__init__("Spearman_correlation", y_true, y_predicted)

    @property
    def settings(self) -> dict[str, Any]:
        return {"multioutput": self.multioutput}

    def make_state(self) -> Pairs:
        return Pairs()

    def result_of(self, state: Pairs) -> float | dict[str, float]:
        """The correlations of the ranks, averaged or by output."""
        return averaged(state.correlations(), self.multioutput)


def _weights(part: _Part) -> Array:
    return np.ones(part.values.shape[1]) if part.weights is None else part.weights


def _coded(values: Array) -> Codes:
    """Number the different values of each column, from the smallest up: shape (2, n, d)."""
    codes = np.empty(values.shape, np.intp)
    for kind in range(2):
        for output in range(values.shape[2]):
            column = values[kind, :, output]
            codes[kind, :, output] = np.unique(column, return_inverse=True)[1]
    return codes


def _moderate(weights: Array) -> Array:
    """Scale weights by a power of two where products of three of their sums would not fit."""
    largest = weights.max()
    if 1 / MODERATE < largest < MODERATE:
        return weights
    scaled: Array = np.ldexp(weights, -np.frexp(largest)[1])
    return scaled


def _correlation(true: Codes, predicted: Codes, weights: Array) -> float:
    """Pearson's correlation of mean ranks, from numbered values of shape (n,)."""
    first, second = _centred_ranks(true, weights), _centred_ranks(predicted, weights)
    if first is None or second is None:
        return float("nan")
    above, left, right = (
        np.add.reduce(a * b * weights)
        for a, b in ((first, second), (first, first), (second, second))
    )
    return float(np.clip(above / (np.sqrt(left) * np.sqrt(right)), -1.0, 1.0))


def _centred_ranks(codes: Codes, weights: Array) -> Array | None:
    """Ranks less the mean rank; None if all items that weigh something are equal.

    A value's rank is the weight below it plus half its own; the mean of these is half of all.
    """
    shares = np.bincount(codes, weights)
    if np.count_nonzero(shares) < 2:
        return None
    ends = np.cumsum(shares)
    ranks: Array = (ends - shares / 2 - ends[-1] / 2)[codes]
    return ranks
