"""McNemar's test: which of two systems is right where the other is wrong."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tt_metrics._core.metric import Metric
from tt_metrics._core.state import Kinds
from tt_metrics._errors import MetricInputError
from tt_metrics._uncertainty.interval import Interval, wilson
from tt_metrics._uncertainty.paired import Pair
from tt_metrics._uncertainty.resampling import Counts, rows_per_block

__all__ = ["Outcomes", "exact_p_value", "newcombe", "outcomes"]


class Outcomes(NamedTuple):
    """How many items both systems got right, only one of them, or none."""

    both: int
    only_first: int
    only_second: int
    neither: int


def outcomes(pair: Pair) -> Outcomes:
    """Count the items by what each system made of them.

    Raises:
        MetricInputError: The metric is no share of right items, or items that count for one
            system do not for the other.
    """
    ours, theirs = (
        _right(metric, kinds)
        for metric, kinds in zip((pair.first, pair.second), pair.kinds(), strict=True)
    )
    if not np.array_equal(ours[1], theirs[1]):
        raise MetricInputError(_no_share_of_items(pair.first))
    code = 2 * ours[0] + theirs[0]
    neither, second, first, both = np.bincount(code[ours[1] == 1], minlength=4).tolist()
    return Outcomes(both, first, second, neither)


def _right(metric: Metric[Any], kinds: Kinds) -> tuple[Counts, Counts]:
    """Whether each item is right, and whether it counts at all: shape (n,), 0 or 1."""
    present, place = np.unique(kinds.index, return_inverse=True)
    alone = [
        metric.proportion_of(state) or (0, 0)  # None where the item counts for nothing
        for block in _one_of_each(present, kinds.size)
        for state in kinds.draw(block)
    ]
    whole = metric.proportion_of(metric._state)
    if whole is None:
        raise MetricInputError(_no_share_of_items(metric))
    table = np.array(alone, np.int64)[place]
    if table.max() > 1 or table.sum(axis=0).tolist() != list(whole):
        raise MetricInputError(_no_share_of_items(metric))
    return table[:, 0], table[:, 1]


def _one_of_each(present: Counts, size: int) -> Any:
    """Data sets of a single item: one of each kind that is there."""
    start = 0
    for rows in rows_per_block(len(present), size):
        times = np.zeros((rows, size), np.int64)
        times[np.arange(rows), present[start : start + rows]] = 1
        start += rows
        yield times


def _no_share_of_items(metric: Metric[Any]) -> str:
    return (
        "test='mcnemar' needs a metric that is the share of right ones among unweighted items, the "
        f"same items for both systems; {metric.metric_name} is not on this data. Use "
        "test='randomization'."
    )


def exact_p_value(counts: Outcomes) -> float:
    """The two-sided exact binomial test of the items that only one system got right.

    If both are equally good, each such item is a fair coin: p = min(1, 2 P(X <= min(b, c))) with
    X ~ Binomial(b + c, 1/2) (Q. McNemar, Psychometrika 12, 1947, in its exact form). As X is
    discrete it rejects at most as often as its level says, and less often for few such items.
    """
    trials, fewer = counts.only_first + counts.only_second, min(counts[1:3])
    if 2 * fewer >= trials:
        return 1.0
    log_term = math.lgamma(trials + 1) - math.lgamma(fewer + 1) - math.lgamma(trials - fewer + 1)
    below = np.arange(fewer, 0, -1)
    series = 1 + float(np.cumprod(below / (trials - below + 1)).sum())
    return min(1.0, 2 * series * math.exp(log_term - trials * math.log(2)))


def newcombe(counts: Outcomes, confidence: float) -> Interval:
    """The interval of the difference of two proportions on the same items.

    Wilson's intervals of both, joined by the correlation of the outcomes (R. G. Newcombe, Improved
    confidence intervals for the difference between binomial proportions based on paired data,
    Statistics in Medicine 17, 1998, method 10).
    """
    both, first, second, _ = counts
    trials = sum(counts)
    rates = (both + first) / trials, (both + second) / trials
    ends = [wilson(both + alone, trials, confidence) for alone in (first, second)]
    down = [rate - low for rate, (low, _) in zip(rates, ends, strict=True)]
    up = [high - rate for rate, (_, high) in zip(rates, ends, strict=True)]
    phi = _correlation(counts)
    difference = rates[0] - rates[1]
    low = difference - _joined(down[0], up[1], phi)
    high = difference + _joined(up[0], down[1], phi)
    return Interval(low, high, confidence, "newcombe")


def _joined(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _correlation(counts: Outcomes) -> float:
    """Phi of the outcomes; where it is positive, corrected for continuity."""
    both, first, second, neither = counts
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    covariance = both * neither - first * second
    if covariance > 0:
        covariance_corrected = max(covariance - sum(counts) / 2, 0.0)
    else:
        covariance_corrected = float(covariance)
    return covariance_corrected / math.sqrt(margins) if margins else 0.0
