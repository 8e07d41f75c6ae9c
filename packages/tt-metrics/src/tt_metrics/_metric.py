"""The base of all metrics: a pure function of a small mergeable state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar

from tt_metrics._errors import MetricInputError, MetricStateError, NoDataError
from tt_metrics._state import State, entry
from tt_metrics._value import MetricValue, Results

__all__ = ["Metric", "flattened"]

S = TypeVar("S", bound=State)


class Metric(MetricValue, Generic[S]):
    """A result computed from a state, which is all that is kept of the data.

    With data it is AIToolbox's one-shot form, without it is filled batch by batch; the result is
    the same. A subclass names its state and the function from state to result:

        >>> class ErrorRateMetric(Metric[Confusion]):
        ...     def __init__(self, y_true=None, y_predicted=None):
        ...         super().__init__("Error_rate", y_true, y_predicted)
        ...
        ...     def make_state(self):
        ...         return Confusion()
        ...
        ...     def result_of(self, state):
        ...         return 1 - float(state.counts.trace() / state.count)
        >>> float(ErrorRateMetric([0, 1, 1, 1], [0, 1, 1, 0]))
        0.25

    A subclass with settings sets them before it calls this constructor, and lists them in
    `settings`.

    Args:
        metric_name: Under which name the result is reported.
        y_true: Targets; with them `y_predicted` is needed too.
        y_predicted: Predictions.
    """

    takes_predictions: ClassVar[bool] = True
    """`update` takes targets and predictions, so a result package can feed it."""

    def __init__(self, metric_name: str, y_true: Any = None, y_predicted: Any = None) -> None:
        self.metric_name = metric_name
        self._state = self.make_state()
        if (y_true is None) != (y_predicted is None):
            msg = (
                "y_true and y_predicted must come together; only one did. "
                "Leave both out to fill the metric with `update`."
            )
            raise MetricInputError(msg)
        if y_true is not None:
            self.update(y_true, y_predicted)

    @abstractmethod
    def make_state(self) -> S:
        """Give an empty state with this metric's settings."""

    @abstractmethod
    def result_of(self, state: S) -> Any:
        """Compute the result from a state that has seen data; changes nothing."""

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's keyword arguments that make an equal, empty metric."""
        return {}

    @classmethod
    def template(cls) -> Metric[Any]:
        """What computes the results of this class for a result package that was given the class."""
        return cls()  # type: ignore[call-arg]  # a metric's own constructor needs no argument

    @property
    def count(self) -> int:
        """How many items it has seen."""
        return self._state.count

    def update(self, y_true: Any, y_predicted: Any, /) -> None:
        """Take in one batch; one that raises leaves the metric as it was."""
        self._state.update(y_true, y_predicted)

    def compute(self) -> dict[str, float]:
        """The numbers by name, flat: a dict as a result gives ``<metric_name>_<key>``."""
        return flattened(self.get_metric_dict())

    def get_metric_dict(self) -> Results:
        """The result under the metric's name."""
        return self.results_of(self._state)

    def results_of(self, state: S) -> Results:
        """The results by name that a state gives."""
        if not state.count:
            msg = f"{self.metric_name} must see data before its result is asked for; none came."
            raise NoDataError(msg)
        return {self.metric_name: self.result_of(state)}

    def reset(self) -> None:
        """Forget all data."""
        self._state = self.make_state()

    @property
    def state(self) -> dict[str, Any]:
        """The state as a plain dict of arrays and numbers; a copy."""
        return {
            "metric": type(self).__name__,
            "metric_name": self.metric_name,
            "settings": self.settings,
            "data": self._state.to_dict(),
        }

    def merge(self, state: Mapping[str, Any], /) -> None:
        """Take in the `state` of a metric of the same class and settings, made anywhere."""
        came = entry(state, "metric"), entry(state, "settings")
        if came != (type(self).__name__, self.settings):
            msg = (
                "States must be of one metric with the same settings to be merged; "
                f"{came[0]} {came[1]} came for {type(self).__name__} {self.settings}."
            )
            raise MetricStateError(msg)
        self._state.merge(entry(state, "data"))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make the metric that a `state` was taken from."""
        metric = cls(**entry(state, "settings"))
        metric.metric_name = entry(state, "metric_name")
        metric.merge(state)
        return metric

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"<{type(self).__name__}({settings}) of {self.count} items>"


def flattened(results: Mapping[str, Any]) -> dict[str, float]:
    """Turn results into numbers by name: ``{"a": {"b": 1.0}}`` becomes ``{"a_b": 1.0}``."""
    numbers: dict[str, float] = {}
    for name, result in results.items():
        if isinstance(result, Mapping):
            numbers |= {f"{name}_{key}": value for key, value in flattened(result).items()}
        else:
            numbers[name] = result
    return numbers
