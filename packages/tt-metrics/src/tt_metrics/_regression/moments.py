"""Means, variances and covariances of targets and predictions, without loss of digits."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_matching
from tt_metrics._core.state import Kinds, State, entry
from tt_metrics._core.twofloats import added, folded, renewed
from tt_metrics._errors import MetricInputError, MetricStateError, NoDataError
from tt_metrics._regression.losses import blocks
from tt_metrics._regression.outputs import Reading, check_width, read_outputs

__all__ = ["ERROR", "JOINT", "PREDICTED", "TRUE", "Moments"]

Array = NDArray[np.float64]

TRUE, ERROR, PREDICTED, JOINT = range(4)  # the rows of means and of squares
FAR = 64.0  # times the variance: what the square of a shift may be, at a cost of two digits
RELIABLE = 1e-300  # to smaller sums of squares, what underflow takes may matter
LEAST = 5e-324  # the smallest number above 0
RESOLVED = 1e-14  # a smaller share of a sum of squares is what rounding leaves of nothing


class _Part(NamedTuple):
    items: int
    weight: Array  # two floats, shape (2,)
    means: Array  # two floats, shape (2, 2 or 3, d)
    squares: Array  # two floats, shape (2, 2 or 4, d)


class Moments(State):
    """Second moments about the mean of targets y, errors e = p - y and predictions p, per output.

    The sums of a batch are taken about numbers close to its means, so a common offset of the data
    costs no digits. Two sets of data are joined by the pairwise update of T. F. Chan, G. H.
    Golub and R. J. LeVeque (Updating formulae and a pairwise algorithm for computing sample
    variances, 1979). Means and sums are kept as two floats.

    Args:
        joint: Whether to keep those of predictions, and their products with the targets.
    """

    def __init__(self, *, joint: bool) -> None:
        self.joint = joint
        self._count = 0
        self._weight = np.zeros(2)
        self._means = np.zeros((2, 3 if joint else 2, 0))
        self._squares = np.zeros((2, 4 if joint else 2, 0))

    @property
    def key(self) -> tuple[Hashable, ...]:
        return type(self).__name__, self.joint

    @property
    def count(self) -> int:
        return self._count

    @property
    def squares(self) -> Array:
        """Sums of ``w (y - mean)^2`` per output, of the same for e and p, and of joint products.

        Shape (4, d); (2, d) where those of predictions are left out.
        """
        if not self._weight[0]:
            msg = f"A variance needs items that weigh more than 0; all {self._count} weigh nothing."
            raise NoDataError(msg)
        squares: Array = self._squares.sum(axis=0)
        return squares

    def spread(self, row: int) -> Array:
        """One row of `squares`, shape (d,), if float64 had room for it.

        Raises:
            MetricInputError: Some are so small that underflow has taken digits.
        """
        squares: Array = self.squares[row]
        if ((squares > 0) & (squares < RELIABLE)).any():
            msg = (
                "Sums of squares of values that differ must be at least 1e-300 (float64); scale "
                "the data, or their weights, up."
            )
            raise MetricInputError(msg)
        return squares

    @property
    def squared_error(self) -> Array:
        """Sum of w e^2 per output, shape (d,)."""
        bias = self._means[:, ERROR].sum(axis=0)
        total: Array = self.squares[ERROR] + self._weight.sum() * bias * bias
        return total

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> _Part:
        reading = read_outputs(y_true, y_predicted)
        check_width(len(reading.true), self._width, MetricInputError)
        weights = reading.weights(weight)
        with np.errstate(over="ignore", invalid="ignore"):  # seen in the sums
            part = self._moments(reading, weights)
            total = part.squares[0] + (self._squares[0] if self._count else 0.0)
            weight = part.weight[0] + self._weight[0]
        if not np.isfinite(weight):
            msg = "The sum of weight must stay below 1.8e308 (float64); scale the weights down."
            raise MetricInputError(msg)
        if not np.isfinite(total).all():
            as_matching(y_true, y_predicted)  # raises, if a value is not finite
            msg = "Sums of squares must stay below 1.8e308 (float64); scale the data down."
            raise MetricInputError(msg)
        self._mark_lost(part, reading, weights)
        return part

    def _mark_lost(self, part: _Part, reading: Reading, weights: Array | None) -> None:
        """Keep sums of squares that are 0 by underflow, and not as all is equal, just above 0."""
        rows = ((TRUE, reading.true), (PREDICTED, reading.predicted))
        for row, values in rows if self.joint else rows[:1]:
            zero = np.flatnonzero(part.squares[0, row] == 0)
            if len(zero) and part.weight[0]:
                chosen = values[zero] if weights is None else values[zero][:, weights > 0]
                span = chosen.max(axis=1).astype(np.float64) - chosen.min(axis=1)
                with np.errstate(over="ignore", under="ignore"):
                    lost = (span > 0) & (span * span * part.weight[0] < RELIABLE)
                part.squares[0, row, zero[lost]] = LEAST

    def add(self, part: _Part, /) -> None:
        self._count += part.items
        if not self._weight[0]:
            self._weight, self._means, self._squares = part[1:]
        elif part.weight[0]:
            weight = added(self._weight, part.weight)
            share = part.weight[0] / weight[0]
            shift = (part.means[0] - self._means[0]) + (part.means[1] - self._means[1])
            between = self._products(shift) * (self._weight[0] * share)
            squares = between[: len(shift)]
            squares[(squares == 0) & (shift != 0)] = LEAST  # it is 0 by underflow
            self._weight = weight
            self._means = added(self._means, renewed(shift * share))
            self._squares = added(added(self._squares, part.squares), renewed(between))

    def to_dict(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "weight": self._weight.copy(),
            "means": self._means.copy(),
            "squares": self._squares.copy(),
        }

    def parsed(self, data: Mapping[str, Any], /) -> _Part | None:
        names = ("weight", "means", "squares")
        arrays = (np.array(entry(data, name), np.float64) for name in names)
        part = _Part(int(entry(data, "count")), *arrays)
        if not part.items:
            return None
        check_width(part.means.shape[-1], self._width, MetricStateError)
        return part

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        centres = self.measured(y_true, y_predicted, weight).means[0]
        reading = read_outputs(y_true, y_predicted)
        weights = reading.weights(weight)
        own = np.ones(reading.entries) if weights is None else weights
        linear, products = self._terms(reading, weights, centres, slice(None))
        squares = [a * b for a, b in products]
        terms = np.array([np.broadcast_to(own, reading.true.shape), *linear, *squares])
        table = terms.reshape(-1, reading.items, reading.each).sum(axis=-1).T
        shape = terms.shape[:2]

        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            for row, sums in zip(times, times.astype(np.float64) @ table, strict=True):
                pairs = renewed(sums.reshape(shape))
                drawn = copy.copy(self)
                part = self._moved(int(row.sum()), pairs[:, 0, 0], pairs[:, 1:], centres)
                drawn._count, drawn._weight, drawn._means, drawn._squares = part
                yield drawn

        return Kinds(np.arange(reading.items), reading.items, draw)

    def _moments(self, reading: Reading, weights: Array | None) -> _Part:
        """The moments of a batch, about the means of its first block unless those are far off."""
        centres = self._centres(reading, weights)
        part = self._about(reading, weights, centres)
        means = part.means.sum(axis=0)
        variances = part.squares[0, : len(means)] / (part.weight[0] or 1.0)
        if ((means - centres) ** 2 > FAR * variances).any():
            part = self._about(reading, weights, means)
        return part

    def _centres(self, reading: Reading, weights: Array | None) -> Array:
        """The means of the numbers in a block, shape (2 or 3, d); of equal ones exactly that one.

        Differences from a first item are averaged: those of equal numbers are 0.
        """
        at = 0 if weights is None else int(np.argmax(weights > 0))
        step = blocks(len(reading.true), reading.entries)[0].stop
        block = self._numbers(reading, slice(at, at + step))
        firsts = np.array([values[:, 0] for values in block])
        rises = [values - first[:, None] for values, first in zip(block, firsts, strict=True)]
        size = float(block[0].shape[1])
        if weights is not None:
            share = weights[at : at + step]
            rises, size = [rise * share for rise in rises], share.sum() or 1.0
        return firsts + np.array([np.add.reduce(rise, axis=1) for rise in rises]) / size

    def _numbers(self, reading: Reading, part: slice) -> list[Array]:
        """Targets, errors and perhaps predictions of a block in float64: shape (d, m) each."""
        true = reading.true[:, part].astype(np.float64, order="C")
        predicted = reading.predicted[:, part].astype(np.float64, order="C")
        if self.joint:
            return [true, predicted - true, predicted]
        predicted -= true
        return [true, predicted]

    def _terms(
        self, reading: Reading, weights: Array | None, centres: Array, part: slice
    ) -> tuple[list[Array], list[tuple[Array, Array]]]:
        """What each entry adds to sums about some centres: terms, and the factors of products."""
        numbers = self._numbers(reading, part)
        for values, centre in zip(numbers, centres, strict=True):
            values -= centre[:, None]
        weighted = numbers
        if weights is not None:
            weighted = [values * weights[part] for values in numbers]
        products = list(zip(weighted, numbers, strict=True))
        if self.joint:
            products.append((weighted[TRUE], numbers[PREDICTED]))
        return weighted, products

    def _about(self, reading: Reading, weights: Array | None, centres: Array) -> _Part:
        sums, sizes = [], []
        for part in blocks(len(reading.true), reading.entries):
            terms, products = self._terms(reading, weights, centres, part)
            linear = [np.add.reduce(values, axis=1) for values in terms]
            sums.append(np.array([*linear, *(np.einsum("dm,dm->d", a, b) for a, b in products)]))
            sizes.append(np.array(terms[0].shape[1] if weights is None else weights[part].sum()))
        return self._moved(reading.items, folded(sizes), folded(sums), centres)

    def _moved(self, items: int, weight: Array, sums: Array, centres: Array) -> _Part:
        """Move sums about some centres, as two floats of shape (2, 4 or 7, d), to the means."""
        number = len(centres)
        linear, raw = sums[:, :number], sums[:, number:]
        if not weight[0]:
            return _Part(items, weight, renewed(centres), np.zeros_like(raw))
        shift = linear.sum(axis=0) / weight[0]
        squares = added(raw, renewed(-weight[0] * self._products(shift)))
        squares[:, :number] *= squares[0, :number] > RESOLVED * raw[0, :number]
        return _Part(items, weight, renewed(centres, shift), squares)

    def _products(self, shift: Array) -> Array:
        """Squares of the means' shifts, and the product that goes with them."""
        squares = shift * shift
        if not self.joint:
            return squares
        return np.concatenate([squares, shift[[TRUE]] * shift[[PREDICTED]]])

    @property
    def _width(self) -> int | None:
        return self._means.shape[-1] if self._count else None
