"""How well predictions follow the targets: R2, explained variance, Pearson's correlation."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.metric import Metric
from tt_metrics._regression.moments import ERROR, JOINT, PREDICTED, TRUE, Moments
from tt_metrics._regression.outputs import MultiOutput, averaged, checked_multioutput

__all__ = ["ExplainedVarianceMetric", "PearsonCorrelationMetric", "R2ScoreMetric"]

Array = NDArray[np.float64]


class _MomentsMetric(Metric[Moments]):
    """A metric of second moments."""

    result_name: ClassVar[str]
    averages: ClassVar[tuple[MultiOutput, ...]] = (
        "uniform_average",
        "raw_values",
        "variance_weighted",
    )

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        multioutput: MultiOutput = "uniform_average",
    ) -> None:
        checked_multioutput(multioutput, self.averages)
        self.multioutput = multioutput
        super().__init__(self.result_name, y_true, y_predicted)

    @property
    def settings(self) -> dict[str, Any]:
        return {"multioutput": self.multioutput}


class _VarianceMetric(_MomentsMetric):
    """One that needs no moments of the predictions."""

    def make_state(self) -> Moments:
        return Moments(joint=False)

    def served_by(self) -> tuple[Hashable, ...]:
        """The state of a correlation."""
        return Moments(joint=True).key


class R2ScoreMetric(_VarianceMetric):
    """Coefficient of determination: 'R2_score'.

    ``1 - sum w (y - p)^2 / sum w (y - mean y)^2``: 1 for right predictions, 0 for those that are as
    good as the mean, and below 0 for worse ones (N. R. Draper and H. Smith, Applied Regression
    Analysis, 3rd edition, 1998). Targets that are all equal have no variance to explain: the result
    is then 1 if every prediction is right and 0 otherwise, as in scikit-learn. Of one item it is
    nan.

    Args:
        y_true: Numbers of shape (n,), or (n, d) with d outputs.
        y_predicted: Numbers of the same shape.
        multioutput: ``"uniform_average"`` is the mean over the outputs, ``"variance_weighted"``
            that mean with the targets' variances as weights, ``"raw_values"`` gives each output's
            value, by its number.
    """

    result_name = "R2_score"

    def result_of(self, state: Moments) -> float | dict[str, float]:
        """One less the share of the variance that is left."""
        variance = state.spread(TRUE)
        scores = _explained(state.squared_error, variance)
        if state.count < 2:
            scores = np.full_like(scores, np.nan)
        return averaged(scores, self.multioutput, variance)


class ExplainedVarianceMetric(_VarianceMetric):
    """Share of the targets' variance that is explained, `R2` but for a bias: 'Explained_variance'.

    ``1 - var(y - p) / var(y)``: the R2 (N. R. Draper and H. Smith, Applied Regression Analysis, 3rd
    edition, 1998) that the predictions have once their mean error is taken off. Targets that are
    all equal: 1 if the errors are all equal too, and 0 otherwise, as in scikit-learn.

    Args:
        y_true: Numbers of shape (n,), or (n, d) with d outputs.
        y_predicted: Numbers of the same shape.
        multioutput: ``"uniform_average"`` is the mean over the outputs, ``"variance_weighted"``
            that mean with the targets' variances as weights, ``"raw_values"`` gives each output's
            value, by its number.
    """

    result_name = "Explained_variance"

    def result_of(self, state: Moments) -> float | dict[str, float]:
        """One less the share of the variance that is left."""
        variance, error = state.spread(TRUE), state.squares[ERROR]
        return averaged(_explained(error, variance), self.multioutput, variance)


class PearsonCorrelationMetric(_MomentsMetric):
    """Linear correlation of targets and predictions: 'Pearson_correlation'.

    ``cov(y, p) / sqrt(var(y) var(p))``, in [-1, 1] (K. Pearson, Notes on regression and inheritance
    in the case of two parents, 1895). Where all targets or all predictions are equal it is not
    defined: nan.

    Args:
        y_true: Numbers of shape (n,), or (n, d) with d outputs.
        y_predicted: Numbers of the same shape.
        multioutput: ``"uniform_average"`` is the mean over the outputs, ``"raw_values"`` gives each
            output's value, by its number.
    """

    result_name = "Pearson_correlation"
    averages = ("uniform_average", "raw_values")

    def make_state(self) -> Moments:
        return Moments(joint=True)

    def result_of(self, state: Moments) -> float | dict[str, float]:
        """Covariance over the product of the standard deviations."""
        true, predicted, joint = state.spread(TRUE), state.spread(PREDICTED), state.squares[JOINT]
        below = np.sqrt(true) * np.sqrt(predicted)
        values = np.divide(joint, below, out=np.full_like(below, np.nan), where=below > 0)
        return averaged(values.clip(-1.0, 1.0), self.multioutput)


def _explained(left: Array, variance: Array) -> Array:
    scores: Array = np.where(left > 0, 0.0, 1.0)
    shares = np.divide(left, variance, out=1 - scores, where=(variance > 0) & (left > 0))
    return 1 - shares
