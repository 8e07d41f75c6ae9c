"""Metrics written against whole arrays, as users of AIToolbox write them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from itertools import chain
from typing import Any, Self

import numpy as np

from tt_metrics._errors import MetricTypeError
from tt_metrics._inputs import as_array
from tt_metrics._metric import Metric
from tt_metrics._state import State, entry
from tt_metrics._value import Results

__all__ = ["AbstractBaseMetric", "Kept"]


class Kept(State):
    """The data itself, for results that are no function of anything smaller.

    Args:
        np_array: Keep NumPy arrays; otherwise what came, as it came (tensors detached).
    """

    def __init__(self, *, np_array: bool = True) -> None:
        self.np_array = np_array
        self._true: list[Any] = []
        self._predicted: list[Any] = []

    @property
    def key(self) -> tuple[Hashable, ...]:
        return "Kept", self.np_array

    @property
    def count(self) -> int:
        """How many batches it has seen: what an item is, only the metric knows."""
        return len(self._true)

    @property
    def whole(self) -> tuple[Any, Any]:
        """All targets and all predictions."""
        return _concatenated(self._true), _concatenated(self._predicted)

    def update(self, y_true: Any, y_predicted: Any, /) -> None:
        if self.np_array:
            y_true, y_predicted = as_array(y_true, "y_true"), as_array(y_predicted, "y_predicted")
        self._true.append(_off_graph(y_true))
        self._predicted.append(_off_graph(y_predicted))

    def to_dict(self) -> dict[str, Any]:
        return {"y_true": list(self._true), "y_predicted": list(self._predicted)}

    def merge(self, data: Mapping[str, Any], /) -> None:
        true, predicted = entry(data, "y_true"), entry(data, "y_predicted")
        self._true += true
        self._predicted += predicted


def _off_graph(values: Any) -> Any:
    """Keep no autograd graph alive with a tensor."""
    return values.detach() if hasattr(values, "detach") else values


def _concatenated(chunks: list[Any]) -> Any:
    if len(chunks) == 1:
        return chunks[0]
    if all(hasattr(chunk, "shape") for chunk in chunks):
        return np.concatenate([as_array(chunk) for chunk in chunks])
    return list(chain.from_iterable(chunks))


class AbstractBaseMetric(Metric[Kept]):
    """A metric from whole arrays: a subclass implements `calculate_metric`.

    It keeps all data, so prefer `Metric` where a smaller state is enough.

        >>> class WithinMetric(AbstractBaseMetric):
        ...     def __init__(self, y_true, y_predicted, limit=1.0):
        ...         self.limit = limit
        ...         super().__init__(y_true, y_predicted, "Within")
        ...
        ...     def calculate_metric(self):
        ...         return float((abs(self.y_true - self.y_predicted) <= self.limit).mean())
        >>> WithinMetric([1.0, 2.0], [1.5, 4.0]) + {"loss": 0.3}
        {'Within': 0.5, 'loss': 0.3}

    Args:
        y_true: Targets.
        y_predicted: Predictions.
        metric_name: Under which name the result is reported.
        np_array: Turn both into NumPy arrays; otherwise they stay what they are.
    """

    def __init__(
        self, y_true: Any, y_predicted: Any, metric_name: str, np_array: bool = True
    ) -> None:
        self.np_array = np_array
        self._result: Any = None
        super().__init__(metric_name)
        self.update(y_true, y_predicted)
        self.get_metric_dict()  # AIToolbox computes at construction

    @abstractmethod
    def calculate_metric(self) -> Any:
        """Compute from `y_true` and `y_predicted`; return the result or set `metric_result`."""

    @property
    def metric_result(self) -> Any:
        """The result."""
        return self.get_metric_dict()[self.metric_name]

    @metric_result.setter
    def metric_result(self, result: Any) -> None:
        self._result = result

    def make_state(self) -> Kept:
        """The data itself."""
        return Kept(np_array=self.np_array)

    def result_of(self, state: Kept) -> Any:
        """Let the subclass compute from all data of a state."""
        self.y_true, self.y_predicted = state.whole
        self._result = None
        returned = self.calculate_metric()
        result = self._result if returned is None else returned
        if result is None:
            msg = (
                "calculate_metric must return a result or set self.metric_result; "
                f"that of {type(self).__name__} did neither."
            )
            raise MetricTypeError(msg)
        return result

    def get_metric_dict(self) -> Results:
        """The result under the metric's name."""
        if self._result is None:
            self._result = super().get_metric_dict()[self.metric_name]
        return {self.metric_name: self._result}

    def update(self, y_true: Any, y_predicted: Any, /) -> None:
        """Take in more data."""
        super().update(y_true, y_predicted)
        self._result = None

    def merge(self, state: Mapping[str, Any], /) -> None:
        """Take in the data of another metric of the same class."""
        super().merge(state)
        self._result = None

    def reset(self) -> None:
        """Forget all data."""
        super().reset()
        self._result = None

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make the metric again from its data; its own further arguments get their defaults."""
        kept = Kept()
        kept.merge(entry(state, "data"))
        return cls(*kept.whole)  # type: ignore[call-arg]  # a subclass knows its own name

    @classmethod
    def template(cls) -> Metric[Any]:
        """Construct the class anew on all data: its constructor cannot do without."""
        return _OnWholeData(cls)


class _OnWholeData(Metric[Kept]):
    """A class that wants its data at construction, as a metric that can be filled."""

    def __init__(self, metric: type[AbstractBaseMetric]) -> None:
        self._metric: Any = metric
        super().__init__(metric.__name__)

    def make_state(self) -> Kept:
        """The data as it came: the class itself says what it wants."""
        return Kept(np_array=False)

    def result_of(self, state: Kept) -> AbstractBaseMetric:
        """The metric over all data."""
        metric: AbstractBaseMetric = self._metric(*state.whole)
        return metric

    def results_of(self, state: Kept) -> Results:
        """The results under the name that the metric gives itself."""
        return self.result_of(state).get_metric_dict()
