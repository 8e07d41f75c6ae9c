"""Targets and predictions of one or several numbers per item, and averages over those numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_array, as_matching, as_weights
from tt_metrics._errors import MetricError, MetricInputError

__all__ = [
    "MultiOutput",
    "Reading",
    "averaged",
    "check_width",
    "checked_multioutput",
    "read_outputs",
]

MultiOutput = Literal["uniform_average", "raw_values", "variance_weighted"]


class Reading(NamedTuple):
    """A batch as rows of numbers: one column per entry.

    Attributes:
        true: Shape (d, m).
        predicted: Shape (d, m), or (K, m) where it says more than the target does.
        items: n, the number of items.
    """

    true: NDArray[Any]
    predicted: NDArray[Any]
    items: int

    @property
    def entries(self) -> int:
        """m: the number of items, or of all their numbers where items are arrays."""
        return int(self.predicted.shape[1])

    @property
    def each(self) -> int:
        """How many entries belong to an item."""
        return self.entries // self.items

    @property
    def is_finite(self) -> bool:
        """Whether there is no NaN and no infinity."""
        return bool(np.isfinite(self.true).all() and np.isfinite(self.predicted).all())

    def weights(self, weight: Any) -> NDArray[np.float64] | None:
        """Weights of the items, as one per entry: shape (m,)."""
        if weight is None:
            return None
        weights = as_weights(weight, self.items)
        return weights if self.each == 1 else np.repeat(weights, self.each)


def read_outputs(y_true: Any, y_predicted: Any) -> Reading:
    """Read numbers of shape (n,), or (n, d) with d outputs.

    With more axes all numbers of an item are entries of one output. Whether floats are finite is
    left to the caller, who sees it in the sums.
    """
    true, predicted = as_array(y_true, "y_true"), as_array(y_predicted, "y_predicted")
    if not _plain(true, predicted):
        true, predicted = as_matching(true, predicted)  # brings them to one shape, or says why not
    if true.ndim == 2:
        return Reading(true.T, predicted.T, len(true))
    return Reading(true.reshape(1, -1), predicted.reshape(1, -1), len(true))


def _plain(true: NDArray[Any], predicted: NDArray[Any]) -> bool:
    numbers = {true.dtype.kind, predicted.dtype.kind} <= {*"biuf"}
    items = true.ndim > 0 and true.size > 0 and true.shape[-1:] != (1,)
    return numbers and items and true.shape == predicted.shape


def check_width(width: int, known: int | None, error: type[MetricError]) -> None:
    """Refuse a batch or a state of another number of outputs than those before."""
    if known not in (None, width):
        msg = f"All batches need the same number of outputs (columns); {width} came after {known}."
        raise error(msg)


def checked_multioutput(value: str, allowed: Sequence[MultiOutput]) -> None:
    """Refuse an unknown average."""
    if value not in allowed:
        msg = f"multioutput must be one of {', '.join(allowed)}; it is {value!r}."
        raise MetricInputError(msg)


def averaged(
    values: NDArray[np.float64],
    multioutput: MultiOutput,
    weights: NDArray[np.float64] | None = None,
) -> float | dict[str, float]:
    """Give the values of d outputs, shape (d,), as one number or as numbers by output."""
    if multioutput == "raw_values":
        return {str(output): value for output, value in enumerate(values.tolist())}
    if multioutput == "variance_weighted" and weights is not None and weights.any():
        return float(np.average(values, weights=weights))
    return float(values[0] if len(values) == 1 else values.mean())
