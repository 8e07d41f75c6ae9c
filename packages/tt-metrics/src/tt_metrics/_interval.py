"""Confidence intervals."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

from tt_metrics._errors import MetricInputError

__all__ = ["Interval", "wilson"]


class Interval(NamedTuple):
    """Two ends, both included."""

    low: float
    high: float


def wilson(successes: int, trials: int, confidence: float) -> Interval:
    """Wilson's score interval of a proportion.

    Unlike the textbook's p +- z s it stays inside [0, 1] and keeps its coverage at small n and near
    0 and 1 (E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    JASA 22, 1927).
    """
    if not 0 < confidence < 1:
        msg = f"confidence must be between 0 and 1, such as 0.95; it is {confidence}."
        raise MetricInputError(msg)
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    failures = trials - successes
    centre = successes + z2 / 2
    margin = math.sqrt(z2 * (successes * failures / trials + z2 / 4))
    low = (centre - margin) / (trials + z2) if successes else 0.0
    high = (centre + margin) / (trials + z2) if failures else 1.0
    return Interval(low, high)
