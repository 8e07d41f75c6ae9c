"""Means of losses with a shape to choose: Huber's and that of a quantile."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import is_number
from tt_metrics._errors import MetricInputError
from tt_metrics._regression.errors import MeanLossMetric, errors
from tt_metrics._regression.losses import Losses
from tt_metrics._regression.outputs import MultiOutput

__all__ = ["HuberLossMetric", "QuantileLossMetric"]

Array = NDArray[np.float64]


class HuberSums(Losses):
    """Sum of Huber's losses.

    Args:
        delta: Up to which error the loss is quadratic.
    """

    names = ("huber",)

    def __init__(self, delta: float) -> None:
        super().__init__()
        self.delta = delta

    @property
    def key(self) -> tuple[Hashable, ...]:
        return *super().key, self.delta

    def losses(self, true: NDArray[Any], predicted: NDArray[Any]) -> tuple[Array]:
        size = np.abs(errors(true, predicted))
        inner = np.minimum(size, self.delta)
        return (inner * (size - inner / 2),)


class HuberLossMetric(MeanLossMetric[HuberSums]):
    """Mean of a loss that is quadratic for small errors and linear for large ones: 'Huber_loss'.

    With e = p - y it is ``e^2 / 2`` where ``|e| <= delta``, and ``delta (|e| - delta / 2)`` beyond
    (P. J. Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35,
    1964).

    Args:
        y_true: Numbers of shape (n,), or (n, d) with d outputs.
        y_predicted: Numbers of the same shape.
        delta: Up to which error the loss is quadratic; above 0.
        multioutput: ``"uniform_average"`` is the mean over the outputs, ``"raw_values"`` gives each
            output's value, by its number.
    """

    result_name = "Huber_loss"
    loss = "huber"

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        delta: float = 1.0,
        multioutput: MultiOutput = "uniform_average",
    ) -> None:
        if not (is_number(delta) and 0 < delta < np.inf):
            msg = f"delta must be a finite number above 0; it is {delta!r}."
            raise MetricInputError(msg)
        self.delta = float(delta)
        super().__init__(y_true, y_predicted, multioutput)

    @property
    def settings(self) -> dict[str, Any]:
        return {"delta": self.delta, **super().settings}

    def make_state(self) -> HuberSums:
        return HuberSums(self.delta)


class QuantileSums(Losses):
    """Sum of the losses that a quantile of the targets makes smallest.

    Args:
        quantile: Which quantile.
    """

    names = ("quantile",)

    def __init__(self, quantile: float) -> None:
        super().__init__()
        self.quantile = quantile

    @property
    def key(self) -> tuple[Hashable, ...]:
        return *super().key, self.quantile

    def losses(self, true: NDArray[Any], predicted: NDArray[Any]) -> tuple[Array]:
        error = errors(true, predicted)
        return (np.maximum((1 - self.quantile) * error, -self.quantile * error),)


class QuantileLossMetric(MeanLossMetric[QuantileSums]):
    """Mean of the loss of a predicted quantile, or pinball loss: 'Quantile_loss'.

    With q for the quantile it is ``q (y - p)`` where the target is larger than the prediction and
    ``(1 - q) (p - y)`` elsewhere; at q = 0.5, half the absolute error (R. Koenker and G. Bassett,
    Regression quantiles, Econometrica 46, 1978).

    Args:
        y_true: Numbers of shape (n,), or (n, d) with d outputs.
        y_predicted: Numbers of the same shape.
        quantile: Which quantile is predicted, in (0, 1).
        multioutput: ``"uniform_average"`` is the mean over the outputs, ``"raw_values"`` gives each
            output's value, by its number.
    """

    result_name = "Quantile_loss"
    loss = "quantile"

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        quantile: float = 0.5,
        multioutput: MultiOutput = "uniform_average",
    ) -> None:
        if not (is_number(quantile) and 0 < quantile < 1):
            msg = f"quantile must be a number between 0 and 1; it is {quantile!r}."
            raise MetricInputError(msg)
        self.quantile = float(quantile)
        super().__init__(y_true, y_predicted, multioutput)

    @property
    def settings(self) -> dict[str, Any]:
        return {"quantile": self.quantile, **super().settings}

    def make_state(self) -> QuantileSums:
        return QuantileSums(self.quantile)
