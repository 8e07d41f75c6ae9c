"""How well predicted probabilities agree with how often they come true."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_weights, as_whole
from tt_metrics._core.labels import checked_labels
from tt_metrics._core.metric import Metric
from tt_metrics._core.state import Kinds, State, entry
from tt_metrics._core.twofloats import added, renewed
from tt_metrics._errors import MetricInputError, NoDataError
from tt_metrics._probability.inputs import ProbabilityReader
from tt_metrics._regression.losses import blocks

__all__ = ["Calibration", "CalibrationErrorMetric", "Reliability"]

Array = NDArray[np.float64]
Norm = Literal["l1", "l2", "max"]

WEIGHT, CONFIDENCE, RIGHT = range(3)  # the rows of a table of sums


class Reliability(NamedTuple):
    """What a reliability plot shows, per bin; the first two are nan where a bin is empty.

    Attributes:
        confidence: Mean confidence, shape (num_bins,).
        right: Share of items that came true, shape (num_bins,).
        items: Number of items, shape (num_bins,).
    """

    confidence: Array
    right: Array
    items: NDArray[np.int64]


class _Part(NamedTuple):
    counts: NDArray[np.int64]  # shape (bins,)
    sums: Array  # two floats, shape (2, 3, bins)


class Calibration(State):
    """Per bin of confidence: the number of items, and sums of confidences and of right ones.

    Bins are of equal width. The upper end belongs to a bin, as in C. Guo, G. Pleiss, Y. Sun and K.
    Q. Weinberger (On calibration of modern neural networks, ICML 2017) and in scikit-learn's
    `calibration_curve`; 0 belongs to the first.

    With probabilities of shape (n,) the confidence is that of the second label, and right items are
    those with this label. With probabilities of shape (n, K) the confidence is the largest of a
    row, and right items are those whose label it belongs to.

    Args:
        num_bins: How many bins there are.
        labels: All labels, in the order of the columns; left out, 0, 1, 2, ...
    """

    def __init__(self, num_bins: int = 15, *, labels: Sequence[Any] | None = None) -> None:
        num_bins = as_whole(num_bins, "num_bins", 1)
        self._reader = ProbabilityReader(labels)
        self._inner_edges = np.linspace(0.0, 1.0, num_bins + 1)[1:-1]
        self._counts = np.zeros(num_bins, np.int64)
        self._sums = np.zeros((2, 3, num_bins))

    @property
    def key(self) -> tuple[Hashable, ...]:
        return type(self).__name__, len(self._counts), *self._reader.key

    @property
    def count(self) -> int:
        return int(self._counts.sum())

    @property
    def shares(self) -> Array:
        """The share of all weight that is in each bin, shape (num_bins,)."""
        weights = self._sums[:, WEIGHT].sum(axis=0)
        total = weights.sum()
        if not total:
            msg = f"Shares need items that weigh more than 0; all {self.count} weigh nothing."
            raise NoDataError(msg)
        return np.asarray(weights / total)

    @property
    def gaps(self) -> Array:
        """How far mean confidence and share of right ones are apart, shape (num_bins,)."""
        difference = self._sums[:, CONFIDENCE] - self._sums[:, RIGHT]
        return np.abs(self._per_weight(difference.sum(axis=0), empty=0.0))

    def reliability(self) -> Reliability:
        """What a reliability plot shows."""
        _, confidence, right = self._sums.sum(axis=0)
        return Reliability(
            self._per_weight(confidence, empty=np.nan),
            self._per_weight(right, empty=np.nan),
            self._counts.copy(),
        )

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> _Part:
        confidence, right = self._judged(y_true, y_predicted)
        weights = None if weight is None else as_weights(weight, len(right))
        size = len(self._counts)
        counts, sums = np.zeros(size, np.int64), np.zeros((2, 3, size))
        for part in blocks(1, len(right)):
            bins = self._bins(confidence[part])
            share = None if weights is None else weights[part]
            counts += np.bincount(bins, minlength=size)
            sums = added(sums, _binned(bins, confidence[part], right[part], share, size))
        return _Part(counts, sums)

    def add(self, part: _Part, /) -> None:
        self._counts = self._counts + part.counts
        self._sums = added(self._sums, part.sums)

    def to_dict(self) -> dict[str, Any]:
        return {"counts": self._counts.copy(), "sums": self._sums.copy()}

    def parsed(self, data: Mapping[str, Any], /) -> _Part:
        counts, sums = np.array(entry(data, "counts"), np.int64), entry(data, "sums")
        return _Part(counts, np.array(sums, np.float64))

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        confidence, right = self._judged(y_true, y_predicted)
        items, size = len(right), len(self._counts)
        weights = np.ones(items) if weight is None else as_weights(weight, items)
        bins = self._bins(confidence)
        columns = [weights, weights * confidence, weights * right]

        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            for row in times:
                sums = np.array([np.bincount(bins, row * column, size) for column in columns])
                drawn = copy.copy(self)
                drawn._counts = np.bincount(bins, row, size).astype(np.int64)
                drawn._sums = renewed(sums)
                yield drawn

        return Kinds(np.arange(items), items, draw)

    def _judged(self, y_true: Any, y_predicted: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The confidence of each item, and whether it was right: shape (n,) each."""
        true, predicted = self._reader.read(y_true, y_predicted)
        if predicted.ndim == 1:
            return predicted, true == 1
        return predicted.max(axis=1), predicted.argmax(axis=1) == true

    def _bins(self, confidence: NDArray[Any]) -> NDArray[np.intp]:
        return np.searchsorted(self._inner_edges, confidence.astype(np.float64))

    def _per_weight(self, sums: Array, *, empty: float) -> Array:
        weights = self._sums[:, WEIGHT].sum(axis=0)
        means = np.full(len(weights), empty)
        np.divide(sums, weights, out=means, where=weights > 0)
        return means


class CalibrationErrorMetric(Metric[Calibration]):
    """Distance of confidence and share of right ones, in bins of confidence: 'Calibration_error'.

    With n_b of n items in bin b (weights, where they came) and gap_b the distance of its mean
    confidence and its share of right items, it is the expected calibration error ``sum_b n_b / n
    gap_b`` for ``"l1"``, the maximum calibration error ``max_b gap_b`` for ``"max"`` (M. P. Naeini,
    G. F. Cooper and M. Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning,
    AAAI 2015), and ``sqrt(sum_b n_b / n gap_b^2)`` for ``"l2"``. See `Calibration` for the bins.

    Args:
        y_true: Labels of shape (n,).
        y_predicted: Probabilities of the second of two labels, shape (n,), or of all classes, shape
            (n, K), in rows that sum to 1: then the largest of a row is the confidence. For the
            same with two classes, pass both columns.
        num_bins: Into how many bins of equal width [0, 1] is cut.
        norm: How the gaps are put together.
        labels: All labels, in the order of the columns; left out, 0, 1, 2, ...
    """

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        num_bins: int = 15,
        norm: Norm = "l1",
        labels: Sequence[Any] | None = None,
    ) -> None:
        if norm not in get_args(Norm):
            msg = f"norm must be one of {', '.join(get_args(Norm))}; it is {norm!r}."
            raise MetricInputError(msg)
        self.num_bins = as_whole(num_bins, "num_bins", 1)
        self.norm = norm
        self.labels = None if labels is None else list(checked_labels(labels))
        super().__init__("Calibration_error", y_true, y_predicted)

    @property
    def settings(self) -> dict[str, Any]:
        return {"num_bins": self.num_bins, "norm": self.norm, "labels": self.labels}

    def make_state(self) -> Calibration:
        return Calibration(self.num_bins, labels=self.labels)

    def result_of(self, state: Calibration) -> float:
        """The gaps of the bins, put together."""
        shares, gaps = state.shares, state.gaps
        if self.norm == "max":
            return float(gaps.max())
        if self.norm == "l2":
            return float(np.sqrt((shares * gaps * gaps).sum()))
        return float((shares * gaps).sum())


def _binned(
    bins: NDArray[np.intp],
    confidence: NDArray[Any],
    right: NDArray[np.bool_],
    weights: Array | None,
    size: int,
) -> Array:
    """Sums of weights, of weighted confidences and of right items, as two floats (2, 3, size)."""
    if weights is None:
        counts = np.bincount(bins, minlength=size), np.bincount(bins[right], minlength=size)
        weight, hits = (renewed(count.astype(np.float64)) for count in counts)
        return np.stack([weight, _sums(bins, confidence.astype(np.float64), size), hits], axis=1)
    columns = weights, weights * confidence, weights * right
    return np.stack([_sums(bins, column, size) for column in columns], axis=1)


def _sums(bins: NDArray[np.intp], terms: Array, size: int) -> Array:
    """Sums per bin as two floats, shape (2, size): in any order of the items the same.

    Terms are cut in two as `few_summed` does, so that the sums of the upper parts are exact.
    """
    unit = np.ldexp(1.0, np.frexp(terms.max())[1] + len(terms).bit_length())
    upper = (terms + unit) - unit
    high, low = (np.bincount(bins, part, size) for part in (upper, terms - upper))
    return renewed(high.astype(np.float64), low.astype(np.float64))
