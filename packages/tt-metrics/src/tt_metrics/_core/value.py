"""A metric as the value it stands for: what scripts written for AIToolbox do with one."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any

from tt_metrics._errors import MetricInputError, NoDataError, UnknownResultError

__all__ = ["MetricValue", "flattened", "joined"]

Results = dict[str, Any]


class MetricValue(ABC):
    """Named results that can be read, compared and joined.

    Comparisons look at the result, with numbers (NumPy's too) as with other metrics. `+` joins
    results into a dict. Comparing by value makes metrics unhashable.
    """

    metric_name: str

    __array_ufunc__ = None  # numpy scalars on the left leave operators to this class

    @abstractmethod
    def get_metric_dict(self) -> Results:
        """The results by name."""

    @property
    def metric_result(self) -> Any:
        """The result: a float, or a dict where a metric has several numbers."""
        return self.get_metric_dict()[self.metric_name]

    def get_metric(self) -> Any:
        """The result, as `metric_result`."""
        return self.metric_result

    def concat_metric(self, other: MetricValue | Mapping[str, Any]) -> Results:
        """Join with another metric's results, or with a dict of results."""
        return joined(self.get_metric_dict(), _results(other))

    def __add__(self, other: object) -> Results:
        if not isinstance(other, (MetricValue, Mapping)):
            return NotImplemented
        return self.concat_metric(other)

    def __radd__(self, other: object) -> Results:
        if not isinstance(other, Mapping):
            return NotImplemented
        return joined(other, self.get_metric_dict())

    def __lt__(self, other: object) -> bool:
        return self._compared(other, operator.lt)

    def __le__(self, other: object) -> bool:
        return self._compared(other, operator.le)

    def __gt__(self, other: object) -> bool:
        return self._compared(other, operator.gt)

    def __ge__(self, other: object) -> bool:
        return self._compared(other, operator.ge)

    def __eq__(self, other: object) -> bool:
        try:
            return self._compared(other, operator.eq)
        except NoDataError:
            return NotImplemented  # Python goes on to compare identities

    __hash__ = None  # type: ignore[assignment]  # equal by value, and the value changes

    def _compared(self, other: object, relation: Callable[[Any, Any], Any]) -> bool:
        value = other.metric_result if isinstance(other, MetricValue) else other
        comparable = isinstance(value, (Real, Mapping))
        return bool(relation(self.metric_result, value)) if comparable else NotImplemented

    def __float__(self) -> float:
        return float(self.metric_result)

    def __contains__(self, name: object) -> bool:
        return name in self.get_metric_dict()

    def __getitem__(self, name: str) -> Any:
        results = self.get_metric_dict()
        if name not in results:
            msg = f"A result must be asked for by its name, one of {list(results)}; {name!r} came."
            raise UnknownResultError(msg)
        return results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.get_metric_dict())

    def __len__(self) -> int:
        """How many numbers the result has."""
        result = self.metric_result
        return len(result) if hasattr(result, "__len__") else 1

    def __bool__(self) -> bool:
        """True, also before any data: ``metric or default`` asks whether there is a metric."""
        return True

    def __str__(self) -> str:
        return "\n".join(f"{name}: {result}" for name, result in self.get_metric_dict().items())


def _results(other: MetricValue | Mapping[str, Any]) -> Mapping[str, Any]:
    return other.get_metric_dict() if isinstance(other, MetricValue) else other


def joined(*parts: Mapping[str, Any]) -> Results:
    """Put results together; two of the same name are an error, not a silent loss."""
    results: Results = {}
    for part in parts:
        if twice := sorted(results.keys() & part.keys()):
            msg = (
                f"Results must have different names; {twice} came twice. "
                "Set `metric_name` on one of the metrics."
            )
            raise MetricInputError(msg)
        results |= part
    return results


def flattened(results: Mapping[str, Any]) -> dict[str, float]:
    """Turn results into numbers by name: ``{"a": {"b": 1.0}}`` becomes ``{"a_b": 1.0}``."""
    numbers: dict[str, float] = {}
    for name, result in results.items():
        if isinstance(result, Mapping):
            numbers |= {f"{name}_{key}": value for key, value in flattened(result).items()}
        else:
            numbers[name] = result
    return numbers
