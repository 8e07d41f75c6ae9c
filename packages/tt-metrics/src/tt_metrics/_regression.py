"""Metrics on real numbers, all computed from one pair of sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._errors import MetricInputError
from tt_metrics._inputs import as_pair
from tt_metrics._metric import Metric
from tt_metrics._sums import Sums

__all__ = ["ErrorSums", "MeanAbsoluteErrorMetric", "MeanSquaredErrorMetric"]


class ErrorSums(Sums):
    """Sums of squared and of absolute errors, in float64 whatever comes in."""

    names = ("squared", "absolute")

    def columns(self, y_true: Any, y_predicted: Any) -> tuple[NDArray[np.float64], ...]:
        true, predicted = as_pair(y_true, y_predicted)
        if true.shape != predicted.shape:
            msg = (
                "y_true and y_predicted must have the same shape; their shapes are "
                f"{true.shape} and {predicted.shape}."
            )
            raise MetricInputError(msg)
        error = np.subtract(predicted, true, dtype=np.float64).ravel()
        return error * error, np.abs(error)


class _ErrorMetric(Metric[ErrorSums]):
    def make_state(self) -> ErrorSums:
        """Sums of the errors."""
        return ErrorSums()


class MeanSquaredErrorMetric(_ErrorMetric):
    """Mean of the squared errors over all entries: 'Mean_squared_error'.

    Args:
        y_true: Numbers of shape (n, ...).
        y_predicted: Numbers of the same shape.
    """

    def __init__(self, y_true: Any = None, y_predicted: Any = None) -> None:
        super().__init__("Mean_squared_error", y_true, y_predicted)

    def result_of(self, state: ErrorSums) -> float:
        """Sum of squared errors over their number."""
        return state.mean("squared")


class MeanAbsoluteErrorMetric(_ErrorMetric):
    """Mean of the absolute errors over all entries: 'Mean_absolute_error'.

    Args:
        y_true: Numbers of shape (n, ...).
        y_predicted: Numbers of the same shape.
    """

    def __init__(self, y_true: Any = None, y_predicted: Any = None) -> None:
        super().__init__("Mean_absolute_error", y_true, y_predicted)

    def result_of(self, state: ErrorSums) -> float:
        """Sum of absolute errors over their number."""
        return state.mean("absolute")
