"""One result from states that were made anywhere."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from tt_metrics._core.intake import Intake
from tt_metrics._core.metric import Metric
from tt_metrics._core.state import entry
from tt_metrics._errors import MetricStateError, MetricTypeError
from tt_metrics._packages.streamed import StreamedResultPackage

__all__ = ["Mergeable", "emptied", "merge_all"]

Mergeable = TypeVar("Mergeable", bound=Metric[Any] | StreamedResultPackage)

State = Mapping[str, Any]


@overload
def merge_all(states: Iterable[State]) -> Metric[Any]: ...


@overload
def merge_all(states: Iterable[State], into: Mergeable) -> Mergeable: ...


def merge_all(
    states: Iterable[State], into: Metric[Any] | StreamedResultPackage | None = None
) -> Metric[Any] | StreamedResultPackage:
    """Merge the states of one metric, from threads, processes, machines or files.

    In any order, and whatever part of the data each has seen, the result is that of one metric that
    saw everything: counts are the same bits, sums agree to about 1e-15.

        >>> labels, predictions = [0, 1, 1, 0], [0, 1, 0, 0]
        >>> shards = [slice(0, 1), slice(1, 4)]
        >>> states = [AccuracyMetric(labels[part], predictions[part]).state for part in shards]
        >>> merge_all(states).compute()
        {'Accuracy': 0.75}

    The states of a result package do not say how to make the package, so give an empty one:

        >>> packages = [ClassificationResultPackage() for part in shards]
        >>> for package, part in zip(packages, shards):
        ...     package.update(labels[part], predictions[part])
        >>> merge_all((package.state for package in packages), ClassificationResultPackage())
        <ClassificationResultPackage 'ClassificationResult'>

    Args:
        states: What `state` gave, of metrics of one class with the same settings; at least one.
        into: The metric or package to merge them into, beside what it has seen itself. Left out,
            a metric is made: of the class that the states name, among those imported so far.

    Returns:
        `into`, or the new metric.

    Raises:
        MetricStateError: The states are of different metrics, or of a newer version, or name a
            class that is unknown or not unique. `into` is then as it was.
    """
    given = list(states)
    if not given:
        msg = "merge_all needs at least one state; none came."
        raise MetricStateError(msg)
    total = _made_for(given) if into is None else emptied(into)
    for state in given:
        total.merge(state)
    if into is None:
        return total
    into.merge(total.state)
    return into


def emptied(metric: Mergeable) -> Mergeable:
    """The same metric or package without data."""
    if not isinstance(metric, Intake):
        msg = f"What merges is a metric or a package of metrics; a {type(metric).__name__} came."
        raise MetricTypeError(msg)
    fresh = copy.copy(metric)
    fresh.reset()
    return fresh


def _made_for(states: list[State]) -> Metric[Any]:
    """An empty metric of the class that the states name."""
    with_data = [state for state in states if entry(state, "count")]
    first = (with_data or states)[0]  # a metric on whole arrays cannot be made without any
    if "package" in first:
        msg = (
            f"The states are those of a {first['package']}, which they cannot rebuild; "
            "pass an empty one: merge_all(states, into=package)."
        )
        raise MetricStateError(msg)
    metric = _class_named(entry(first, "metric")).from_state({**first, "count": 0})
    metric.reset()
    return metric


def _class_named(name: str) -> type[Metric[Any]]:
    # A class defined again, as in a notebook, takes the place of the one before.
    kinds = _below(Metric)  # type: ignore[type-abstract]  # nothing is made of it
    found = {(kind.__module__, kind.__qualname__): kind for kind in kinds if kind.__name__ == name}
    if len(found) == 1:
        return found.popitem()[1]
    if found:
        places = ", ".join(sorted(".".join(place) for place in found))
        msg = f"The class {name} must be unique; there are {places}. Say which one with `into`."
    else:
        msg = f"The class {name} must be imported; no metric has the name. Import its module."
    raise MetricStateError(msg)


def _below(kind: type[Metric[Any]]) -> Iterator[type[Metric[Any]]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)
