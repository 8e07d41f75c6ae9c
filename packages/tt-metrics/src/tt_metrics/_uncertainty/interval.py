"""Confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from tt_metrics._errors import MetricInputError, MetricStateError, NoDataError
from tt_metrics._uncertainty.resampling import (
    Bootstrap,
    Counts,
    check_defined,
    check_unchanged,
    checked_confidence,
    checked_n_resamples,
    generator,
    numbers_of,
    percentiles,
    replicates,
)

if TYPE_CHECKING:
    from tt_metrics._core.metric import Metric
    from tt_metrics._core.state import Draw
    from tt_metrics._ranking.state import Ranking

__all__ = ["Interval", "closed_interval", "interval_of", "signature_of", "wilson", "z_of"]


@dataclass(frozen=True)
class Interval:
    """Two ends, both included: ``low, high = metric.ci()``, and ``0.5 in metric.ci()``.

    Attributes:
        low: Lower end.
        high: Upper end.
        confidence: How often, in repetitions of the whole experiment, such an interval holds the
            value that unlimited data would give.
        method: How it was computed.
        n_resamples: How many data sets were drawn; None where none was.
        seed: What the draws started from; None where nothing was drawn.
    """

    low: float
    high: float
    confidence: float
    method: str
    n_resamples: int | None = None
    seed: int | None = None

    def __iter__(self) -> Iterator[float]:
        return iter((self.low, self.high))

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def signature(self) -> str:
        """What is needed to compute it again: ``wilson|confidence:0.95``, say."""
        return signature_of(
            self.method,
            confidence=self.confidence,
            n_resamples=self.n_resamples,
            seed=self.seed,
        )

    def __str__(self) -> str:
        return f"[{self.low:.4g}, {self.high:.4g}] ({100 * self.confidence:g} %, {self.method})"


def signature_of(first: str, **settings: Any) -> str:
    """Join settings to one line; those that are None are left out."""
    given = (f"{name}:{value}" for name, value in settings.items() if value is not None)
    return "|".join([first, *given])


def interval_of(
    metric: Metric[Any], confidence: float, method: str, n_resamples: int, seed: int
) -> Interval | dict[str, Interval]:
    """Compute the interval of a metric's result.

    Args:
        metric: A metric that has seen data.
        confidence: In (0, 1).
        method: ``"auto"`` takes the first of those below that the metric allows: ``"wilson"`` for
            a proportion of items, ``"delong"`` for an area under a ROC curve, ``"bootstrap"`` for
            everything else, and for every result that is a dict, though its values may each be a
            proportion or an area.
        n_resamples: How many data sets the bootstrap draws.
        seed: What its draws start from.

    Returns:
        The interval, or one per key where the result is a dict.

    Raises:
        NoDataError: The metric has seen no data.
        MetricInputError: A setting means nothing, the method is not for this metric, or more than
            5 % of the drawn data sets have no result. (In a dict such a key has nan as its ends.)
        MetricStateError: The bootstrap needs the items, and they were not kept.
    """
    confidence = checked_confidence(confidence)
    n_resamples = checked_n_resamples(n_resamples)
    rng = generator(seed)
    if method not in ("auto", *_CLOSED, "bootstrap"):
        msg = f"method must be auto, {', '.join(_CLOSED)} or bootstrap; it is {method!r}."
        raise MetricInputError(msg)
    if not metric.count:
        msg = "An interval needs data; none came. Fill the metric with `update` first."
        raise NoDataError(msg)
    if (interval := closed_interval(metric, confidence, method)) is not None:
        return interval
    if method in _CLOSED:
        raise MetricInputError(_not_for(metric, method, confidence))
    return _bootstrapped(metric, confidence, n_resamples, seed, rng)


def closed_interval(
    metric: Metric[Any], confidence: float, method: str = "auto"
) -> Interval | None:
    """Give the interval that needs no draws, of this method or the first that the metric allows."""
    for name, closed in _CLOSED.items():
        if method in ("auto", name) and (interval := closed(metric, confidence)) is not None:
            return interval
    return None


def _not_for(metric: Metric[Any], method: str, confidence: float) -> str:
    allowed = [name for name, closed in _CLOSED.items() if closed(metric, confidence) is not None]
    return (
        f"The method {method!r} is not for {metric.metric_name} on this data; use "
        f"{' or '.join(repr(name) for name in (*allowed, 'bootstrap'))}."
    )


def _of_proportion(metric: Metric[Any], confidence: float) -> Interval | None:
    proportion = metric.proportion_of(metric._state)
    return None if proportion is None else wilson(*proportion, confidence)


def wilson(successes: int, trials: int, confidence: float) -> Interval:
    """Wilson's score interval of a proportion.

    Unlike the textbook's p +- z s it stays inside [0, 1] and keeps its coverage at small n and near
    0 and 1 (E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    JASA 22, 1927).
    """
    z2 = z_of(confidence) ** 2
    failures = trials - successes
    centre = successes + z2 / 2
    margin = math.sqrt(z2 * (successes * failures / trials + z2 / 4))
    low = (centre - margin) / (trials + z2) if successes else 0.0
    high = (centre + margin) / (trials + z2) if failures else 1.0
    return Interval(low, high, confidence, "wilson")


def z_of(confidence: float) -> float:
    """How many standard deviations to each side hold this share of a normal distribution."""
    from statistics import NormalDist  # costs 3 ms, and few ask

    below = 0.5 + checked_confidence(confidence) / 2
    if below == 1:
        msg = (
            f"confidence must be at most 1 - 2.2e-16, so as not to round to 1; it is {confidence}."
        )
        raise MetricInputError(msg)
    return NormalDist().inv_cdf(below)


def _of_area(metric: Metric[Any], confidence: float) -> Interval | None:
    """An interval from DeLong's variance, normal on the scale of log(A / (1 - A)).

    On that scale its ends stay inside (0, 1), and it keeps its coverage where A +- z s loses it: at
    an area of 0.95 from 20 positive and 80 negative items, 95 % intervals hold the true area in
    94 % of all cases instead of 86 %.
    """
    state = metric._state
    variance = metric.variance_of(state)
    area = None if variance is None else metric.result_of(state)
    if variance is None or not isinstance(area, float):
        return None
    if not variance:
        return _of_perfect(area, state, confidence)
    centre = math.log(area / (1 - area))
    margin = z_of(confidence) * math.sqrt(variance) / (area * (1 - area))
    low, high = ((1 + math.tanh(end / 2)) / 2 for end in (centre - margin, centre + margin))
    return Interval(low, high, confidence, "delong")


def _of_perfect(area: float, state: Ranking, confidence: float) -> Interval:
    """Where the data shows no variance, which does not mean that there is none.

    Each item used once, the smaller class gives independent pairs that a perfect ranking has all in
    the right order: a proportion.
    """
    order = state.column().order
    pairs = min(len(order.negatives), len(order.positives))
    if area in (0.0, 1.0):
        low, high = wilson(round(area) * pairs, pairs, confidence)
    else:
        low = high = area  # one score for all
    return Interval(low, high, confidence, "delong")


_CLOSED: dict[str, Callable[[Metric[Any], float], Interval | None]] = {
    "wilson": _of_proportion,
    "delong": _of_area,
}


def _bootstrapped(
    metric: Metric[Any], confidence: float, n_resamples: int, seed: int, rng: np.random.Generator
) -> Interval | dict[str, Interval]:
    """Percentile intervals: the middle part of the results of data sets drawn from the data.

    B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    multiplicity, draw = _kinds_of(metric)
    worker = metric.of(metric._state)  # a copy: a metric over whole arrays keeps what it computes
    keys = list(numbers_of(worker, metric._state))
    blocks = Bootstrap(multiplicity).times(n_resamples, rng)
    table = replicates(worker, chain.from_iterable(map(draw, blocks)), keys)
    if keys == [""]:
        check_defined(table[:, 0], "A bootstrap interval")
    intervals = {
        key: Interval(*percentiles(column, confidence), confidence, "bootstrap", n_resamples, seed)
        for key, column in zip(keys, table.T, strict=True)
    }
    return intervals[""] if keys == [""] else intervals


def _kinds_of(metric: Metric[Any]) -> tuple[Counts, Draw]:
    own: tuple[Counts, Draw] | None = metric._state.own_kinds()
    if own is not None:
        return own
    items = metric.items
    if items is None:
        msg = (
            f"A bootstrap of {metric.metric_name} needs its items, and they were not kept. Give "
            "all data to the constructor, or call `keep_items` before the first `update`."
        )
        raise MetricStateError(msg)
    kinds = metric._state.kinds(items.y_true, items.y_predicted, items.weight)
    check_unchanged(metric, kinds)
    return np.bincount(kinds.index, minlength=kinds.size), kinds.draw
