"""Result packages made of metrics; they can be filled batch by batch and merged."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from tt_metrics._classification import AccuracyMetric
from tt_metrics._errors import MetricInputError, MetricStateError, MetricTypeError
from tt_metrics._metric import Metric, flattened
from tt_metrics._package import AbstractResultPackage
from tt_metrics._regression import MeanAbsoluteErrorMetric, MeanSquaredErrorMetric
from tt_metrics._state import State, entry
from tt_metrics._value import joined

__all__ = [
    "ClassificationResultPackage",
    "GeneralResultPackage",
    "RegressionResultPackage",
]


class GeneralResultPackage(AbstractResultPackage):
    """The results of several metrics.

    It is filled with whole predictions (`prepare_result_package`) or batch by batch (`update`), and
    keeps only states. Metrics that need the same state share it: accuracy, precision, recall and F1
    cost one confusion matrix.

    Args:
        metrics_list: Metric classes, or instances where a metric has settings. The instances'
            own data is neither used nor touched.
        strict_content_check: Raise on doubtful content instead of warning.
        pkg_name: What the package is called where several are reported.
    """

    def __init__(
        self,
        metrics_list: Iterable[type[Metric[Any]] | Metric[Any]],
        strict_content_check: bool = False,
        *,
        pkg_name: str = "GeneralResult",
    ) -> None:
        super().__init__(pkg_name, strict_content_check, np_array=False)
        self.metrics_list = list(metrics_list)
        self.qa_check_metrics_list()
        self._metrics = [_template(metric) for metric in self.metrics_list]
        self._states = self._fresh_states()

    def qa_check_metrics_list(self) -> None:
        """Check that there are metrics, and that targets and predictions are what they take."""
        if not self.metrics_list:
            msg = "A result package needs at least one metric; metrics_list is empty."
            raise MetricInputError(msg)
        for metric in self.metrics_list:
            kind = metric if isinstance(metric, type) else type(metric)
            if not issubclass(kind, Metric):
                msg = f"metrics_list must hold metric classes or instances; {metric!r} came."
                raise MetricTypeError(msg)
            if not kind.takes_predictions:
                msg = (
                    f"A result package hands out targets and predictions; {kind.__name__} takes "
                    "something else. Fill it yourself and join its results with `+`."
                )
                raise MetricTypeError(msg)

    def prepare_results_dict(self) -> dict[str, Any]:
        """The results of all metrics by name."""
        return joined(*(metric.results_of(self._states[_key(metric)]) for metric in self._metrics))

    def prepare_result_package(
        self, y_true: Any, y_predicted: Any, hyperparameters: Any = None, **kwargs: Any
    ) -> None:
        """Take targets and predictions, in place of all that came before, and compute."""
        self.reset()
        self.update(y_true, y_predicted)
        super().prepare_result_package(y_true, y_predicted, hyperparameters, **kwargs)

    def get_results(self) -> dict[str, Any]:
        """The results by name, of all data so far."""
        if self.results_dict is None:
            self.results_dict = self._checked(self.prepare_results_dict())
        return self.results_dict

    def compute(self) -> dict[str, float]:
        """The numbers by name, flat."""
        return flattened(self.get_results())

    def reset(self) -> None:
        """Forget all data and results."""
        self._states = self._fresh_states()
        self.results_dict = None

    def update(self, y_true: Any, y_predicted: Any, /) -> None:
        """Take in one batch; one that raises leaves the package as it was."""
        batch = self._fresh_states()
        for state in batch.values():
            state.update(y_true, y_predicted)
        for key, state in batch.items():  # nothing can go wrong for one and not for another here
            self._states[key].merge(state.to_dict())
        self.results_dict = None

    @property
    def state(self) -> dict[str, Any]:
        """The state as a plain dict of arrays and numbers; a copy."""
        return {
            "package": type(self).__name__,
            "keys": list(self._states),
            "data": [state.to_dict() for state in self._states.values()],
        }

    def merge(self, state: Mapping[str, Any], /) -> None:
        """Take in the `state` of a package with the same metrics, made anywhere."""
        keys = [tuple(key) for key in entry(state, "keys")]
        if keys != list(self._states):
            msg = (
                "States must be of packages with the same metrics to be merged; "
                f"{keys} came for {list(self._states)}."
            )
            raise MetricStateError(msg)
        for own, data in zip(self._states.values(), entry(state, "data"), strict=True):
            own.merge(data)
        self.results_dict = None

    def _fresh_states(self) -> dict[tuple[Any, ...], State]:
        states = (metric.make_state() for metric in self._metrics)
        return {state.key: state for state in states}


def _template(metric: type[Metric[Any]] | Metric[Any]) -> Metric[Any]:
    return metric.template() if isinstance(metric, type) else copy.copy(metric)


def _key(metric: Metric[State]) -> tuple[Any, ...]:
    return metric.make_state().key


class ClassificationResultPackage(GeneralResultPackage):
    """The accuracy of class labels: 'ClassificationResult'.

    Args:
        strict_content_check: Raise on doubtful content instead of warning.
    """

    def __init__(self, strict_content_check: bool = False) -> None:
        super().__init__([AccuracyMetric], strict_content_check, pkg_name="ClassificationResult")


class RegressionResultPackage(GeneralResultPackage):
    """Mean squared and mean absolute error of real numbers: 'RegressionResult'.

    Args:
        strict_content_check: Raise on doubtful content instead of warning.
    """

    def __init__(self, strict_content_check: bool = False) -> None:
        metrics = [MeanSquaredErrorMetric, MeanAbsoluteErrorMetric]
        super().__init__(metrics, strict_content_check, pkg_name="RegressionResult")
