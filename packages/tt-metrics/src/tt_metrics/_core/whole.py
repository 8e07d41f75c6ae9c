"""Metrics written against whole arrays, as users of AIToolbox write them."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_array, concatenated
from tt_metrics._core.intake import check_format
from tt_metrics._core.items import Batch
from tt_metrics._core.metric import Metric
from tt_metrics._core.state import Draw, Kinds, State, entry
from tt_metrics._core.value import Results
from tt_metrics._errors import MetricInputError, MetricTypeError

__all__ = ["AbstractBaseMetric", "Kept"]


_Pair = tuple[Any, Any]  # targets and predictions of a batch


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
        return concatenated(self._true), concatenated(self._predicted)

    def measured(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> list[_Pair]:
        if weight is not None:
            msg = "A metric over whole arrays takes no weight: leave it out, or use a `Metric`."
            raise MetricInputError(msg)
        if self.np_array:
            y_true, y_predicted = as_array(y_true, "y_true"), as_array(y_predicted, "y_predicted")
        return [(_own(y_true), _own(y_predicted))]

    def add(self, part: list[_Pair], /) -> None:
        for y_true, y_predicted in part:
            self._true.append(y_true)
            self._predicted.append(y_predicted)

    def to_dict(self) -> dict[str, Any]:
        true, predicted = map(_own, self._true), map(_own, self._predicted)
        return {"y_true": list(true), "y_predicted": list(predicted)}

    def parsed(self, data: Mapping[str, Any], /) -> list[_Pair]:
        true, predicted = entry(data, "y_true"), entry(data, "y_predicted")
        return list(zip(true, predicted, strict=True))

    def kinds(self, y_true: Any, y_predicted: Any, weight: Any = None, /) -> Kinds:
        [(true, predicted)] = self.measured(y_true, y_predicted, weight)

        def draw(times: NDArray[np.int64], /) -> Iterator[State]:
            for row in times:
                drawn = Kept(np_array=self.np_array)
                drawn.add([(_repeated(true, row), _repeated(predicted, row))])
                yield drawn

        return Kinds(np.arange(len(true)), len(true), draw)

    def own_kinds(self) -> tuple[NDArray[np.int64], Draw] | None:
        kinds = self.kinds(*self.whole)
        return np.ones(kinds.size, np.int64), kinds.draw


def _repeated(values: Any, times: NDArray[np.int64]) -> Any:
    index = np.repeat(np.arange(len(times)), times)
    return [values[i] for i in index] if isinstance(values, (list, tuple)) else values[index]


def _own(values: Any) -> Any:
    """Arrays as a copy, since callers fill them again; tensors off their graph too."""
    if isinstance(values, np.ndarray):
        return values.copy()
    if hasattr(values, "detach"):
        values = values.detach()
        return values.clone() if hasattr(values, "clone") else values
    return values


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
        self._given = Batch(y_true, y_predicted)
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
        owner = self if state is self._state else copy.copy(self)  # else its own data would go
        return owner._calculated(state)

    def of(self, state: Kept, items: Batch | None = None) -> Self:
        """The same metric over other data."""
        metric = super().of(state, items)
        metric._result = None
        return metric

    def _calculated(self, state: Kept) -> Any:
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

    def _take(self, y_true: Any, y_predicted: Any, weight: Any) -> None:
        super()._take(y_true, y_predicted, weight)
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
        check_format(state)
        kept = Kept()
        kept.merge(entry(state, "data")[0])
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
