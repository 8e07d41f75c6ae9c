"""From what users pass to checked targets and scores to rank by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_array, as_numbers, matched, require
from tt_metrics._core.labels import LabelReader
from tt_metrics._errors import MetricInputError

__all__ = ["Ranked", "ScoreReader", "as_exact", "as_float64", "require_finite"]

Array = NDArray[Any]

EXACT = 1 << 53  # whole numbers up to here are float64s


class Ranked(NamedTuple):
    """Targets and scores of n items.

    Attributes:
        targets: Shape (n,): true for the second of two classes; or class numbers. Shape (n, K),
            true where an item has a label.
        scores: Shape (n,) for two classes, else (n, K); float16, float32 or float64.
    """

    targets: Array
    scores: Array


class ScoreReader:
    """The one place where it is decided what is ranked, and by what.

    Args:
        multilabel: An item may have any number of the labels.
        labels: The labels in the order of the columns of scores; of two, the second is positive.
            Left out, they are 0, 1, 2, ...
    """

    def __init__(self, *, multilabel: bool = False, labels: Sequence[Any] | None = None) -> None:
        self.multilabel = multilabel
        self._reader = LabelReader(labels=labels)
        if self.labels is not None and len(self.labels) < 2:
            msg = f"A ranking needs at least two labels; {labels!r} came."
            raise MetricInputError(msg)

    @property
    def labels(self) -> tuple[Any, ...] | None:
        """The labels, where they were given."""
        return self._reader.labels

    def read(self, y_true: Any, y_predicted: Any) -> Ranked:
        """Give targets and scores; scores are finite, which `require_finite` makes sure of."""
        raw, scores = as_array(y_true, "y_true"), _as_scores(y_predicted)
        if self.multilabel:
            return Ranked(self._indicators(raw, scores), scores)
        raw, scores = matched(raw, scores)
        if scores.ndim == 2 and scores.shape[1] == 2:
            require_finite(scores)
            scores = scores[:, 1]
        if raw.ndim != 1 or scores.ndim > 2:
            msg = (
                "y_true must be class labels of shape (n,) and y_predicted scores of shape (n,) or "
                f"(n, K); their shapes are {raw.shape} and {np.shape(y_predicted)}. "
                "For several labels per item say multilabel=True."
            )
            raise MetricInputError(msg)
        self._check_columns(2 if scores.ndim == 1 else scores.shape[1])
        return Ranked(self._codes(raw, scores), scores)

    def _codes(self, raw: Array, scores: Array) -> Array:
        """Class numbers, or for two classes whether it is the second."""
        if self.labels is not None:
            codes = self._reader.codes(raw)
        else:
            codes = as_numbers(_numeric(raw), "y_true")
            size = 2 if scores.ndim == 1 else scores.shape[1]
            if codes.dtype.kind != "b":
                _require_below(codes, size)
        return codes.astype(np.bool_ if scores.ndim == 1 else np.int32)

    def _indicators(self, raw: Array, scores: Array) -> Array:
        if raw.shape != scores.shape or raw.ndim != 2:
            msg = (
                "multilabel=True needs y_true and y_predicted of one shape (n, K); their shapes "
                f"are {raw.shape} and {scores.shape}."
            )
            raise MetricInputError(msg)
        self._check_columns(raw.shape[1])
        targets = as_numbers(raw, "y_true")
        require((targets == 0) | (targets == 1), targets, "y_true", "must be 0 or 1")
        return targets.astype(np.bool_)

    def _check_columns(self, columns: int) -> None:
        if self.labels is not None and len(self.labels) != columns:
            msg = (
                f"Scores of {columns} classes came for the {len(self.labels)} labels {self.labels}."
            )
            raise MetricInputError(msg)


def require_finite(scores: Array) -> None:
    """Refuse scores that are not finite, by index."""
    require(np.isfinite(scores), scores, "y_predicted", "must be finite")


def _as_scores(values: Any) -> Array:
    """Scores as floats that hold them exactly; not yet known to be finite."""
    array = as_array(values, "y_predicted")
    if array.size == 0 or array.dtype.kind not in "biuf":
        array = as_numbers(array, "y_predicted")  # says what is wrong
    return as_exact(array, "y_predicted")


def as_exact(array: Array, name: str) -> Array:
    """Give real numbers as floats of at most 8 bytes, whose order is that of the numbers.

    Raises:
        MetricInputError: A whole number is too large for float64 to tell it from the next one; or
            a float of more bytes is too large for float64.
    """
    if array.dtype.kind == "f":
        return as_float64(array, name) if array.dtype.itemsize > 8 else array
    if array.dtype.itemsize == 8:
        small = (array >= -EXACT) & (array <= EXACT)
        require(small, array, name, "as whole numbers must be at most 2**53 in size")
    return array.astype(np.result_type(array.dtype, np.float16))


def as_float64(array: Array, name: str) -> Array:
    """Give real numbers as float64, and refuse those of longer floats that would be infinite."""
    with np.errstate(over="ignore"):  # refused below
        floats = array.astype(np.float64)
    if array.dtype.itemsize > 8:
        fits = np.isfinite(floats) | ~np.isfinite(array)
        require(fits, array, name, "must be at most 1.8e308 (float64) in size")
    return floats


def _numeric(raw: Array) -> Array:
    if raw.dtype.kind == "U":
        msg = "y_true holds texts: give `labels`, in the order of the columns of scores."
        raise MetricInputError(msg)
    return raw


def _require_below(codes: Array, size: int) -> None:
    rule = (
        "must be 0 or 1 where there is one score per item (or give `labels`)"
        if size == 2
        else f"must be labels from 0 to {size - 1}, one per column of scores (or give `labels`)"
    )
    if codes.min() < 0 or codes.max() >= size:
        require((codes >= 0) & (codes < size), codes, "y_true", rule)
    if codes.dtype.kind == "f":
        require(codes == np.floor(codes), codes, "y_true", rule)
