"""Several metrics of one loader at once: mergeable ones, and such that need whole predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tt_loop.errors import LoopTypeError
from tt_loop.protocols import Metric

__all__ = ["evaluated_metrics", "is_mergeable", "value_of"]


def is_mergeable(metric: Any) -> bool:
    """Whether a metric is an object that takes predictions batch by batch.

    Example:
        >>> is_mergeable(max)
        False
    """
    return isinstance(metric, Metric) and not isinstance(metric, type)


def evaluated_metrics(
    metrics: Sequence[Any],
    stream: Callable[[Metric], object],
    predict: Callable[[], tuple[Any, Any, Any]],
) -> list[Any]:
    """The metrics with their data: mergeable ones themselves, of the others what calling them gave.

    Args:
        metrics: Mergeable metrics, and callables of true targets and predictions.
        stream: Shows all batches to a mergeable metric.
        predict: Gives predictions, targets and metadata of the whole set.

    Raises:
        LoopTypeError: For an object that is neither.
    """
    mergeable = {id(metric): metric for metric in metrics if is_mergeable(metric)}
    whole = {id(metric): metric for metric in metrics if id(metric) not in mergeable}
    for metric in whole.values():
        if not callable(metric):
            msg = (
                "A metric must be a class that takes targets and predictions, or a mergeable "
                f"Metric object, got an object of {type(metric).__name__}: pass its class."
            )
            raise LoopTypeError(msg)
    found = dict(mergeable)
    if mergeable:
        stream(_Together([*mergeable.values()]))
    if whole:
        y_predicted, y_true, _ = predict()
        found |= {key: metric(y_true, y_predicted) for key, metric in whole.items()}
    return [found[id(metric)] for metric in metrics]


def value_of(metric: Any, evaluated: Any) -> Any:
    """What a metric that was given and evaluated says.

    Of a mergeable one, its numbers by name; of any other, what its ``get_metric`` gives, or what
    calling it gave.
    """
    if is_mergeable(metric):
        return dict(metric.compute())
    get_metric = getattr(evaluated, "get_metric", None)
    return get_metric() if callable(get_metric) else evaluated


class _Together:
    """Several mergeable metrics as one."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics

    @property
    def state(self) -> Mapping[str, Any]:
        return {str(number): metric.state for number, metric in enumerate(self.metrics)}

    def reset(self) -> None:
        for metric in self.metrics:
            metric.reset()

    def update(self, y_true: Any, y_predicted: Any, /) -> None:
        for metric in self.metrics:
            metric.update(y_true, y_predicted)

    def merge(self, state: Mapping[str, Any], /) -> None:
        for number, metric in enumerate(self.metrics):
            metric.merge(state[str(number)])

    def compute(self) -> Mapping[str, Any]:
        return {}  # each is asked itself
