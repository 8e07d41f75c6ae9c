"""Metrics that are means of the errors of real numbers."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import require
from tt_metrics._core.metric import Metric
from tt_metrics._regression.losses import Losses
from tt_metrics._regression.outputs import (
    MultiOutput,
    Reading,
    averaged,
    checked_multioutput,
    read_outputs,
)

__all__ = [
    "ErrorSums",
    "MeanAbsoluteErrorMetric",
    "MeanAbsolutePercentageErrorMetric",
    "MeanLossMetric",
    "MeanSquaredErrorMetric",
    "RootMeanSquaredErrorMetric",
    "errors",
]

Array = NDArray[np.float64]
L = TypeVar("L", bound=Losses)


def errors(true: NDArray[Any], predicted: NDArray[Any]) -> Array:
    """Predictions less targets; in float64, where unsigned integers do not wrap around."""
    error = predicted.astype(np.float64, order="C")
    error -= true if true.dtype == np.float64 else true.astype(np.float64)
    return error


class ErrorSums(Losses):
    """Sums of squared and of absolute errors, in float64 whatever comes in."""

    names: ClassVar[tuple[str, ...]] = ("squared", "absolute")

    def losses(self, true: NDArray[Any], predicted: NDArray[Any]) -> tuple[Array, ...]:
        error = errors(true, predicted)
        return error * error, np.abs(error, out=error)


class AbsoluteErrorSums(ErrorSums):
    """Sum of absolute errors only, which float64 holds where squares would be too large."""

    names = ("absolute",)

    def losses(self, true: NDArray[Any], predicted: NDArray[Any]) -> tuple[Array, ...]:
        error = errors(true, predicted)
        return (np.abs(error, out=error),)


class RelativeErrorSums(Losses):
    """Sum of the absolute errors as shares of the targets."""

    names = ("relative",)

    def read(self, y_true: Any, y_predicted: Any) -> Reading:
        reading = read_outputs(y_true, y_predicted)
        rule = "must not be 0, of which no error is a share (leave such items out with `valid`)"
        array = reading.true.T if len(reading.true) > 1 else reading.true[0]
        require(array != 0, array, "y_true", rule)
        return reading

    def losses(self, true: NDArray[Any], predicted: NDArray[Any]) -> tuple[Array]:
        return (np.abs(errors(true, predicted) / true),)


class MeanLossMetric(Metric[L]):
    """A metric that is the mean of one loss of its state, for each output."""

    result_name: ClassVar[str]
    loss: ClassVar[str]

    def __init__(self, y_true: Any, y_predicted: Any, multioutput: MultiOutput) -> None:
        checked_multioutput(multioutput, ("uniform_average", "raw_values"))
        self.multioutput = multioutput
        super().__init__(self.result_name, y_true, y_predicted)

    @property
    def settings(self) -> dict[str, Any]:
        return {"multioutput": self.multioutput}

    def result_of(self, state: L) -> float | dict[str, float]:
        """The mean loss, averaged over the outputs or by output."""
        return averaged(state.mean(self.loss), self.multioutput)


class _ErrorMetric(MeanLossMetric[ErrorSums]):
    """A metric that needs no settings but the average.

    Args:
        y_true: Numbers of shape (n,), or (n, d) with d outputs. With more axes all numbers count
            alike, as one output.
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
        super().__init__(y_true, y_predicted, multioutput)

    def make_state(self) -> ErrorSums:
        return ErrorSums()


class MeanSquaredErrorMetric(_ErrorMetric):
    """Mean of the squared errors, ``sum w (p - y)^2 / sum w``: 'Mean_squared_error'.

    R. J. Hyndman and A. B. Koehler, Another look at measures of forecast accuracy, International
    Journal of Forecasting 22, 2006, section 2.1.

    Args:
        y_true: Numbers of shape (n,), or (n, d) with d outputs. With more axes all numbers count
            alike, as one output.
        y_predicted: Numbers of the same shape.
        multioutput: ``"uniform_average"`` is the mean over the outputs, ``"raw_values"`` gives each
            output's value, by its number.
    """

    result_name = "Mean_squared_error"
    loss = "squared"


class RootMeanSquaredErrorMetric(_ErrorMetric):
    """Root of the mean squared error, for each output: 'Root_mean_squared_error'.

    ``sqrt(sum w (p - y)^2 / sum w)`` (R. J. Hyndman and A. B. Koehler, Another look at measures of
    forecast accuracy, International Journal of Forecasting 22, 2006, section 2.1). The average over
    outputs is one of roots, as in scikit-learn, and not the root of an average.

    Args:
        y_true: Numbers of shape (n,), or (n, d) with d outputs. With more axes all numbers count
            alike, as one output.
        y_predicted: Numbers of the same shape.
        multioutput: ``"uniform_average"`` is the mean over the outputs, ``"raw_values"`` gives each
            output's value, by its number.
    """

    result_name = "Root_mean_squared_error"
    loss = "squared"

    def result_of(self, state: ErrorSums) -> float | dict[str, float]:
        """The roots of the mean squared errors, averaged or by output."""
        return averaged(np.sqrt(state.mean("squared")), self.multioutput)


class MeanAbsoluteErrorMetric(_ErrorMetric):
    """Mean of the absolute errors, ``sum w |p - y| / sum w``: 'Mean_absolute_error'.

    R. J. Hyndman and A. B. Koehler, Another look at measures of forecast accuracy, International
    Journal of Forecasting 22, 2006, section 2.1.

    Args:
        y_true: Numbers of shape (n,), or (n, d) with d outputs. With more axes all numbers count
            alike, as one output.
        y_predicted: Numbers of the same shape.
        multioutput: ``"uniform_average"`` is the mean over the outputs, ``"raw_values"`` gives each
            output's value, by its number.
    """

    result_name = "Mean_absolute_error"
    loss = "absolute"

    def make_state(self) -> AbsoluteErrorSums:
        return AbsoluteErrorSums()

    def served_by(self) -> tuple[Hashable, ...]:
        """The state of a squared error."""
        return ErrorSums().key


class MeanAbsolutePercentageErrorMetric(MeanLossMetric[RelativeErrorSums]):
    """Mean of ``|p - y| / |y|``, a share and not times 100: 'Mean_absolute_percentage_error'.

    ``sum w |p - y| / |y| / sum w`` (R. J. Hyndman and A. B. Koehler, Another look at measures of
    forecast accuracy, International Journal of Forecasting 22, 2006, section 2.2, times 100). A
    target of 0 is an error: scikit-learn divides by 2.2e-16 there, and one such item decides
    the whole result.

    Args:
        y_true: Numbers other than 0 of shape (n,), or (n, d) with d outputs.
        y_predicted: Numbers of the same shape.
        multioutput: ``"uniform_average"`` is the mean over the outputs, ``"raw_values"`` gives each
            output's value, by its number.
    """

    result_name = "Mean_absolute_percentage_error"
    loss = "relative"

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        multioutput: MultiOutput = "uniform_average",
    ) -> None:
        super().__init__(y_true, y_predicted, multioutput)

    def make_state(self) -> RelativeErrorSums:
        return RelativeErrorSums()
