"""The base of all metrics: a pure function of a small mergeable state."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Generic, Self, TypeVar

from tt_metrics._core.intake import Intake, check_format
from tt_metrics._core.items import Batch, Items
from tt_metrics._core.state import State, entry
from tt_metrics._core.value import MetricValue, Results, flattened
from tt_metrics._errors import MetricInputError, MetricStateError, NoDataError
from tt_metrics._uncertainty.interval import Interval, interval_of

__all__ = ["Metric", "same_settings", "version"]

S = TypeVar("S", bound=State)


class Metric(Intake, MetricValue, Generic[S]):
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

    _states: Sequence[S]

    takes_predictions: ClassVar[bool] = True
    """`update` takes targets and predictions, so a result package can feed it."""

    def __init__(self, metric_name: str, y_true: Any = None, y_predicted: Any = None) -> None:
        self.metric_name = metric_name
        self._states = [self.make_state()]
        if (y_true is None) != (y_predicted is None):
            msg = (
                "y_true and y_predicted must come together; only one did. "
                "Leave both out to fill the metric with `update`."
            )
            raise MetricInputError(msg)
        if y_true is not None:
            self.update(y_true, y_predicted)
            self._given = Batch(y_true, y_predicted)

    @abstractmethod
    def make_state(self) -> S:
        """Give an empty state with this metric's settings."""

    @abstractmethod
    def result_of(self, state: S) -> Any:
        """Compute the result from a state that has seen data; changes nothing."""

    def served_by(self) -> tuple[Hashable, ...] | None:
        """The key of a larger state that `result_of` takes too, where a package has it anyway."""
        return None

    def proportion_of(self, state: S) -> tuple[int, int] | None:  # noqa: ARG002  (for subclasses)
        """Successes and trials, where the result is their ratio: Wilson's interval applies."""
        return None

    def variance_of(self, state: S) -> float | None:  # noqa: ARG002  (for subclasses)
        """The variance of the result, where it is an area under a ROC curve: DeLong's."""
        return None

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

    @property
    def _state(self) -> S:
        return self._states[0]

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

    def ci(
        self,
        confidence: float = 0.95,
        *,
        method: str = "auto",
        n_resamples: int = 1000,
        seed: int = 0,
    ) -> Interval | dict[str, Interval]:
        """Give a confidence interval of the result; of a dict of results, one per key.

        Args:
            confidence: In (0, 1).
            method: ``"auto"`` takes the first of those below that the metric allows: ``"wilson"``
                for a proportion of items, ``"delong"`` for an area under a ROC curve,
                ``"bootstrap"`` for everything else.
            n_resamples: How many data sets the bootstrap draws.
            seed: What its draws start from.

        Raises:
            NoDataError: No data came yet.
            MetricInputError: A setting means nothing, the method is not for this metric, or more
                than 5 % of the drawn data sets have no result.
            MetricStateError: The bootstrap needs the items, and they were not kept: construct the
                metric with its data, or call `keep_items` first.
        """
        return interval_of(self, confidence, method, n_resamples, seed)

    def reset(self) -> None:
        """Forget all data."""
        self._states = [self.make_state()]
        self._given = None
        self._items = None if self._items is None else Items()

    @property
    def state(self) -> dict[str, Any]:
        """The state as a plain dict of arrays and numbers; a copy."""
        return {
            "metric": type(self).__name__,
            "metric_name": self.metric_name,
            "settings": self.settings,
            **self._contents(),
        }

    def merge(self, state: Mapping[str, Any], /) -> None:
        """Take in the `state` of a metric of the same class and settings, made anywhere.

        Raises:
            MetricStateError: It is of another class, has other settings, or was written by a newer
                version.
        """
        check_format(state)
        came = entry(state, "metric"), entry(state, "settings")
        if not same_settings(came, (type(self).__name__, self.settings)):
            msg = (
                "States must be of one metric with the same settings to be merged; "
                f"{came[0]} {came[1]} came for {type(self).__name__} {self.settings}."
            )
            raise MetricStateError(msg)
        self._merge_contents(state)

    def of(self, state: S, items: Batch | None = None) -> Self:
        """The same metric over another state of its kind, which it shares.

        Args:
            state: The state.
            items: The items that it was made from, if they are at hand.
        """
        metric = copy.copy(self)
        metric._states, metric._given, metric._items = [state], items, None
        return metric

    @property
    def signature(self) -> str:
        """What is needed to reproduce the number: name, settings, number of items, version."""
        parts = [f"{name}:{value}" for name, value in self.settings.items()]
        return "|".join([self.metric_name, *parts, f"n:{self.count}", f"tt-metrics:{version()}"])

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


def same_settings(one: Any, other: Any) -> bool:
    """Whether settings are equal, nan counting as equal to itself."""
    return bool(one == other) or repr(one) == repr(other)


@cache
def version() -> str:
    """This package's version."""
    from importlib import metadata  # costs 20 ms, and few ask

    return metadata.version("tt-metrics")
